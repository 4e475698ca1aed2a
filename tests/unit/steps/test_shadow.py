"""A model refitted on the rows before a window tells what a retraining would have gained on it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.decisions import Evidence
from continuous_training.core.run import Request, StepResult
from continuous_training.core.scores import ShadowScore
from continuous_training.spec import ModelSpec
from continuous_training.steps.shadow import REFIT_STEPS, shadow_run
from small_deployment import Deployment, day

SPEC = small_deployment.spec(retraining={"kind": "regret"})
NET_VALUE = small_deployment.spec(
    retraining={"kind": "net_value", "value": 1, "traffic": 1000, "costs": {"compute": 100}}
)


def other_world(rows: pd.DataFrame) -> pd.DataFrame:
    """Turn the label around from day 40 on; nothing else tells."""
    return rows.assign(late=rows["late"].where(rows["at"] < day(40), 1 - rows["late"]))


def score_of(deployment: Deployment, results: dict[str, StepResult]) -> ShadowScore | None:
    return Evidence.model_validate_json(deployment.store.get(results["score"].outputs["evidence"])).shadow


def looked(deployment: Deployment, model: ModelSpec = SPEC, **request: Any) -> ShadowScore:
    score = score_of(deployment, deployment.watch(model, **request)[1])
    assert score is not None
    return score


def test_nothing_is_gained_where_the_world_has_not_changed(champion: Deployment) -> None:
    champion.land(85)
    score = looked(champion, as_of=day(81))
    assert (score.rows, score.trained_until) == (500, day(70))
    assert score.gain is not None
    assert score.error is not None
    assert abs(score.gain) < 0.02 + 4 * score.error


def test_much_is_gained_where_the_champion_knows_another_world(champion: Deployment) -> None:
    champion.land(85, other_world)
    score = looked(champion, as_of=day(81))
    assert score.gain is not None
    assert score.error is not None
    assert score.gain > 0.1 + 4 * score.error


def test_regret_adds_up_over_the_windows_until_it_asks_for_a_training_on_the_new_world(champion: Deployment) -> None:
    champion.land(85, other_world)
    answers = []
    for _ in range(4):
        facts = champion.watch(SPEC)[1]["decide"].facts
        answers.append(facts["answer"])
        if facts["answer"] == "yes":
            break
    assert answers[0] == "no"
    assert answers[-1] == "yes"
    request = Request.model_validate(facts["request"])
    assert request.reason == "performance"
    assert champion.plan(SPEC, **request.model_dump(exclude={"kind"})).window.end > day(50)


def test_every_policy_shares_the_refitted_model_and_another_model_file_does_not() -> None:
    key = shadow_run(SPEC, day(40)).key
    assert shadow_run(NET_VALUE, day(40)).key == key
    assert shadow_run(small_deployment.spec(triage=None), day(40)).key == key
    assert shadow_run(SPEC, day(50)).key != key
    assert shadow_run(small_deployment.spec(min_rows=900), day(40)).key != key


def test_the_refitted_model_sees_no_row_of_the_window_and_has_no_place_in_the_ledger(champion: Deployment) -> None:
    champion.land(55)
    run = shadow_run(SPEC, day(40))
    assert (run.window.end, run.champion, run.trials) == (day(40), None, 0)
    before = champion.ledger.runs("m")
    looked(champion)
    assert champion.ledger.runs("m") == before
    assert champion.store.read_manifest(run.key, "train") is not None
    assert champion.store.read_manifest(run.key, "evaluate") is None


def test_a_window_refitted_once_is_not_refitted_again_for_another_policy(champion: Deployment) -> None:
    champion.land(55)
    first = looked(champion)
    key = shadow_run(SPEC, day(40)).key
    done = [champion.store.read_manifest(key, step) for step in REFIT_STEPS]
    champion.land(55, other_world)
    again = looked(champion, NET_VALUE, as_of=day(51))
    assert [champion.store.read_manifest(key, step) for step in REFIT_STEPS] == done
    assert again.gain != first.gain  # the window itself was read again


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(40), np.nan)), "0 rows with a label are too few"),
        (
            lambda rows: rows.assign(late=rows["late"].where((rows["at"] < day(40)) | (rows.index % 50 == 0), np.nan)),
            "10 rows with a label are too few",
        ),
        (lambda rows: rows.assign(late=rows["late"].where(rows["at"] >= day(30), np.nan)), "no model could be refitted: "),
        (
            lambda rows: rows.assign(late=rows["late"].where(rows.index % 3 > 0, 2)),
            "the refitted model has other classes than the champion",
        ),
    ],
    ids=["no labels", "few labels", "nothing to learn from", "classes"],
)  # fmt: skip
def test_a_gain_that_cannot_be_measured_says_why_and_decides_nothing(
    champion: Deployment, change: Callable[[pd.DataFrame], pd.DataFrame], note: str
) -> None:
    champion.land(55, change)
    _, results = champion.watch(SPEC)
    score = score_of(champion, results)
    assert score is not None
    assert (score.gain, score.error, score.trained_until) == (None, None, day(40))
    assert score.note.startswith(note)
    assert results["decide"].facts["answer"] == "inconclusive"
    assert note in results["decide"].facts["why"]


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (small_deployment.spec(), lambda rows: rows),
        (SPEC, lambda rows: rows.assign(wind=rows["wind"].where(rows["at"] < day(40), np.nan))),
        (SPEC, lambda rows: rows[(rows["at"] < day(40)) | (rows["at"] >= day(50))]),
    ],
    ids=["signals", "broken", "empty"],
)
def test_no_model_is_refitted_where_nobody_asks_or_the_window_is_broken(
    champion: Deployment, model: ModelSpec, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    champion.land(55, change)
    assert score_of(champion, champion.watch(model)[1]) is None
    assert champion.store.read_manifest(shadow_run(model, day(40)).key, "collect") is None
