"""Labels that come weeks late: the quality is estimated at once, checked as labels mature, and not believed once it is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.decisions import Evidence
from continuous_training.core.errors import SourceUnavailable
from continuous_training.core.run import Request, StepResult
from continuous_training.core.scores import PerformanceScore
from continuous_training.spec import ModelSpec
from continuous_training.steps.lines import ESTIMATOR, estimator_key
from continuous_training.steps.plan import is_complete, newest_end
from small_deployment import NOW, Deployment, day

TASK = {"kind": "classification", "label": "late", "event_time": "at", "label_delay": "25 days"}
ESTIMATED = {"metric": "accuracy", "line": "estimated", "below": 0.75}
PROVISIONAL = {"metric": "accuracy", "line": "provisional", "below": 0.75}
FINAL = {"metric": "accuracy", "below": 0.75}


def model(*rules: dict[str, Any], **changes: Any) -> ModelSpec:
    """Return the small model whose labels are known 25 days late, while windows end every ten."""
    given = {"performance": rules or (ESTIMATED, FINAL), "drift": [], "task": TASK}
    return small_deployment.spec(**{**given, **changes})


def evidence(deployment: Deployment, results: dict[str, StepResult]) -> Evidence:
    return Evidence.model_validate_json(deployment.store.get(results["score"].outputs["evidence"]))


def looked(deployment: Deployment, end: int, spec: ModelSpec | None = None) -> tuple[Evidence, dict[str, Any]]:
    """Look at the window that ends on this day, and return the evidence with the facts of the decision."""
    _, results = deployment.watch(spec or model(), as_of=day(end))
    return evidence(deployment, results), results["decide"].facts


def line(found: Evidence, name: str, window: tuple[int, int] | None = None, part: str = "") -> PerformanceScore:
    [score] = [
        each
        for each in found.performance
        if each.line == name and each.slice == part and (window is None or (each.window or found.window) == days(*window))
    ]  # fmt: skip
    return score


def days(start: int, end: int) -> Any:
    return small_deployment.spec().window.current_window(day(end)).model_copy(update={"start": day(start)})


def turned(rows: pd.DataFrame, start: int, end: int = 1000) -> pd.DataFrame:
    """Turn the label around between two days, which nothing else tells."""
    hit = (rows["at"] >= day(start)) & (rows["at"] < day(end))
    return rows.assign(late=rows["late"].where(~hit, 1 - rows["late"]))


def harder(rows: pd.DataFrame, start: int) -> pd.DataFrame:
    """Let the wind be weaker from a day on: the label follows it as ever, and is nearly a matter of chance."""
    wind = rows["wind"].where(rows["at"] < day(start), 0.25 * rows["wind"])
    chance = np.random.default_rng(3).normal(scale=0.5, size=len(rows))
    return rows.assign(wind=wind, late=(wind + chance > 0).astype(int))


# What is measured


def test_a_look_has_each_line_on_the_newest_window_that_it_can_be_measured_on(champion: Deployment) -> None:
    champion.land(91)
    found, facts = looked(champion, 90, model(ESTIMATED))
    assert (found.window, found.as_of, found.rows) == (days(80, 90), day(90), 500)
    estimated, provisional = line(found, "estimated", (80, 90)), line(found, "provisional")
    final, checked = line(found, "final"), line(found, "estimated", (50, 60))
    assert (estimated.window, provisional.window, final.window) == (None, days(60, 70), days(50, 60))
    assert (estimated.matured, provisional.matured, final.matured) == (0.0, pytest.approx(0.5, abs=0.01), 1.0)
    assert (estimated.estimate.rows, provisional.estimate.rows, final.estimate.rows) == (500, 251, 500)
    for score in (estimated, checked):
        assert score.estimate.low < score.estimate.value < score.estimate.high
        assert score.estimate.low <= final.estimate.value <= score.estimate.high
    # Only what a rule names is a signal; the other lines are written down.
    assert facts["signals"] == {"estimated accuracy below 0.75": "quiet", "accuracy estimate": "quiet"}
    assert (estimated.below, provisional.below, final.below) == (0.75, None, None)


def test_no_line_sees_a_label_that_was_not_known_at_the_look(champion: Deployment) -> None:
    champion.land(91)
    early, _ = looked(champion, 90)
    champion.land(91, lambda rows: turned(rows, 66))
    again = champion.copy(champion.home.parent / "again")
    later, _ = looked(again, 90, model(ESTIMATED, FINAL, seed=8))
    assert [line(later, name).estimate.value for name in ("provisional", "final")] == [
        line(early, name).estimate.value for name in ("provisional", "final")
    ]


def test_a_window_is_looked_at_once_its_rows_are_there_unless_every_rule_waits_for_labels(champion: Deployment) -> None:
    champion.land(91)
    for rule in (ESTIMATED, PROVISIONAL):
        assert is_complete(model(rule), champion.settings, day(90))
    assert not is_complete(model(FINAL), champion.settings, day(90))
    with pytest.raises(SourceUnavailable, match="is not complete yet"):
        champion.plan(model(FINAL), kind="watch", as_of=day(115))
    # A training has ripe labels only, whoever asks for it.
    request = Request(kind="train", as_of=day(90))
    assert newest_end(model(ESTIMATED), request, champion.settings, NOW) == day(60)


def test_a_model_whose_rules_all_wait_has_one_line_of_one_window(champion: Deployment) -> None:
    champion.land(121)
    _, results = champion.watch(model(FINAL), as_of=day(115))
    found = evidence(champion, results)
    assert (found.window, found.as_of) == (days(80, 90), day(115))
    [score] = found.performance
    assert (score.line, score.window, score.matured, score.below) == ("final", None, 1.0, 0.75)


def test_where_labels_are_there_at_once_all_lines_are_of_the_same_window(champion: Deployment) -> None:
    champion.land(91)
    found, _ = looked(champion, 90, model(ESTIMATED, FINAL, task={**TASK, "label_delay": "0 days"}))
    assert [(score.line, score.window, score.matured) for score in found.performance] == [
        ("estimated", None, 1.0), ("final", None, 1.0), ("provisional", None, 1.0),
    ]  # fmt: skip


def test_what_the_estimator_learned_is_kept_in_training_or_learned_from_the_same_rows_later(
    champion: Deployment, tmp_path: Path
) -> None:
    spec = model(ESTIMATED, task={**TASK, "label_delay": "1 day"})
    other = Deployment(tmp_path / "other")
    other.land(45)
    kept_in: dict[Deployment, bool] = {}
    other.train(spec, "promote", as_of=day(41))
    for each in (champion, other):
        run_key = each.ledger.champion("m").run_key
        kept_in[each] = estimator_key(spec) in each.store.read_manifest(run_key, "evaluate")["outputs"]
        each.land(91)
    assert kept_in == {champion: False, other: True}
    later, kept = (looked(each, 90, spec)[0] for each in (champion, other))
    assert line(later, "estimated", (80, 90)).estimate.value is not None
    assert line(later, "estimated", (80, 90)).estimate == line(kept, "estimated", (80, 90)).estimate


def test_a_regression_is_estimated_too(deployment: Deployment) -> None:
    rule = {"metric": "mae", "line": "estimated", "above": 0.5}
    spec = model(
        rule,
        task={**TASK, "kind": "regression", "label_delay": "15 days"},
        promotion={"metric": "mae", "rows": 100, "resamples": 100},
    )
    deployment.land(71)
    deployment.train(spec, "promote", as_of=day(55))
    found, facts = looked(deployment, 70, spec)
    assert facts["signals"] == {"estimated mae above 0.5": "quiet", "mae estimate": "quiet"}
    checked, final = line(found, "estimated", (40, 50)).estimate, line(found, "final").estimate
    assert checked.low <= final.value <= checked.high


# What follows from it


def test_rows_that_are_harder_to_predict_fire_before_any_of_their_labels_is_known(champion: Deployment) -> None:
    champion.land(91, lambda rows: harder(rows, 80))
    found, facts = looked(champion, 90)
    assert facts["signals"] == {
        "estimated accuracy below 0.75": "fired", "accuracy below 0.75": "quiet", "accuracy estimate": "quiet",
    }  # fmt: skip
    assert facts["answer"] == "yes"
    assert facts["request"]["reason"] == "performance"
    assert facts["why"].startswith("estimated accuracy 0.")
    champion.land(121, lambda rows: harder(rows, 80))
    estimate, final = line(found, "estimated", (80, 90)).estimate, line(looked(champion, 120)[0], "final", (80, 90))
    assert estimate.low <= final.estimate.value <= estimate.high, "it was right"


def test_a_change_that_predictions_do_not_show_switches_the_estimator_off_and_on_again(champion: Deployment) -> None:
    champion.land(151, lambda rows: turned(rows, 60, 80))
    states = {}
    for end in range(80, 150, 10):
        found, facts = looked(champion, end)
        states[end] = facts["signals"]["accuracy estimate"]
        assert facts["signals"]["estimated accuracy below 0.75"] == (
            "inconclusive" if states[end] == "fired" else "quiet"
        )
        assert line(found, "estimated", (end - 10, end)).estimate.value > 0.75, "what was measured stays on record"
    # The window to day 70 has its labels at the look on day 100, the one to day 80 on day 110.
    assert states == {80: "quiet", 90: "quiet", 100: "quiet", 110: "fired", 120: "fired", 130: "fired", 140: "quiet"}


def test_an_estimator_that_is_off_is_a_reason_of_its_own(champion: Deployment) -> None:
    champion.land(111, lambda rows: turned(rows, 60))
    spec = model(ESTIMATED)
    assert [looked(champion, end, spec)[1]["answer"] for end in (90, 100)] == ["no", "no"]
    _, facts = looked(champion, 110, spec)
    assert (facts["answer"], facts["request"]["reason"]) == ("yes", "performance")
    assert "lay outside the band of its estimate in 2 of 3 successive windows" in facts["why"]
    [record, *_] = champion.ledger.decisions("m")
    [estimated] = [each for each in record.decision.signals if each.name.startswith("estimated")]
    assert "switched off: " in estimated.text


def test_a_rule_for_each_value_of_a_column_is_estimated_and_checked_in_each(champion: Deployment) -> None:
    def worse_for_b(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.where(rows["carrier"] == "a", harder(rows, 80))

    champion.land(91, worse_for_b)
    found, facts = looked(champion, 90, model({**ESTIMATED, "by": "carrier"}))
    parts = [line(found, "estimated", (80, 90), part) for part in ("carrier=a", "carrier=b")]
    assert [part.exceeded for part in parts] == [False, True]
    assert facts["signals"] == {"estimated accuracy below 0.75": "fired", "accuracy estimate": "quiet"}
    for part in ("", "carrier=a", "carrier=b"):
        checked, final = line(found, "estimated", (50, 60), part), line(found, "final", (50, 60), part)
        assert checked.estimate.low <= final.estimate.value <= checked.estimate.high


def test_what_needs_labels_looks_at_the_newest_window_that_has_them(deployment: Deployment) -> None:
    detectors = [{"kind": "page_hinkley", "signal": "error"}, {"kind": "ks", "columns": ["late"], "p_value": 1e-9}]
    spec = model(ESTIMATED, drift=detectors, retraining={"kind": "regret"})
    deployment.land(91, lambda rows: turned(rows, 50, 60))
    deployment.train(spec, "promote", as_of=day(65))
    found, facts = looked(deployment, 90, spec)
    errors, labels = found.drift
    assert (errors.exceeded, labels.exceeded) == (True, False)
    assert labels.current_rows == 500
    assert found.shadow is not None
    assert (found.shadow.trained_until, found.shadow.rows) == (day(50), 500)
    assert found.shadow.gain < 0.2  # refitted on days 10 to 50, which do not know either
    assert facts["signals"]["regret"] == "quiet"


# What cannot be measured


@pytest.mark.parametrize("end", [50, 60, 70])
def test_rows_the_champion_was_made_from_tell_nothing_of_it(champion: Deployment, end: int) -> None:
    champion.land(91, lambda rows: harder(rows, 40))
    found, facts = looked(champion, end)
    final = line(found, "final")
    assert final.window.end <= day(40)
    assert (final.exceeded, final.estimate.value) == (None, None)
    assert "the champion was made from this window" in final.estimate.note
    assert facts["signals"] == {
        "estimated accuracy below 0.75": "fired", "accuracy below 0.75": "inconclusive", "accuracy estimate": "inconclusive",
    }  # fmt: skip
    # A model trained now would know no label that the champion does not.
    assert facts["answer"] == "no"
    assert facts["why"].endswith("made from data up to 2024-02-10 00:00Z and no newer labels were known at this look")
    assert champion.ledger.open_episodes("m") == ()


@pytest.mark.parametrize(
    ("change", "states", "note"),
    [
        (lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(40), np.nan)), "qiii", "0 labels are known, at least 30"),
        (lambda rows: rows.assign(late=rows["late"].where((rows["at"] < day(40)) | (rows.index % 50 == 0))), "qiii",
         "10 labels are known, at least 30 are needed"),
        (lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(40), 1)), "qiii", "class"),
        (lambda rows: rows[(rows["at"] < day(50)) | (rows["at"] >= day(70))], "qiii", "0 labels are known"),
        (lambda rows: rows[(rows["at"] < day(80)) | (rows["at"] >= day(90)) | (rows.index % 10 == 0)], "iqqq", "50 rows are too few"),
        (lambda rows: rows[(rows["at"] < day(80)) | (rows["at"] >= day(90))], "iiii", "0 rows are too few"),
        (lambda rows: rows.assign(late=rows["late"].where(rows["at"] < day(40), 2)), "qiii", "0 labels are known"),
    ],
    ids=["never a label", "few labels", "one class", "no rows to check", "tiny window", "no rows", "other classes"],
)  # fmt: skip
def test_what_cannot_be_measured_is_inconclusive_and_says_why(
    champion: Deployment, change: Any, states: str, note: str
) -> None:
    rules = [{**rule, "metric": "roc_auc", "below": 0.6} for rule in (ESTIMATED, PROVISIONAL, FINAL)]
    champion.land(91, change)
    found, facts = looked(champion, 90, model(*rules, triage=None))
    said = "".join({"quiet": "q", "inconclusive": "i"}[state] for state in facts["signals"].values())
    assert said == states
    assert facts["answer"] == "inconclusive"
    assert any(note in score.estimate.note for score in found.performance if score.limited)


def test_a_broken_window_neither_fires_nor_switches_the_estimator_off(champion: Deployment) -> None:
    def shifted(rows: pd.DataFrame) -> pd.DataFrame:
        wind = rows["wind"].where((rows["at"] < day(50)) | (rows["at"] >= day(70)), np.nan)
        return turned(rows.assign(wind=wind), 50, 70)

    champion.land(101, shifted)
    for end in (90, 100):
        found, facts = looked(champion, end, model(ESTIMATED, PROVISIONAL, FINAL))
        assert found.defects == ()
        assert "the window is quarantined: " in line(found, "final").estimate.note
        assert facts["signals"]["accuracy below 0.75"] == "inconclusive"
        assert facts["signals"]["accuracy estimate"] == "inconclusive"


def test_an_estimate_is_checked_by_bands_of_its_own_confidence() -> None:
    from continuous_training.policies.estimation import SelfCheck

    assert SelfCheck().confidence == ESTIMATOR.confidence
