"""What the drift tab shows: how far every column lay from its reference, window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from continuous_training.core.defects import Defect
from continuous_training.core.errors import ContinuousTrainingError
from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import DriftScore
from continuous_training.core.window import Window
from continuous_training.reports import DriftColumn, kept
from continuous_training.ui.models import PerformanceLine, lines, reach

if TYPE_CHECKING:
    from continuous_training.ledger import DecisionRecord, Ledger
    from continuous_training.storage import Store

ALL_COLUMNS = "(all columns)"
MOST_WINDOWS = 52


class Cell(Frozen):
    """The furthest score of one column in one window."""

    reach: float | None
    exceeded: bool | None
    detector: str
    text: str = Field(description="The number and its threshold, or why there is none.")


class Column(Frozen):
    """One column over the windows."""

    name: str
    cells: tuple[Cell | None, ...] = Field(description="One for each window; none where it was not measured.")


class Looked(Frozen):
    """One window, as the head of the map."""

    window: Window
    rows: int
    answer: str
    why: str
    defects: tuple[Defect, ...] = ()


class DriftMap(Frozen):
    """Columns by windows."""

    model: str
    windows: tuple[Looked, ...] = Field(description="Oldest first.")
    total: int = Field(description="Columns that were measured.")
    columns: tuple[Column, ...] = Field(description="The furthest first.")
    lines: tuple[PerformanceLine, ...] = ()


class ColumnDetail(Frozen):
    """One column in one window: every score, and how its values lie beside the reference's."""

    column: str
    window: Window
    scores: tuple[DriftScore, ...]
    distribution: DriftColumn | None = None
    note: str = Field("", description="Why there is no distribution, where there is none.")


def drift_map(
    ledger: Ledger, model: str, *, windows: int = 26, offset: int = 0, limit: int = 50, search: str = ""
) -> DriftMap:
    """Return the newest windows and the columns that lay furthest from their reference in any of them.

    Parameters
    ----------
    search:
        Only columns whose name holds this, whatever its case.
    """
    records = ledger.decisions(model, min(windows, MOST_WINDOWS))[::-1]
    cells: dict[str, list[Cell | None]] = {}
    for number, record in enumerate(records):
        for name, scores in _by_column(record).items():
            if search.lower() in name.lower():
                cells.setdefault(name, [None] * len(records))[number] = _cell(scores)
    order = sorted(cells, key=lambda name: (-_furthest(cells[name]), name))
    return DriftMap(
        model=model,
        windows=tuple(
            Looked(
                window=record.decision.window,
                rows=record.evidence.rows,
                answer=record.decision.answer,
                why=record.decision.why,
                defects=record.evidence.defects,
            )
            for record in records
        ),
        total=len(cells),
        columns=tuple(Column(name=name, cells=tuple(cells[name])) for name in order[offset : offset + limit]),
        lines=lines(records),
    )


def column_detail(ledger: Ledger, store: Store, model: str, window: Window, column: str) -> ColumnDetail:
    """Return what is known of one column in one window.

    Raises
    ------
    UsageError
        Nothing was decided on the window.
    """
    record = ledger.decision(model, window)
    scores = tuple(_by_column(record).get(column, ()))
    told: dict[str, Any] = {"column": column, "window": window, "scores": scores}
    try:
        report = kept.drift_report(store, record.evidence)
    except ContinuousTrainingError as error:
        return ColumnDetail(**told, note=str(error))
    found = next((each for each in report.columns if each.name == column), None)
    note = "" if found else "its values were not kept: it is computed, or beyond the columns that a report shows"
    return ColumnDetail(**told, distribution=found, note=note)


def _by_column(record: DecisionRecord) -> dict[str, list[DriftScore]]:
    found: dict[str, list[DriftScore]] = {}
    for score in record.evidence.drift:
        name = score.column or ALL_COLUMNS
        found.setdefault(f"{name} ({score.slice})" if score.slice else name, []).append(score)
    return found


def _cell(scores: list[DriftScore]) -> Cell:
    worst = max(scores, key=lambda score: (score.exceeded is True, -1.0 if (far := reach(score)) is None else far))
    sign = ">" if worst.measure == "statistic" else "<"
    if worst.value is None:
        text = worst.note or "not measured"
    else:
        text = f"{worst.measure.replace('_', '-')} {worst.value:.4g}, drift when {sign} {worst.threshold:.4g}"
    return Cell(reach=reach(worst), exceeded=worst.exceeded, detector=worst.detector, text=text)


def _furthest(cells: list[Cell | None]) -> float:
    return max(
        ((cell.exceeded is True) * 100 + cell.reach for cell in cells if cell and cell.reach is not None), default=-1.0
    )
