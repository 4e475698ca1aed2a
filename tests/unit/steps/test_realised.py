"""After a promotion each window tells by how much the new champion beats the one that it replaced."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import small_deployment
from continuous_training.core.decisions import Evidence
from continuous_training.core.scores import RealisedGain
from continuous_training.spec import ModelSpec
from small_deployment import NOW, Deployment, day

RETRAINING = {"kind": "signals", "judged_over": 2}
WORSE_PASSES = {"metric": "roc_auc", "rows": 100, "resamples": 100, "margin": -0.9}
SPEC = small_deployment.spec(retraining=RETRAINING, promotion=WORSE_PASSES, drift=[])


def other_world(rows: pd.DataFrame) -> pd.DataFrame:
    """Turn the label around from day 45 on; nothing else tells."""
    return rows.assign(late=rows["late"].where(rows["at"] < day(45), 1 - rows["late"]))


@pytest.fixture
def second(champion: Deployment) -> Deployment:
    """Give a deployment whose second champion, made from days 50 to 90, knows the new world."""
    champion.land(135, other_world)
    champion.train(SPEC, as_of=day(91))
    assert champion.ledger.champion("m").data_cutoff == day(90)
    return champion


def looked(deployment: Deployment, end: int, spec: ModelSpec = SPEC) -> RealisedGain | None:
    _, results = deployment.watch(spec, as_of=day(end + 1))
    evidence = Evidence.model_validate_json(deployment.store.get(results["score"].outputs["evidence"]))
    return evidence.realised


def test_the_gain_of_a_champion_that_knows_the_world_is_above_zero(second: Deployment) -> None:
    found = looked(second, 100)
    assert found is not None
    assert (found.fence, found.against, found.difference.metric, found.difference.rows) == (2, 1, "roc_auc", 500)
    assert found.difference.low > 0.5


def test_a_retraining_is_measured_over_so_many_windows_and_is_judged_then(second: Deployment) -> None:
    gains, labels = [], []
    for end in (100, 110, 120):
        gains.append(looked(second, end))
        [one] = second.ledger.retrainings("m")
        labels.append(one.label(2))
    assert labels == [None, "worth it", "worth it"]
    assert gains[0] is not None
    assert gains[1] is not None
    assert gains[2] is None
    assert (one.reason, one.asked, one.promoted, one.followed) == ("manual", False, True, False)
    assert one.gains == (gains[0].difference, gains[1].difference)
    assert second.ledger.retraining_history("m").retrainings == (one,)


def test_a_worse_model_that_got_through_is_harmful(champion: Deployment) -> None:
    champion.land(85, lambda rows: rows.assign(late=rows["late"].where(rows["at"] >= day(50), 1 - rows["late"])))
    champion.train(SPEC, as_of=day(51))  # made of the rows of a world that ended
    for end in (60, 70):
        looked(champion, end)
    [one] = champion.ledger.retrainings("m")
    assert one.label(2) == "harmful"


def test_a_window_that_the_champion_was_made_from_judges_nothing(second: Deployment) -> None:
    # Without triage, which takes rows of the reference for copies.
    plain: dict[str, Any] = {"retraining": RETRAINING, "promotion": WORSE_PASSES, "drift": [], "triage": None}
    assert looked(second, 80, small_deployment.spec(**plain)) is None
    window = {"reference": "40 days", "current": "20 days", "every": "10 days", "anchor": "2024-01-01T00:00:00Z"}
    overlapping = small_deployment.spec(**plain, window=window)
    assert looked(second, 100, overlapping) is None
    assert looked(second, 110, overlapping) is not None


def test_a_broken_window_judges_nothing(second: Deployment) -> None:
    inside = {"start": day(92), "end": day(98)}

    def lost(rows: pd.DataFrame) -> pd.DataFrame:
        broken = (rows["at"] >= inside["start"]) & (rows["at"] < inside["end"])
        return other_world(rows).assign(wind=rows["wind"].mask(broken))

    second.land(135, lost)
    assert looked(second, 100) is None
    assert second.ledger.decisions("m")[0].evidence.defects
    assert looked(second, 110) is not None


def test_after_a_rollback_there_is_no_retraining_to_judge(second: Deployment) -> None:
    second.train(SPEC, as_of=day(101))
    second.ledger.rollback("m", reason="complaints", now=NOW)
    assert second.ledger.champion("m").version == "2"
    assert looked(second, 110) is None
    third, before = second.ledger.retrainings("m")
    assert third.followed
    assert before.followed
    assert third.label(2) is None


def test_a_champion_whose_bundle_is_gone_is_said_and_stops_no_look(second: Deployment) -> None:
    first = second.ledger.previous("m")
    Path(second.store.object_path(first.bundle)).unlink()
    for cached in (second.home / "bundles").glob(f"*{first.bundle}*"):
        cached.rename(cached.with_name("gone"))
    found = looked(second, 100)
    assert found is not None
    assert (found.difference.value, found.difference.low) == (None, None)
    assert "the champion before cannot be asked: " in found.difference.note
    assert second.ledger.gains("m", 2) == ()


def test_a_champion_that_needs_a_column_nobody_reads_is_said(second: Deployment) -> None:
    second.train(SPEC, as_of=day(101))
    narrow: dict[str, Any] = {"features": {"numeric": ["wind"], "categorical": []}}
    spec = small_deployment.spec(retraining=RETRAINING, promotion=WORSE_PASSES, drift=[], **narrow)
    second.train(spec, as_of=day(111))
    found = looked(second, 120, spec)
    assert found is not None
    assert found.difference.note == "the champion before needs carrier, which is not read any more"


def test_a_dry_run_and_a_first_training_are_no_retrainings(champion: Deployment) -> None:
    assert champion.ledger.retrainings("m") == ()
    champion.land(65)
    champion.train(SPEC, until="promote", dry_run=True, as_of=day(51))
    assert champion.ledger.retrainings("m") == ()
