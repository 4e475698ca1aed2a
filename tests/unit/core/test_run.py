"""A run is one frozen value, small enough to travel as text."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from continuous_training.core.run import ChampionRef, Request, Run, StepResult
from continuous_training.core.window import Window

MOMENT = datetime(2024, 2, 10, tzinfo=UTC)
CHAMPION = ChampionRef(fence=3, version="2", run_key="b" * 64, bundle="c" * 64, data_cutoff=MOMENT)


def a_run(**changes: object) -> Run:
    window = Window(start=datetime(2024, 1, 1, tzinfo=UTC), end=MOMENT)
    return Run(
        **{
            "model": "m",
            "kind": "train",
            "key": "a" * 64,
            "as_of": MOMENT,
            "window": window,
            "spec_digest": "d",
            **changes,
        }
    )


@pytest.mark.parametrize("key", ["", "a" * 63, "A" * 64, "../" * 22, "g" * 64, "a" * 64 + "\n"])
def test_a_key_is_a_digest_and_can_name_no_other_folder(key: str) -> None:
    with pytest.raises(ValidationError, match="key"):
        a_run(key=key)


def test_the_fence_is_that_of_the_champion_seen_and_0_without_one() -> None:
    assert (a_run().fence, a_run(champion=CHAMPION).fence) == (0, 3)


def test_a_run_and_a_request_survive_json() -> None:
    run = a_run(champion=CHAMPION, trials=4, force=True)
    request = Request(kind="train", reason="drift", episode="drift:1", as_of=MOMENT)
    assert Run.model_validate_json(run.model_dump_json()) == run
    assert Request.model_validate_json(request.model_dump_json()) == request


def test_a_run_cannot_be_changed_or_carry_more() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        a_run().force = True
    with pytest.raises(ValidationError, match="extra"):
        a_run(password="x")


@pytest.mark.parametrize(
    "changes", [{"trials": -1}, {"trials": 1001}, {"text": "x" * 501}, {"kind": "deploy"}, {"reason": "whim"}]
)
def test_a_request_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        Request.model_validate({"kind": "train", **changes})


def test_a_result_says_whether_it_was_read_back() -> None:
    assert StepResult(step="train", key="a" * 64).reused is False
