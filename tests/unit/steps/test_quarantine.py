"""A broken window retrains nothing, and its rows are not trained on until they are repaired."""

from typing import Any

import pandas as pd
import pytest

import small_deployment
from continuous_training.core.errors import DataInvalid
from continuous_training.core.run import StepResult
from continuous_training.core.window import Window
from continuous_training.spec import ModelSpec
from continuous_training.steps.plan import next_window_end
from continuous_training.steps.shadow import shadow_run
from small_deployment import Deployment, day

SPEC = small_deployment.spec()
WITHOUT = small_deployment.spec(triage=None)
BROKEN = Window(start=day(40), end=day(50))
ALL = Window(start=day(0), end=day(100))


def in_other_units(rows: pd.DataFrame) -> pd.DataFrame:
    inside = (rows["at"] >= BROKEN.start) & (rows["at"] < BROKEN.end)
    return rows.assign(wind=rows["wind"].where(~inside, rows["wind"] * 1000))


@pytest.fixture
def quarantined(champion: Deployment) -> Deployment:
    """Give a deployment that has looked at a broken window, days 40 to 50."""
    champion.land(65, in_other_units)
    champion.watch(SPEC)
    return champion


def trained(deployment: Deployment, model: ModelSpec = SPEC, until: str = "collect") -> dict[str, StepResult]:
    run, results = deployment.train(model, until=until, as_of=day(61))
    assert (run.window, run.quarantined) == (Window(start=day(20), end=day(60)), (BROKEN,))
    return results


def test_a_broken_window_is_a_no_however_far_it_is_from_the_reference(quarantined: Deployment) -> None:
    (record,) = quarantined.ledger.decisions("m")
    assert (record.decision.answer, record.decision.reason) == ("no", None)
    assert record.decision.why.startswith(
        "the data is broken and the window quarantined: values look multiplied by 1000"
    )
    assert [(defect.kind, defect.column) for defect in record.evidence.defects] == [("unit_change", "wind")]
    assert quarantined.ledger.quarantined("m", ALL) == (BROKEN,)


def test_a_broken_window_opens_an_episode_that_the_next_whole_one_ends(quarantined: Deployment) -> None:
    (episode,) = quarantined.ledger.open_episodes("m")
    assert (episode.kind, episode.name) == ("defect", "defect:2024-02-20T00:00:00Z")
    _, results = quarantined.watch(SPEC)
    assert results["score"].facts["defects"] == 0
    assert quarantined.ledger.open_episodes("m") == ()
    assert quarantined.ledger.quarantined("m", ALL) == (BROKEN,)
    assert quarantined.ledger.verify() == []
    assert len(quarantined.ledger.retraining_history("m").recent) == 1, "the fault's signals are no evidence"
    assert next_window_end(SPEC, quarantined.settings) == day(70)


def test_broken_rows_are_left_out_of_a_later_training(quarantined: Deployment) -> None:
    collected = trained(quarantined, until="promote")["collect"]
    facts = collected.facts
    assert (facts["rows"], facts["quarantined"]) == (1500, 500)
    rows = pd.read_parquet(quarantined.store.fetch(collected.outputs["rows"], quarantined.home))
    assert rows["wind"].abs().max() < 10
    assert not rows["at"].between(BROKEN.start, BROKEN.end, inclusive="left").any()


def refitted(deployment: Deployment) -> dict[str, Any]:
    """Return what the refit before the window of days 50 to 60 was made of."""
    run, _ = deployment.watch(small_deployment.spec(retraining={"kind": "regret"}))
    assert run.window == Window(start=day(50), end=day(60))
    made = shadow_run(SPEC, day(50), quarantined=(BROKEN,), champion=run.champion)
    return deployment.store.read_manifest(made.key, "collect")["facts"]


def test_a_refit_leaves_broken_rows_out_until_they_are_repaired(quarantined: Deployment, tmp_path: Any) -> None:
    repaired = quarantined.copy(tmp_path / "repaired")
    repaired.land(65)
    assert (refitted(quarantined)["rows"], refitted(repaired)["rows"]) == (1500, 2000)


def test_repaired_rows_are_trained_on_and_their_decision_stands(quarantined: Deployment) -> None:
    quarantined.land(65)
    facts = trained(quarantined)["collect"].facts
    assert (facts["rows"], facts["quarantined"]) == (2000, 0)
    assert quarantined.ledger.quarantined("m", ALL) == (BROKEN,)


def test_a_training_whose_rows_end_before_the_broken_window_leaves_nothing_out(quarantined: Deployment) -> None:
    run, results = quarantined.train(SPEC, until="collect", as_of=day(41), episode="again")
    assert (run.quarantined, results["collect"].facts["quarantined"]) == ((), 0)


def test_a_window_that_the_champion_was_made_from_is_no_copy_of_its_reference(champion: Deployment) -> None:
    champion.land(65)
    lenient = small_deployment.spec(promotion={"metric": "roc_auc", "rows": 100, "resamples": 100, "margin": -0.5})
    assert champion.train(lenient, as_of=day(61))[1]["promote"].facts["outcome"] == "promoted"
    run, results = champion.watch(lenient)
    assert run.window == Window(start=day(40), end=day(50))
    assert results["score"].facts["defects"] == 0


def test_rows_that_are_all_broken_are_not_trained_on(champion: Deployment) -> None:
    model = small_deployment.spec(
        window={"reference": "10 days", "current": "10 days", "every": "10 days", "anchor": "2024-01-01T00:00:00Z"}
    )
    champion.land(55, in_other_units)
    champion.watch(model)
    with pytest.raises(DataInvalid, match=r"all 500 rows of m .* are quarantined.*the champion keeps serving"):
        champion.train(model, as_of=day(51))


def test_without_a_triage_nothing_is_broken_and_nothing_left_out(champion: Deployment) -> None:
    champion.land(65, in_other_units)
    _, results = champion.watch(WITHOUT)
    assert (results["score"].facts["defects"], results["decide"].facts["answer"]) == (0, "yes")
    assert champion.ledger.quarantined("m", ALL) == ()


def test_a_triage_that_was_turned_off_since_leaves_nothing_out(quarantined: Deployment) -> None:
    assert trained(quarantined, WITHOUT)["collect"].facts["quarantined"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"triage": {"null_share": 0.1}},
        {"features": {"numeric": ["wind"], "categorical": []}},
        {"features": {"numeric": ["wind", "gust"], "categorical": ["carrier"]}},
    ],
    ids=["triage", "a feature less", "a feature more"],
)
def test_a_triage_or_features_changed_since_the_training_are_judged_by_the_kept_rows(
    champion: Deployment, changes: dict[str, Any]
) -> None:
    model = small_deployment.spec(**changes)
    champion.land(65, lambda rows: in_other_units(rows.assign(gust=rows["wind"] + 1)))
    _, results = champion.watch(model)
    assert results["score"].facts["defects"] == 1
    assert trained(champion, model)["collect"].facts["quarantined"] == 500
