"""A metric that the model file declares judges challengers and champions as a built-in one does."""

from typing import Any

import pytest

import small_deployment
from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import Evidence, GateVerdict, Outcome
from continuous_training.registry import Registry
from small_deployment import TRAINER, Deployment, day

COST = {"kind": "cost", "name": "delay_cost", "true_positive": -1, "false_positive": 6, "false_negative": 11}
TOP = {"kind": "precision_at", "name": "surest", "top": 0.1}
GATE = {"metric": "delay_cost", "rows": 100, "resamples": 100, "slices": ["carrier"], "slice_rows": 50, "floor": 3.0}


def model(**changes: Any) -> Any:
    given = {"metrics": [COST, TOP], "promotion": GATE, "drift": []}
    return small_deployment.spec(**{**given, **changes})


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give a deployment whose champion was made by a short training, and what judging a longer one came to."""
    deployment = Deployment(tmp_path_factory.mktemp("cost") / "home")
    deployment.land(75)
    _, first = deployment.train(model(trainer={**TRAINER, "rounds": 1}), as_of=day(41))
    assert first["promote"].facts["outcome"] == "promoted"
    _, results = deployment.train(model(trainer={**TRAINER, "rounds": 60}), as_of=day(51))
    return deployment, results


def test_a_challenger_that_costs_less_is_promoted(judged: Any) -> None:
    deployment, results = judged
    facts = results["evaluate"].facts
    assert (facts["metric"], results["promote"].facts["outcome"]) == ("delay_cost", "promoted")
    assert facts["challenger"] < facts["champion"]
    assert "the challenger's delay_cost is" in facts["text"]
    verdict = GateVerdict.model_validate_json(deployment.store.get(results["evaluate"].outputs["verdict"]))
    assert {rule.name: rule.outcome for rule in verdict.rules} == dict.fromkeys(
        ["rows", "champion", "floor", "slice carrier=a", "slice carrier=b", "refit"], Outcome.PASS
    )
    assert "at most 3" in next(rule.text for rule in verdict.rules if rule.name == "floor")


def test_every_declared_metric_is_measured_and_shown_in_the_registry(judged: Any) -> None:
    deployment, results = judged
    comparison = Comparison.model_validate_json(deployment.store.get(results["evaluate"].outputs["comparison"]))
    assert {"delay_cost", "surest", "roc_auc"} < comparison.metrics.keys()
    assert comparison.metrics["delay_cost"] == (comparison.challenger.value, comparison.champion.value)
    run = results["promote"].facts["mlflow_run"]
    with Registry(deployment.settings.registry)._client() as client:
        shown = client.get_run(run).data.metrics
    assert shown["hold_out_delay_cost"] == comparison.challenger.value


def test_a_performance_rule_may_name_one_and_fires_when_it_is_crossed(judged: Any) -> None:
    deployment, _ = judged
    rules = [{"metric": "delay_cost", "above": 0.1, "by": "carrier"}, {"metric": "surest", "below": 0.2}]
    spec = model(trainer={**TRAINER, "rounds": 60}, performance=rules)
    _, results = deployment.watch(spec, as_of=day(71))
    evidence = Evidence.model_validate_json(deployment.store.get(results["score"].outputs["evidence"]))
    assert [(one.estimate.metric, one.slice) for one in evidence.performance] == [
        ("delay_cost", "carrier=a"), ("delay_cost", "carrier=b"), ("surest", ""),
    ]  # fmt: skip
    costs = [one.estimate for one in evidence.performance[:2]]
    assert all(0.1 < one.low < one.value < one.high for one in costs)
    assert results["decide"].facts["answer"] == "yes"
    assert results["decide"].facts["signals"] == {"delay_cost above 0.1": "fired", "surest below 0.2": "quiet"}
