"""What the pages tell, from a real ledger and a real store: also of hostile names, of nothing, and of what is gone."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import small_model
from continuous_training.core.comparison import Comparison
from continuous_training.core.decisions import Evidence, RetrainingDecision, RetrainingReason, Signal
from continuous_training.core.errors import UsageError
from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.ledger import Ledger
from continuous_training.reports import DriftReport
from continuous_training.steps.explained import explain_run
from continuous_training.storage import Store
from continuous_training.ui.champions import timeline
from continuous_training.ui.drift import column_detail, drift_map
from continuous_training.ui.models import FURTHEST, model_page, reach
from ledger_parts import NOW, VERDICT, a_run, key, moment, promotion

HOSTILE = "<img src=x onerror=alert(1)>\u202e\"'`{{7*7}}"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "artefacts"))


def drift_of(column: str | None, value: float | None, **more: Any) -> DriftScore:
    told = {"detector": "psi", "measure": "statistic", "threshold": 0.2, "reference_rows": 900, "current_rows": 100}
    return DriftScore(column=column, statistic=value, **(told | more))


def look(
    ledger: Ledger,
    day: int,
    *scores: DriftScore,
    model: str = "m",
    quality: float = 0.7,
    answer: str = "no",
    report: str | None = None,
) -> Window:
    """Record one decision on the week before `day`."""
    window = Window(start=moment(day - 7), end=moment(day))
    reason = RetrainingReason(kind="drift", text="moved", episode=f"e{day}") if answer == "yes" else None
    line = PerformanceScore(
        estimate=Estimate(metric="roc_auc", value=quality, low=quality - 0.01, high=quality + 0.01, rows=100),
        rule="roc_auc below 0.6", matured=1.0, below=0.6,
    )  # fmt: skip
    ledger.record_decision(
        RetrainingDecision(
            model=model, window=window, as_of=moment(day), answer=answer, why=f"week {day}", reason=reason,
            signals=(Signal(name="psi", kind="drift", state="quiet", text="psi 0.1"),),
        ),
        Evidence(model=model, window=window, as_of=moment(day), rows=100, drift=scores, performance=(line,), report=report),
        now=NOW + timedelta(minutes=day),
    )  # fmt: skip
    return window


def test_a_row_says_what_serves_how_old_it_is_and_how_the_newest_windows_were(ledger: Ledger, tmp_path: Path) -> None:
    document = small_model.document(retraining={"kind": "signals", "max_age": "30 days"})
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(document))
    ledger.promote("m", **promotion(1, seen=0, cutoff=7))
    for day in range(14, 14 + 7 * 14, 7):
        look(ledger, day, drift_of("a", day / 100), drift_of("b", 0.1))
    page = model_page(ledger, tmp_path, ["m"], now=moment(17))
    (row,) = page.models
    assert (page.total, row.version, row.fence, row.note) == (1, "1", 1, "")
    assert (row.age_seconds, row.max_age_seconds) == (10 * 86400, 30 * 86400)
    assert [one.window.end for one in row.looks] == [moment(day) for day in range(28, 28 + 7 * 12, 7)]
    assert row.looks[0].reach == pytest.approx(0.28 / 0.2)
    (line,) = row.lines
    assert (line.metric, line.below, len(line.points)) == ("roc_auc", 0.6, 12)
    assert (line.points[0].value, line.points[0].low) == (0.7, 0.69)


def test_a_model_without_history_and_one_without_a_file_have_rows_that_say_so(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(small_model.document("new")))
    (tmp_path / "wrong.yaml").write_text("model: [")
    ledger.promote("gone", **promotion(1, seen=0))
    gone, new, wrong = model_page(ledger, tmp_path, ["new", "gone", "wrong"], now=NOW).models
    assert (new.version, new.looks, new.note) == (None, (), "")
    assert gone.version == "1"
    assert "run ct lint" in gone.note
    assert "run ct lint" in wrong.note


def test_models_come_in_pages_by_name(ledger: Ledger, tmp_path: Path) -> None:
    names = [f"m{number:03}" for number in range(30)]
    page = model_page(ledger, tmp_path, reversed(names), now=NOW, offset=20, limit=25)
    assert (page.total, page.offset, [row.model for row in page.models]) == (30, 20, names[20:])


@pytest.mark.parametrize(
    ("score", "far"),
    [
        (drift_of("a", 0.0), 0.0),
        (drift_of("a", 0.2), 1.0),
        (drift_of("a", 1e9), FURTHEST),
        (drift_of("a", 1.0, threshold=0.0), FURTHEST),
        (drift_of("a", 0.0, threshold=0.0), 0.0),
        (drift_of("a", None, measure="p_value", p_value=1.0, threshold=0.01), 0.0),
        (drift_of("a", None, measure="p_value", p_value=0.01, threshold=0.01), 1.0),
        (drift_of("a", None, measure="p_value", p_value=0.0, threshold=0.01), FURTHEST),
        (drift_of("a", None, measure="p_value", p_value=0.5, threshold=1.0), FURTHEST),
        (drift_of("a", None), None),
    ],
)
def test_how_far_a_score_lies_is_on_one_scale(score: DriftScore, far: float | None) -> None:
    assert reach(score) == pytest.approx(far)


def test_the_map_has_the_furthest_column_first_and_holes_where_nothing_was_measured(ledger: Ledger) -> None:
    look(ledger, 7, drift_of("calm", 0.01), drift_of("far", 0.5), drift_of("unknown", None, note="one row"))
    look(ledger, 14, drift_of("calm", 0.02), drift_of(None, 0.3), drift_of("far", 0.1, slice="origin=JFK"))
    found = drift_map(ledger, "m")
    assert [one.window.end for one in found.windows] == [moment(7), moment(14)]
    assert [column.name for column in found.columns] == [
        "far", "(all columns)", "far (origin=JFK)", "calm", "unknown",
    ]  # fmt: skip
    far, _, _, calm, unknown = found.columns
    assert [cell and cell.exceeded for cell in far.cells] == [True, None]
    assert [cell and cell.text for cell in calm.cells] == [
        "statistic 0.01, drift when > 0.2", "statistic 0.02, drift when > 0.2",
    ]  # fmt: skip
    assert unknown.cells[0] is not None
    assert (unknown.cells[0].reach, unknown.cells[0].exceeded, unknown.cells[0].text) == (None, None, "one row")


def test_two_thousand_columns_come_in_pages_and_are_searched(ledger: Ledger) -> None:
    look(ledger, 7, *(drift_of(f"column {number}", number / 1e4) for number in range(2000)))
    found = drift_map(ledger, "m", offset=50, limit=50)
    assert (found.total, len(found.columns), found.columns[0].name) == (2000, 50, "column 1949")
    assert [column.name for column in drift_map(ledger, "m", search="COLUMN 199").columns][:2] == [
        "column 1999", "column 1998",
    ]  # fmt: skip


def test_names_from_the_data_are_told_as_they_are(ledger: Ledger, store: Store) -> None:
    window = look(ledger, 7, drift_of(HOSTILE, 0.5))
    assert drift_map(ledger, "m").columns[0].name == HOSTILE
    found = column_detail(ledger, store, "m", window, HOSTILE)
    assert (found.column, len(found.scores)) == (HOSTILE, 1)


def test_a_column_is_told_with_its_distribution_or_with_why_there_is_none(ledger: Ledger, store: Store) -> None:
    window = look(ledger, 7, drift_of("a", 0.5))
    assert "by a version that kept none" in column_detail(ledger, store, "m", window, "a").note
    shares = {"rows": 10, "missing": 0, "edges": [0, 1, 2], "shares": [0.5, 0.5]}
    told = {"name": "a", "kind": "numeric", "reference": shares, "current": shares}
    spans = {"window": window, "reference": window, "as_of": window.end}
    report = DriftReport(model="m", champion="1", rows=10, columns=[told], **spans).model_dump_json()
    digest = store.put(report.encode())
    window = look(ledger, 14, drift_of("a", 0.5), report=digest)
    distribution = column_detail(ledger, store, "m", window, "a").distribution
    assert distribution is not None
    assert (distribution.name, distribution.current.shares) == ("a", (0.5, 0.5))
    assert "beyond the columns" in column_detail(ledger, store, "m", window, "other").note
    (Path(store.object_path(digest))).write_bytes(b"{}")
    assert "holds other bytes" in column_detail(ledger, store, "m", window, "a").note
    with pytest.raises(UsageError, match="nothing was decided"):
        column_detail(ledger, store, "m", Window(start=moment(0), end=moment(1)), "a")


def test_the_past_has_every_champion_and_what_else_happened_newest_first(ledger: Ledger) -> None:
    for number in (1, 2, 3):
        ledger.begin_run(a_run(number), now=NOW + timedelta(minutes=number - 1))
    ledger.promote("m", **promotion(1, seen=0))
    ledger.promote("m", **promotion(2, seen=1))
    ledger.finish_run(key(3), "kept", "not better", now=NOW + timedelta(minutes=30))
    ledger.rollback("m", to=1, reason=HOSTILE, now=NOW + timedelta(minutes=40))
    look(ledger, 20, drift_of("a", 0.5), answer="yes")
    found = timeline(ledger, "m")
    assert [(one.version, one.kind, one.until) for one in found.served] == [
        ("1", "rollback", None),
        ("2", "promotion", NOW + timedelta(minutes=40)),
        ("1", "promotion", NOW + timedelta(minutes=2)),
    ]
    assert [event.kind for event in found.events] == ["rollback", "refusal", "promotion", "promotion", "episode"]
    assert found.events[0].text == HOSTILE
    assert timeline(ledger, "nobody") == type(found)(model="nobody", served=(), events=())


def test_a_run_is_told_with_who_asked_what_the_gate_said_and_what_is_missing(ledger: Ledger, store: Store) -> None:
    look(ledger, 7, drift_of("a", 0.5), answer="yes")
    run = a_run(7, episode="e7")
    ledger.begin_run(run, now=NOW)
    comparison = Comparison(metric="roc_auc", rows=100, challenger=Estimate(metric="roc_auc", value=0.7))
    outputs = {
        "verdict": store.put(VERDICT.model_dump_json().encode()),
        "comparison": store.put(comparison.model_dump_json().encode()),
    }
    store.write_manifest(run.key, "evaluate", {"outputs": outputs, "facts": {"rows": 100}})
    found = explain_run(ledger, store, "m", run.key)
    assert found.decision is not None
    assert (found.decision.why, found.verdict, found.comparison) == ("week 7", VERDICT, comparison)
    assert (found.facts, found.notes, found.has_card) == ({"evaluate": {"rows": 100}}, (), False)
    Path(store.object_path(outputs["comparison"])).unlink()
    found = explain_run(ledger, store, "m", run.key)
    assert (found.verdict, found.comparison) == (VERDICT, None)
    assert found.notes[0].startswith("comparison: ")


def test_a_run_of_another_model_or_of_nobody_is_refused(ledger: Ledger, store: Store) -> None:
    ledger.begin_run(a_run(7), now=NOW)
    with pytest.raises(UsageError, match="not one of other"):
        explain_run(ledger, store, "other", key(7))
    with pytest.raises(UsageError, match="no run"):
        explain_run(ledger, store, "m", key(99))
