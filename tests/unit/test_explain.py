"""The explanation of a model file says in words what the file will do."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from continuous_training.deployers import AnyDeployer
from continuous_training.detectors import AnyDetector
from continuous_training.explain import explain
from continuous_training.metrics import AnyMetric
from continuous_training.policies.signals import SignalPolicy as RetrainingPolicy
from continuous_training.runners import AnyRunner
from continuous_training.sources import AnySource
from continuous_training.spec import ModelSpec
from continuous_training.strict_yaml import read
from continuous_training.trainers import AnyTrainer

NOW = datetime(2013, 3, 8, 12, tzinfo=UTC)  # a window has just ended and its labels are not known
MODEL_FILE = read(Path(__file__).parents[2] / "include" / "models" / "flight_delays.yaml").data
SUITE = {
    "critical": [{"expect_column_to_exist": {"column": name}} for name in ("carrier", "origin")],
    "warning": [{"expect_column_to_exist": {"column": "distance"}}],
}


def _words(text: str) -> str:
    return " ".join(text.split())


def _demo(**changes: Any) -> ModelSpec:
    """Return the demo's model with some blocks of its file replaced."""
    return ModelSpec.model_validate(MODEL_FILE | {"expectations": None} | changes)


def _explained(**changes: Any) -> str:
    return _words(explain(_demo(**changes), now=NOW))


@pytest.mark.parametrize(
    "fragment",
    [
        "flight_delays predicts late (classification) from 13 numeric columns (distance, planned_minutes,",
        "and 3 categorical columns (carrier, origin, destination).",
        "path {data}/flights",
        "The time of a row is scheduled_departure. A label younger than 1 day is not read.",
        "Windows end every 7 days, counted from 2013-03-01T00:00Z.",
        "the newest window whose labels can all be known ends at 2013-03-01T00:00Z",
        "a training would take 59 days, from 2013-01-01T00:00Z to before 2013-03-01T00:00Z",
        "a look would score 7 days, from 2013-02-22T00:00Z to before 2013-03-01T00:00Z",
        "Nothing begins before the source has rows up to 2013-03-02T00:00Z.",
        "Training (lightgbm): ",
        "num_leaves 31, learning_rate 0.05",
        "the oldest 70% of the rows train the model, the next 15% choose its parameters, and the newest 15% are the hold-out",
        "Before it run 2 critical data checks, of which one that fails stops the run while the champion keeps serving, and 1 that only",
        "at 03:00, only on Monday (0 3 * * MON), in the time zone America/New_York.",
        # The clocks of New York go forward on 10 March 2013.
        "Next: Mon 2013-03-11 03:00 EDT, Mon 2013-03-18 03:00 EDT, Mon 2013-03-25 03:00 EDT.",
        "the trigger form of flight_delays.train, or ct run train flight_delays.",
        "any one of them is enough",
        "- alibi_tabular in every feature it can measure: ",
        "p_value 0.01: Chance of a false alarm",
        "- psi in carrier, origin: ",
        "threshold 0.25: Index above which a column counts as drifted.",
        "- page_hinkley: Find a lasting increase of a signal",
        "threshold 50: ",
        "the champion's roc_auc on the labels of the window is below 0.66 in 2 windows in a row.",
        "A signal counts once it fired in 2 of the last 3 windows, the newest among them.",
        "an episode leads to one retraining",
        "Evidence is not followed for 28 days after a retraining",
        "the last 84 days have seen 4 retrainings",
        "the roc_auc of the challenger is better: the whole 95% interval of the difference says so",
        "at least 500 hold-out rows have a known label",
        "on no value of origin with at least 300 rows is it shown to be worse by more than 0.02",
        "What cannot be shown keeps the champion.",
        "Serving (local): Answer requests on this machine, POST <url>/invocations, in MLflow's scoring format.",
        "Where work runs (subprocess): A process of its own beside the Airflow worker.",
    ],
)
def test_the_demos_model_is_explained(fragment: str) -> None:
    assert fragment in _explained(expectations=SUITE)


def test_a_model_whose_labels_come_late_says_which_line_counts_and_when_it_looks() -> None:
    rules = [{"metric": "roc_auc", "below": 0.6, "line": line} for line in ("estimated", "provisional")]
    text = _explained(performance=rules)
    assert (
        "No training begins before the source has rows up to 2013-03-02T00:00Z. A look does not wait for labels" in text
    )
    assert "the champion's roc_auc as its predictions alone lead to expect is below 0.6." in text
    assert "the champion's roc_auc on the labels known so far is below 0.6." in text
    assert "- roc_auc estimate: labels have shown that the estimate cannot be believed" in text
    assert "does not wait" not in _explained()


def test_lines_fit_a_terminal_and_paragraphs_are_apart() -> None:
    text = explain(_demo(), now=NOW)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("\n\n") == 7


def test_the_present_is_the_moment_unless_another_is_given() -> None:
    assert f"Seen from {datetime.now(UTC):%Y}" in _words(explain(_demo()))


def test_a_model_without_signals_may_be_retrained_by_regret() -> None:
    text = _explained(drift=[], performance=[], retraining={"kind": "regret"})
    assert "Retraining by schedule: never" in text
    assert "what it would have saved adds up past the policy's threshold" in text
    assert "written down as well" not in text
    assert "Anybody may ask for one by hand" in text


def test_a_model_without_schedule_and_signals_is_retrained_by_hand_only() -> None:
    text = _explained(drift=[], performance=[], retraining={"kind": "signals"})
    assert "Retraining by schedule: never" in text
    assert "Retraining by evidence: never" in text
    assert "episode" not in text
    assert "Anybody may ask for one by hand" in text


def test_defaults_are_said_without_naming_limits_that_do_not_exist() -> None:
    text = _explained(retraining={"kind": "signals"}, task=MODEL_FILE["task"] | {"label_delay": "0 days"})
    assert "younger" not in text
    assert "A signal counts in the first window in which it fires." in text
    assert "Evidence is not followed" not in text
    assert "No data checks run before it." in text
    assert "the data checks in checks.yaml" in _explained(expectations="checks.yaml")


def test_all_signals_and_detectors_of_one_kind_are_told_apart() -> None:
    text = _explained(
        retraining={"when": "all"},
        drift=[
            {"kind": "psi", "columns": ["carrier"]},
            {"kind": "psi", "columns": ["distance"], "bins": 20, "threshold": 0.1},
        ],
    )
    assert "all of them must fire" in text
    assert "psi in carrier" in text
    assert "psi in distance: " in text
    assert "Given: bins 20. threshold 0.1: " in text
    assert "Detectors of one name count as one signal." in text


@pytest.mark.parametrize(
    ("policy", "fragment"),
    [
        ({"kind": "regret"}, "These signals are written down as well, and do not decide: - alibi_tabular"),
        ({"when": [["psi", "page_hinkley"], ["low"]]}, "all of any one group must fire: psi with page_hinkley or low:"),
        ({"hysteresis": 0.2}, "One that fired is quiet once it came back by 20% of its threshold."),
        ({"demote_below": 0.3}, "is written down and not counted once under 30% of the retrainings that followed it are shown"),
        ({"judged_over": 2}, "over the 2 windows after it"),
        ({"advise": ["psi"]}, "Written down and not counted: psi."),
        ({"max_age": "90 days"}, "A champion whose data ended 90 days ago is retrained without any signal and beyond the budget."),
        ({"mode": "advise"}, "The policy only advises"),
        (
            {"blackout": [{"start": "2013-12-20T00:00Z", "end": "2014-01-02T00:00Z", "why": "release freeze"}]},
            "It is not followed from 2013-12-20T00:00Z to before 2014-01-02T00:00Z (release freeze).",
        ),
    ],
    ids=lambda given: None if isinstance(given, dict) else given[:30],
)  # fmt: skip
def test_every_setting_of_the_policy_is_told(policy: dict[str, Any], fragment: str) -> None:
    rule = {"name": "low", "metric": "roc_auc", "below": 0.6, "by": "origin", "rows": 50}
    assert fragment in _explained(retraining=policy, performance=[rule])
    assert fragment not in _explained(retraining={"kind": "signals"}, performance=[rule])


def test_a_rule_for_each_region_and_the_triage_are_told() -> None:
    rule = {"name": "low", "metric": "roc_auc", "below": 0.6, "by": "origin", "rows": 50}
    text = _explained(performance=[rule])
    assert (
        "- low: the champion's roc_auc on the labels of the window where it has at least 50 rows of one origin is below"
        in text
    )
    unnamed = _explained(performance=[{"metric": "roc_auc", "below": below} for below in (0.6, 0.5)])
    for name in ("roc_auc below 0.6", "roc_auc below 0.5"):  # as the decisions and the lists of a policy call them
        assert f"- {name}: the champion's roc_auc" in unnamed
    assert "the data itself is broken is quarantined" in text
    assert "quarantined" not in _explained(triage=None)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"margin": 0.01}, "the roc_auc of the challenger is better by more than 0.01: the whole 95% interval"),
        ({"margin": -0.01}, "the roc_auc of the challenger is at most 0.01 worse: the whole 95% interval"),
        ({"confidence": 0.9}, "the whole 90% interval"),
        ({"floor": 0.7}, "the challenger's own roc_auc is no worse than 0.7"),
        ({"negative_flips": 0.02}, "it is wrong where the champion is right on at most 2.00% of the rows"),
        ({"approval": "always"}, "a person has approved it in Airflow"),
    ],
)
def test_every_rule_of_the_gate_is_told(changes: dict[str, Any], fragment: str) -> None:
    assert fragment in _explained(promotion={"metric": "roc_auc", **changes})
    assert fragment not in _explained(promotion={"metric": "roc_auc"})


def test_declared_metrics_are_told_with_their_settings() -> None:
    cost = {"kind": "cost", "name": "delay_cost", "false_positive": 20, "false_negative": 150}
    text = _explained(metrics=[cost], promotion={"metric": "delay_cost", "floor": 60})
    assert "- cost: Measure the mean cost of a decision when rows above a threshold are treated as positive" in text
    assert "Given: name delay_cost, false_positive 20, false_negative 150." in text
    assert "the challenger's own delay_cost is no worse than 60" in text
    assert "Metrics beside the built-in ones" not in _explained()


def test_a_search_is_told_with_its_limits() -> None:
    assert "A search tries 3 sets of parameters. " in _explained()
    assert "There is no search for better ones." in _explained(trainer={"kind": "lightgbm"})
    text = _explained(trainer={"kind": "lightgbm", "tuning": {"trials": 9, "time": "20 minutes"}})
    assert "A search tries 9 sets of parameters for at most 20 minutes." in text


def test_where_work_runs_and_what_serves_is_told_with_its_settings() -> None:
    text = _explained(
        runner={
            "kind": "kubernetes",
            "image": "registry/ct@sha256:1",
            "resources": {"cpu": "2"},
            "startup": "5 minutes",
        },
        deployment={"kind": "none"},
        source={"kind": "sql", "conn_id": "warehouse", "table": "public.flights"},
    )
    assert "Where work runs (kubernetes): A pod for each work step." in text
    assert "image registry/ct@sha256:1, resources cpu 2, memory 2Gi, startup 5 minutes" in text
    assert "Serving (none): Leave serving to others" in text
    assert "champion before keeps serving" not in text
    assert "conn_id warehouse, table public.flights" in text


@pytest.mark.parametrize("family", [AnyDeployer, AnyDetector, AnyMetric, AnyRunner, AnySource, AnyTrainer], ids=str)
def test_every_kind_begins_its_docstring_with_a_sentence_of_its_own(family: Any) -> None:
    kinds: tuple[type[BaseModel], ...] = get_args(get_args(family)[0])
    sentences = {(kind.__doc__ or "").strip().splitlines()[0] for kind in kinds}
    assert len(sentences) == len(kinds)
    assert all(sentences)


@pytest.mark.parametrize(
    "schedule", ["0 0 L * *", "0 0 * * 5#2", "*/15 0-6 1,15 JAN-MAR MON-FRI", "* * * *,1 *", "0 22-2 * * 7"]
)
def test_every_schedule_that_the_policy_takes_is_described(schedule: str) -> None:
    assert RetrainingPolicy(schedule=schedule).schedule == schedule
    text = _explained(retraining={"schedule": schedule})
    assert schedule in text
    assert "in the time zone UTC. Next: " in text


def test_a_detector_in_each_region_and_the_season_before_are_told() -> None:
    text = _explained(drift=[{"kind": "psi", "columns": ["distance"], "by": "origin"}], triage={"season": "364 days"})
    assert "psi in distance, in each origin by itself: " in text
    assert "A drift that leaves the window as it was in the same season, 364 days before, does not count." in text
    assert "same season" not in _explained()


def test_the_steps_and_guards_of_a_rollout_are_told() -> None:
    steps = [{"shadow": "100%", "bake": "1 hour"}, {"ab": "50%", "bake": "2 days"}]
    rollout = {"steps": steps, "guards": {"latency": {"times": 2}, "quality": {"margin": 0.02}}}
    text = _explained(rollout=rollout, deployment={"kind": "local", "log": {}})
    assert "- shadow 100%, for 1 hour at least - ab 50%, for 2 days at least, until the guard quality has shown" in text
    assert "The challenger may not fail more often than the champion." in text
    assert "times 2" in text
    assert "A rollout that is not through within 7 days is rejected." in text
    assert "Rollout" not in _explained()


def test_what_is_kept_of_predictions_is_told() -> None:
    text = _explained(deployment={"kind": "local", "log": {"sample": 0.1, "drop": ["origin"]}})
    assert "Prediction log: What is kept of the predictions that a server answers with, and for how long." in text
    assert "sample 0.1" in text
    assert "Prediction log" not in _explained()


def test_it_says_who_is_measured_what_is_limited_and_what_people_may_tell() -> None:
    text = _explained(
        fairness={"sensitive": ["sex", "carrier"], "as_feature": ["carrier"], "equalised_odds": 0.2},
        feedback=[{"kind": "complaint", "by": "carrier", "above": 0.02}],
        deployment={"kind": "local", "log": {}},
    )
    assert "It is measured by sex, which it never gets." in text
    assert "equalised_odds: the equalised odds difference by sex or carrier is shown to be above 0.2." in text
    assert "- the equalised odds difference by sex or carrier is shown not to be above 0.2" in text
    assert (
        "complaint above 0.02: complaint is shown on more than 2.00% of the champion's predictions where it has one carrier."
        in text
    )
