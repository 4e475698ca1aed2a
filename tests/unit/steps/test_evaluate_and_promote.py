"""A challenger becomes champion in the ledger first, then in the registry, and ends the same however often it is done."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import small_deployment
from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import GateVerdict
from continuous_training.core.errors import Conflict, DataInvalid, RegistryUnavailable
from continuous_training.core.run import Run
from continuous_training.registry import Registry
from continuous_training.settings import Settings
from continuous_training.steps import TRAIN_STEPS, run_step
from continuous_training.steps.failure import record_failure
from continuous_training.steps.reconcile import reconcile
from small_deployment import NOW, TRAINER, Deployment, day

SPEC = small_deployment.spec()
PROMOTION = {"metric": "roc_auc", "rows": 100, "resamples": 100}
BETTER = small_deployment.spec(trainer={**TRAINER, "rounds": 60})
NOT_WORSE = small_deployment.spec(trainer={**TRAINER, "rounds": 9}, promotion={**PROMOTION, "margin": -0.2})
MUCH_BETTER = small_deployment.spec(promotion={**PROMOTION, "margin": 0.9})
FEW_ROWS = small_deployment.spec(
    trainer={**TRAINER, "rounds": 9}, promotion={**PROMOTION, "margin": -0.2, "rows": 5000}
)
CLOSED = "http://127.0.0.1:9"
"""Nobody listens on the discard port."""


def outcome(deployment: Deployment, run: Run) -> tuple[str | None, str]:
    record = deployment.ledger.run(run.key)
    return record.outcome, record.text


def test_the_comparison_and_the_verdict_are_kept(champion: Deployment) -> None:
    _, results = champion.train(NOT_WORSE, until="evaluate")
    evaluated = results["evaluate"]
    comparison = Comparison.model_validate_json(champion.store.get(evaluated.outputs["comparison"]))
    verdict = GateVerdict.model_validate_json(champion.store.get(evaluated.outputs["verdict"]))
    assert comparison.rows == 300
    assert comparison.champion is not None
    assert (evaluated.facts["challenger"], evaluated.facts["champion"]) == (
        comparison.challenger.value,
        comparison.champion.value,
    )
    assert (verdict.outcome.value, verdict.text) == (evaluated.facts["verdict"], evaluated.facts["text"])
    assert set(comparison.metrics) >= {"roc_auc", "accuracy", "f1"}
    assert [name for name in evaluated.outputs if name.startswith("reference-psi-")]


def compared(deployment: Deployment, results: Any) -> Comparison:
    return Comparison.model_validate_json(deployment.store.get(results["evaluate"].outputs["comparison"]))


def test_a_champion_that_has_learned_from_the_hold_out_is_judged_as_it_was_before(champion: Deployment) -> None:
    """Trained again on the window it was made from, the same model is neither better nor worse than itself."""
    again = small_deployment.spec(description="another episode")
    _, results = champion.train(again, reason="manual", episode="again", until="evaluate")
    comparison = compared(champion, results)
    assert comparison.against == "judged"
    assert comparison.difference.value == 0
    assert "before it learned from its own hold-out" in results["evaluate"].facts["text"]
    assert comparison.refitted.value > comparison.challenger.value


def test_a_champion_from_before_the_hold_out_is_judged_as_it_serves(champion: Deployment) -> None:
    champion.land(95)
    _, results = champion.train(SPEC, until="evaluate")
    comparison = compared(champion, results)
    assert comparison.against == "serving"
    assert "before it learned" not in results["evaluate"].facts["text"]


def test_without_refit_the_judged_model_is_the_one_that_serves(champion: Deployment) -> None:
    _, results = champion.train(small_deployment.spec(split={"refit": False}), until="evaluate")
    assert compared(champion, results).refitted is None


def test_a_challenger_that_passes_is_promoted(champion: Deployment) -> None:
    run, results = champion.train(NOT_WORSE)
    assert results["promote"].facts["outcome"] == "promoted"
    assert outcome(champion, run) == ("promoted", results["evaluate"].facts["text"])
    assert [item.fence for item in champion.ledger.history("m")] == [2, 1]
    assert champion.ledger.champion("m").run_key == run.key
    assert Registry(champion.settings.registry).aliases("m") == {"champion": "2", "challenger": "2", "previous": "1"}
    assert (results["deploy"].facts["version"], results["deploy"].facts["fence"]) == ("2", 2)


@pytest.mark.parametrize(
    ("model", "verdict"), [(MUCH_BETTER, "fail"), (FEW_ROWS, "inconclusive")], ids=["fail", "inconclusive"]
)
def test_a_challenger_that_does_not_pass_is_kept_as_a_version_and_the_champion_serves(
    champion: Deployment, model: Any, verdict: str
) -> None:
    run, results = champion.train(model)
    assert (results["promote"].facts["outcome"], results["promote"].facts["verdict"]) == ("kept", verdict)
    assert outcome(champion, run) == ("kept", results["evaluate"].facts["text"])
    assert len(champion.ledger.history("m")) == 1
    assert Registry(champion.settings.registry).aliases("m") == {"champion": "1", "challenger": "2"}
    assert results["deploy"].facts["version"] == "1"


def test_force_promotes_what_is_inconclusive(champion: Deployment) -> None:
    run, results = champion.train(FEW_ROWS, force=True)
    assert results["promote"].facts["outcome"] == "promoted"
    assert results["promote"].facts["text"].startswith("forced: ")
    assert champion.ledger.champion("m").run_key == run.key


def test_force_never_promotes_what_failed(champion: Deployment) -> None:
    run, results = champion.train(MUCH_BETTER, force=True)
    assert results["promote"].facts["outcome"] == "kept"
    assert champion.ledger.champion("m").fence == 1
    assert outcome(champion, run)[0] == "kept"


def test_a_dry_run_says_what_it_would_do_and_the_same_request_may_then_do_it(champion: Deployment) -> None:
    run, results = champion.train(NOT_WORSE, dry_run=True)
    assert results["promote"].facts["outcome"] == "dry_run"
    assert results["promote"].facts["text"].startswith("dry run: would promote.")
    assert outcome(champion, run)[0] == "dry_run"
    assert champion.ledger.champion("m").fence == 1
    again, results = champion.train(NOT_WORSE)
    assert again.key == run.key
    assert results["train"].reused
    assert results["promote"].facts["outcome"] == "promoted"


def test_a_run_whose_champion_was_replaced_meanwhile_is_stale_and_stays_so(champion: Deployment) -> None:
    slow, _ = champion.train(NOT_WORSE, until="evaluate")
    fast, _ = champion.train(NOT_WORSE, episode="fast")
    for _ in range(2):
        with pytest.raises(Conflict, match=f"run {slow.key[:12]} was not promoted"):
            champion.step("promote", NOT_WORSE, slow)
        record_failure(slow, champion.settings, "promote", "the task failed")
        assert outcome(champion, slow)[0] == "stale"
    assert champion.ledger.champion("m").run_key == fast.key
    assert Registry(champion.settings.registry).aliases("m")["champion"] == "2"


def test_older_data_never_replace_newer(champion: Deployment) -> None:
    champion.land(65)
    newer, _ = champion.train(NOT_WORSE, until="evaluate")
    older, _ = champion.train(NOT_WORSE, until="evaluate", as_of=day(51))
    assert champion.step("promote", NOT_WORSE, newer).facts["outcome"] == "promoted"
    with pytest.raises(Conflict):
        champion.step("promote", NOT_WORSE, older)
    assert champion.ledger.champion("m").data_cutoff == day(60)


def test_when_the_registry_is_down_the_ledger_is_right_and_a_retry_shows_one_version(champion: Deployment) -> None:
    run, _ = champion.train(NOT_WORSE, until="evaluate")
    down = Settings.from_environment({**champion.settings.to_environment(), "MLFLOW_TRACKING_URI": CLOSED})
    with pytest.raises(RegistryUnavailable, match="the ledger is right already"):
        run_step("promote", NOT_WORSE, run, down)
    assert champion.ledger.champion("m").run_key == run.key
    record_failure(run, champion.settings, "promote", "MLflow is down")
    assert outcome(champion, run)[0] == "promoted"
    results = [champion.step("promote", NOT_WORSE, run).facts for _ in range(2)]
    assert results[0] == results[1]
    assert results[0]["registry_version"] == "2"
    assert len(champion.ledger.history("m")) == 2
    assert Registry(champion.settings.registry).aliases("m") == {"champion": "2", "challenger": "2", "previous": "1"}


def test_a_deployment_that_lost_its_registry_gets_it_back_from_the_store(champion: Deployment, tmp_path: Path) -> None:
    champion.train(NOT_WORSE)
    empty = Settings.from_environment(
        {**champion.settings.to_environment(), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/new.db"}
    )
    shown = reconcile(NOT_WORSE, empty)
    assert shown is not None
    assert shown["fence"] == 2
    aliases = Registry(empty.registry).aliases("m")
    assert aliases["champion"] == aliases["challenger"] != aliases["previous"]
    assert reconcile(NOT_WORSE, empty) == shown
    assert Registry(empty.registry).aliases("m") == aliases


def test_a_rollback_is_shown_by_reconciling(champion: Deployment) -> None:
    champion.train(NOT_WORSE)
    champion.ledger.rollback("m", reason="too many complaints", now=NOW)
    shown = reconcile(NOT_WORSE, champion.settings)
    assert shown is not None
    assert (shown["version"], shown["fence"]) == ("1", 3)
    aliases = Registry(champion.settings.registry).aliases("m")
    assert aliases["champion"] == "1"
    assert "previous" not in aliases or aliases["previous"] != "2"
    assert champion.ledger.champion("m").registry_version == "1"


def test_there_is_nothing_to_reconcile_or_deploy_before_a_champion(deployment: Deployment) -> None:
    deployment.land(45)
    assert reconcile(SPEC, deployment.settings) is None
    run = deployment.plan(SPEC)
    assert deployment.step("deploy", SPEC, run).facts == {"outcome": "nothing to deploy", "url": ""}


def test_deploying_serves_the_champion_of_the_ledger_whichever_run_asks(champion: Deployment) -> None:
    run, _ = champion.train(MUCH_BETTER, until="promote")
    facts = champion.step("deploy", MUCH_BETTER, run).facts
    assert (facts["version"], facts["fence"]) == ("1", 1)
    assert champion.ledger.champion("m").serving == ""


def test_results_are_small_whatever_they_say(champion: Deployment) -> None:
    _, results = champion.train(NOT_WORSE)
    assert all(len(results[name].model_dump_json()) < 4096 for name in TRAIN_STEPS)


def test_a_failed_watch_leaves_no_trace(champion: Deployment) -> None:
    champion.land(55)
    run = champion.plan(SPEC, kind="watch")
    record_failure(run, champion.settings, "score", "the source is down")
    assert [record.outcome for record in champion.ledger.runs("m")] == ["promoted"]


SMALLER = small_deployment.spec(
    features={"numeric": ["wind"], "categorical": []}, promotion={**PROMOTION, "margin": -0.2}
)


def test_a_champion_is_judged_and_watched_with_a_feature_that_the_model_file_dropped(champion: Deployment) -> None:
    runs = [champion.train(model, until="evaluate")[0] for model in (NOT_WORSE, SMALLER)]
    manifests = [champion.store.read_manifest(run.key, "evaluate") for run in runs]
    whole, smaller = [
        Comparison.model_validate_json(champion.store.get(manifest["outputs"]["comparison"])) for manifest in manifests
    ]
    assert whole.champion == smaller.champion
    assert whole.challenger != smaller.challenger
    champion.land(55)
    assert champion.watch(SMALLER)[1]["decide"].facts["answer"] == "no"


def test_a_champion_is_judged_and_watched_without_a_feature_that_the_source_lost(champion: Deployment) -> None:
    champion.land(55, lambda rows: rows.drop(columns="carrier"))
    _, watched = champion.watch(SMALLER)
    assert watched["decide"].facts["answer"] == "no"
    _, results = champion.train(SMALLER)
    assert results["evaluate"].facts["champion"] > 0.6
    assert results["promote"].facts["outcome"] == "promoted"
    with pytest.raises(DataInvalid, match="carrier"):
        champion.train(NOT_WORSE)


def test_a_champion_judges_beside_a_challenger_with_another_class(champion: Deployment) -> None:
    def third(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(late=rows["late"].where(rows.index % 5 != 0, 2))

    model = small_deployment.spec(promotion={"metric": "log_loss", "rows": 100, "resamples": 100})
    champion.land(55, third)
    _, results = champion.train(model)
    assert results["evaluate"].facts["champion"] > results["evaluate"].facts["challenger"]
    assert results["promote"].facts["outcome"] == "promoted"


def test_what_a_challenger_is_better_by_is_seen(champion: Deployment) -> None:
    _, results = champion.train(BETTER, until="evaluate")
    assert results["evaluate"].facts["challenger"] != results["evaluate"].facts["champion"]
