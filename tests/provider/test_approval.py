"""The task that asks a person: what is shown, to whom, and when nobody is asked."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.serde import serialize
from markdown_it import MarkdownIt

import small_model
from airflow_worker import Worker, dag_run
from continuous_training.core.comparison import Comparison, SliceComparison
from continuous_training.core.decisions import GateVerdict, Outcome, Rule
from continuous_training.core.scores import Estimate
from continuous_training.provider.dags import build_train_dag
from continuous_training.provider.hooks import configured_settings
from continuous_training.storage import Store
from pod_parts import planned

pytestmark = pytest.mark.provider
HOSTILE = "x\\|[click](http://evil)`![i](//evil)\n\n# <script>alert(1)</script> www.evil.com {{ 7*7 }}\u202e"
PASSED = Rule(
    name=f"slice origin={HOSTILE}", outcome=Outcome.PASS, text=HOSTILE, value=0.03, low=0.01, high=0.05, limit=0.0
)


def estimate(value: float) -> Estimate:
    return Estimate(metric="roc_auc", value=value, low=value - 0.01, high=value + 0.01, rows=900)


COMPARED = Comparison(
    metric="roc_auc", rows=900, challenger=estimate(0.83), champion=estimate(0.8), difference=estimate(0.03),
    slices=(SliceComparison(column="origin", value=HOSTILE, rows=400, difference=estimate(-0.02)),),
    negative_flip_rate=0.04, metrics={"log_loss": (0.4, 0.5)},
)  # fmt: skip


def task(approval: Any = "always") -> Any:
    return build_train_dag(small_model.spec(promotion={"metric": "roc_auc", "approval": approval})).get_task("approve")


def evaluated(outcome: Outcome = Outcome.PASS, text: str = "because it drifted", **run: Any) -> Worker:
    """Return a worker after an evaluation that ended so."""
    verdict = GateVerdict(outcome=outcome, text=HOSTILE, rules=(PASSED,))
    plan = planned(text)
    plan["facts"]["run"] |= run
    store = Store(configured_settings().artefacts)
    outputs = {
        name: store.put(value.model_dump_json().encode())
        for name, value in (("verdict", verdict), ("comparison", COMPARED))
    }
    store.write_manifest(plan["key"], "evaluate", {"step": "evaluate", "outputs": outputs, "facts": {}})
    return Worker(run=dag_run(), xcoms={("plan", "return_value"): plan})


def asked(worker: Worker) -> dict[str, Any]:
    [body] = [body for path, body in worker.sent if "hitl" in path.lower()]
    return body


def test_a_person_sees_both_models_and_every_rule_with_its_numbers() -> None:
    worker = evaluated()
    assert worker.do(task()).state == "awaiting_input"
    told = asked(worker)
    assert (told["subject"], told["defaults"]) == ("Promote the challenger of m?", ["Reject"])
    for line in (
        "**Why it was trained:** `because it drifted`",
        "| `roc_auc` | 0.8 (0.79 to 0.81) | 0.83 (0.82 to 0.84) | 0.03 (0.02 to 0.04) |",
        "| `log_loss` | 0.5 | 0.4 |  |",
        "| newly wrong |  | 4.00% of the rows |  |",
    ):
        assert line in told["body"].splitlines()
    assert "| pass | 0.03 | (0.01 to 0.05) | 0 |" in told["body"]


def test_what_data_and_people_say_can_be_no_markup_and_no_link() -> None:
    worker = evaluated(text=HOSTILE)
    worker.do(task())
    body = asked(worker)["body"]
    outside = "".join(body.split("`")[::2])  # between the pieces of inline code
    assert body.count("`") % 2 == 0
    for sign in ("evil", "click", "<", "7*7", "\u202e"):
        assert sign not in outside
    parsed = MarkdownIt("commonmark").enable("table").parse(body)
    kinds = {token.type for block in parsed for token in (block, *(block.children or ()))}
    assert {"table_open", "code_inline"} <= kinds
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "heading_open"}
    for row in (line for line in body.splitlines() if line.startswith("|")):
        assert row.count("|") in {4, 5, 6}, row


@pytest.mark.parametrize(
    ("approval", "outcome", "run", "state"),
    [
        ("always", Outcome.FAIL, {}, "success"),
        ("always", Outcome.INCONCLUSIVE, {}, "success"),
        ("always", Outcome.INCONCLUSIVE, {"force": True}, "awaiting_input"),
        ("always", Outcome.PASS, {"dry_run": True}, "success"),
        ({"when": {"difference_below": 0.02}}, Outcome.PASS, {}, "success"),
        ({"when": {"difference_below": 0.05}}, Outcome.PASS, {}, "awaiting_input"),
        ({"when": {"forced": True}}, Outcome.PASS, {"force": True}, "success"),
    ],
)
def test_nobody_is_asked_where_nothing_would_be_promoted_or_no_rule_applies(
    approval: Any, outcome: Outcome, run: dict[str, Any], state: str
) -> None:
    worker = evaluated(outcome, **run)
    assert worker.do(task(approval)).state == state
    assert [path for path, _ in worker.sent if "hitl" in path.lower() or path.endswith("skip-downstream")] == (
        [] if state == "success" else [path for path, _ in worker.sent if "hitl" in path.lower()]
    )


def answer(chosen: str, user: dict[str, str] | None, **params: str) -> dict[str, Any]:
    """Return what Airflow resumes the task with."""
    return {
        "chosen_options": [chosen],
        "params_input": params,
        "responded_at": serialize(datetime(2024, 3, 1, tzinfo=UTC)),
        "responded_by_user": user,
    }


ANN = {"id": "ann", "name": "ann"}


@pytest.mark.parametrize(
    ("reply", "facts", "text"),
    [
        (
            answer("Approve", ANN, why=" fine \n"),
            {"approved": True, "by": "ann", "reason": "fine"},
            "approved by ann: fine",
        ),
        (
            answer("Reject", {"id": "7", "name": "Ann Lee"}, why=HOSTILE),
            {"approved": False, "by": "Ann Lee (7)", "reason": HOSTILE},
            f"rejected by Ann Lee (7): {HOSTILE}",
        ),
        (
            answer("Approve", ANN),
            {"approved": True, "by": "ann", "reason": ""},
            "approved by ann: no reason given",
        ),
        (
            answer("Reject", None, why=""),
            {"approved": False, "by": "", "reason": ""},
            "not approved: nobody answered",
        ),
        (
            answer("Approve", None),
            {"approved": False, "by": "", "reason": ""},
            "not approved: nobody answered",
        ),
    ],
    ids=["approved", "rejected", "no reason", "nobody in time", "nobody at all"],
)
def test_who_answered_and_why_is_kept_with_the_run_and_the_steps_after_it_follow(
    reply: dict[str, Any], facts: dict[str, Any], text: str
) -> None:
    worker = evaluated()
    assert worker.do(task(), resume=("execute_complete", {"event": reply})).state == "success"
    assert worker.result("approve") == {"asked": True, **facts}
    kept = Store(configured_settings().artefacts).read_manifest("a" * 64, "approve")
    assert kept is not None
    assert kept["facts"] == {**facts, "text": text}
    assert not [path for path, _ in worker.sent if path.endswith("skip-downstream")]


def test_the_form_asks_for_the_reason_and_is_not_filled_in_with_that_of_the_training() -> None:
    worker = evaluated()
    worker.run = dag_run(conf={"reason": "it drifted", "trials": 3})
    worker.do(task())
    (field,) = asked(worker)["params"].items()
    assert field[0] == "why"
    assert (field[1]["value"], field[1]["schema"]["title"]) == ("", "Reason")


def test_a_reason_that_is_too_long_is_asked_for_again() -> None:
    worker = evaluated()
    outcome = worker.do(task(), resume=("execute_complete", {"event": answer("Approve", ANN, why="x" * 501)}))
    assert outcome.state != "success"
    assert "too long" in str(outcome.error)
    assert Store(configured_settings().artefacts).read_manifest("a" * 64, "approve") is None


def test_the_model_file_names_who_may_answer_and_how_long_is_waited() -> None:
    approval = {"when": "always", "approvers": ["ann", "bob"], "timeout": "2 days"}
    worker = evaluated()
    worker.do(task(approval))
    assert asked(worker)["assigned_users"] == [{"id": "ann", "name": "ann"}, {"id": "bob", "name": "bob"}]
    assert task(approval).response_timeout == timedelta(days=2)
    assert task().response_timeout == timedelta(days=7)
    assert task().assigned_users is None


def test_it_stands_between_the_verdict_and_the_promotion_and_survives_serialization() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = build_train_dag(small_model.spec(promotion={"metric": "roc_auc", "approval": "always"}))
    read = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    approve = read.get_task("approve")
    assert approve.upstream_task_ids == {"plan", "evaluate"}
    assert "promote" in approve.downstream_task_ids
    never = build_train_dag(small_model.spec(promotion={"metric": "roc_auc", "approval": "never"}))
    assert "approve" not in never.task_ids


def test_an_evaluation_that_is_not_there_fails_with_what_to_do() -> None:
    worker = Worker(run=dag_run(), xcoms={("plan", "return_value"): planned()})
    outcome = worker.do(task())
    assert outcome.state == "failed"
    assert "step evaluate of run" in str(outcome.error)
