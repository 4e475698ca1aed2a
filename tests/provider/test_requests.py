"""Whatever starts a DAG run becomes one request, and nothing a person or a program writes there makes it crash."""

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from airflow_worker import Worker, asset_event, dag_run
from continuous_training.core.run import Request
from continuous_training.provider.requests import request_of, rollback_of, train_params

pytestmark = pytest.mark.provider

DRIFT = {
    "kind": "train", "reason": "drift", "text": "wind: psi 3 above 1", "episode": "drift:2024-03-01T00:00:00Z",
    "as_of": "2024-03-02T00:00:00Z", "trials": None, "force": False, "dry_run": False,
}  # fmt: skip


class Asked(BaseOperator):
    """Returns the request of the run it is in."""

    def execute(self, context: Any) -> dict[str, Any]:
        return request_of(context).model_dump(mode="json")


def outcome(run: dict[str, Any]) -> tuple[Any, Worker]:
    with DAG("m.train", schedule=None, params=train_params()):
        task = Asked(task_id="asked")
    worker = Worker(run=run)
    return worker.do(task), worker


def asked(run: dict[str, Any]) -> Request:
    result, worker = outcome(run)
    assert result.state == "success", result.error
    return Request.model_validate(worker.result("asked"))


def refusal(run: dict[str, Any]) -> str:
    result, _ = outcome(run)
    assert result.state == "failed"  # not up_for_retry: a retry gives the same
    return str(result.error)


def by_events(*extras: dict[str, Any]) -> dict[str, Any]:
    events = [asset_event(extra, minute=minute) for minute, extra in enumerate(extras)]
    return dag_run("asset_triggered__1", "asset_triggered", logical_date=None, consumed_asset_events=events)


def test_a_cron_tick_asks_for_the_newest_window_because_of_the_schedule() -> None:
    assert asked(dag_run("scheduled__1", "scheduled")) == Request(kind="train", reason="schedule")


def test_the_form_is_taken_whole() -> None:
    form = {"reason": "new carrier", "as_of": "2024-02-11T12:00:00+02:00", "trials": 3, "force": True, "dry_run": True}
    assert asked(dag_run("by_hand", conf=form)) == Request(
        kind="train", reason="manual", text="new carrier", episode="manual:by_hand", as_of=datetime(2024, 2, 11, 10, tzinfo=UTC),
        trials=3, force=True, dry_run=True,
    )  # fmt: skip


def test_the_empty_form_asks_for_the_newest_window() -> None:
    assert asked(dag_run("by_hand")) == Request(kind="train", reason="manual", episode="manual:by_hand")


def test_the_same_run_id_asks_for_the_same_and_another_for_another() -> None:
    first, again, other = (asked(dag_run(run_id)) for run_id in ("a", "a", "b"))
    assert first == again
    assert first.episode != other.episode


def test_the_longest_run_id_is_a_valid_episode() -> None:
    assert asked(dag_run("x" * 250)).episode.startswith("manual:xxx")


def test_a_date_that_the_form_cannot_know_to_be_wrong_is_refused_by_the_run() -> None:
    assert "as_of is '2024-02-30T00:00:00Z'" in refusal(dag_run("a", conf={"as_of": "2024-02-30T00:00:00Z"}))


def test_a_key_that_the_form_does_not_have_is_ignored() -> None:
    assert asked(dag_run("a", conf={"kind": "watch", "episode": "drift:1", "password": "x"})) == asked(dag_run("a"))


def test_each_run_of_a_backfill_looks_from_its_own_date() -> None:
    request = asked(dag_run("backfill__1", "backfill", logical_date="2024-02-05T03:00:00Z"))
    assert request.as_of == datetime(2024, 2, 5, 3, tzinfo=UTC)
    assert asked(dag_run("manual__1", logical_date="2024-02-05T03:00:00Z")).as_of is None


def test_an_event_that_carries_a_request_is_that_request() -> None:
    assert asked(by_events(DRIFT)) == Request.model_validate(DRIFT)


def test_an_event_made_by_hand_is_a_wish_like_any_other() -> None:
    request = asked(by_events({}))
    assert (request.kind, request.reason, request.episode) == ("train", "manual", None)


def test_what_an_event_says_beside_a_request_is_ignored() -> None:
    assert asked(
        by_events({**DRIFT, "kind": "watch", "from": {"deep": [1]}, "__class__": "x"})
    ) == Request.model_validate(DRIFT)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"as_of": "soon"}, "as_of is 'soon'"),
        ({"reason": "because"}, "reason is 'because': Input should be 'schedule', 'drift',"),
        ({"trials": -1}, "trials is '-1'"),
        ({"text": "x" * 501}, "text is 'xxx"),
        ({"episode": {"a": 1}}, "episode is \"{'a': 1}\""),
        ({"force": None}, "force is 'None'"),
        ({"dry_run": []}, "dry_run is '[]'"),
    ],
)
def test_an_event_with_a_wrong_value_is_refused_with_the_value_and_what_to_do(extra: dict[str, Any], said: str) -> None:
    text = refusal(by_events(extra))
    assert said in text
    assert "a retry gives the same" in text
    assert len(text) < 600


def test_several_events_are_one_retraining_for_the_newest_data() -> None:
    newer = {**DRIFT, "as_of": "2024-03-12T00:00:00Z"}
    assert asked(by_events(DRIFT, newer)) == Request.model_validate(newer)


@pytest.mark.parametrize(
    "other", [{}, {"dry_run": True}, {"as_of": "2020-01-01T00:00:00Z", "text": "an old one"}, {"as_of": "soon"}]
)
@pytest.mark.parametrize("newest_first", [False, True])
def test_evidence_is_not_lost_when_somebody_sends_another_event_meanwhile(
    other: dict[str, Any], newest_first: bool
) -> None:
    extras = (DRIFT, other) if newest_first else (other, DRIFT)
    assert asked(by_events(*extras)) == Request.model_validate(DRIFT)


def test_a_dry_run_does_not_take_the_place_of_a_real_wish() -> None:
    assert not asked(by_events({"text": "train"}, {"dry_run": True})).dry_run


def test_a_wrong_event_among_right_ones_is_set_aside() -> None:
    assert asked(by_events({"trials": 5}, {"trials": "many"})).trials == 5


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"as_of": None, "trials": None},
        {"as_of": "2024-02-11T00:00:00Z"},
        {"as_of": "2024-02-11T00:00:00.123+05:30"},
        {"as_of": "2024-02-11"},
        {"trials": 0},
        {"trials": 1000},
        {"reason": "ü" * 500},
        {"force": True, "dry_run": False},
    ],
)
def test_the_form_accepts(form: dict[str, Any]) -> None:
    params = ParamsDict(train_params())
    params.update(form)
    params.validate()
    request = Request(kind="train", **{("text" if name == "reason" else name): value for name, value in form.items()})
    assert request.kind == "train"


@pytest.mark.parametrize(
    "form",
    [
        {"as_of": "yesterday"},
        {"as_of": "2024-02-11T00:00:00Z; DROP TABLE runs"},
        {"as_of": 5},
        {"trials": -1},
        {"trials": 1001},
        {"trials": 1.5},
        {"trials": "3"},
        {"reason": "x" * 501},
        {"reason": None},
        {"force": "yes"},
        {"dry_run": 1},
    ],
)
def test_the_form_refuses(form: dict[str, Any]) -> None:
    params = ParamsDict(train_params())
    with pytest.raises(ParamValidationError):
        params.update(form)


def test_every_field_of_the_form_says_what_it_does() -> None:
    for name, param in train_params().items():
        assert param.schema["title"], name
        assert param.description.endswith("."), name


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({}, "to is 'None'"),
        ({"version": 0, "reason": "x"}, "to is '0'"),
        ({"version": 1, "reason": ""}, "reason is ''"),
    ],
)
def test_a_rollback_in_a_dag_without_the_form_is_checked_as_well(conf: dict[str, Any], says: str) -> None:
    class Asking(BaseOperator):
        """Returns the rollback of the run it is in."""

        def execute(self, context: Any) -> dict[str, Any]:
            return rollback_of(context).model_dump(mode="json")

    with DAG("mine", schedule=None, params={"version": None, "reason": None}):
        task = Asking(task_id="asking")
    result = Worker(run=dag_run(conf=conf)).do(task)
    assert result.state == "failed"
    assert says in str(result.error)
