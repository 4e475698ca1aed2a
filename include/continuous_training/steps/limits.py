"""What a model card does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.duration import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.core.comparison import Comparison
    from continuous_training.core.window import Window
    from continuous_training.reports.card import Rows
    from continuous_training.spec import ModelSpec

_NAMED = 5


def limits(spec: ModelSpec, window: Window, rows: Rows, comparison: Comparison) -> tuple[str, ...]:
    """Return what was not measured, and what the numbers do not mean, in sentences."""
    return tuple(filter(None, (*_of_data(spec, window, rows), *_of_numbers(spec, comparison), *_of_use(spec))))


def _of_data(spec: ModelSpec, window: Window, rows: Rows) -> tuple[str, ...]:
    delay, unlabelled = spec.task.label_delay, rows.read - rows.labelled
    return (
        (
            f"All numbers come from {rows.hold_out:,} hold-out rows from {rows.hold_out_from:%Y-%m-%d %H:%MZ} to "
            f"{window.end:%Y-%m-%d %H:%MZ}; what came later was not seen."
        ),
        f"A label is known {format_duration(delay)} after its row, so the newest rows are never in the data."
        if delay
        else "",
        f"{unlabelled:,} of {rows.read:,} rows have no label and were left out." if unlabelled else "",
        f"{rows.quarantined:,} rows of windows with defects were left out." if rows.quarantined else "",
    )


def _of_numbers(spec: ModelSpec, comparison: Comparison) -> tuple[str, ...]:
    policy = spec.promotion
    unknown = [name for name, (value, _) in comparison.metrics.items() if value is None]
    return (
        f"Intervals hold the true value with {100 * policy.confidence:.3g} % confidence, each by itself: of many, some do not.",
        "What would serve was fitted once more on all rows, the hold-out too, so no rows are left to measure it on: the numbers "
        "are those of the same recipe without them."
        if comparison.refitted is not None
        else "",
        f"Not defined on these rows: {', '.join(unknown)}." if unknown else "",
        "No slices were judged: the model file names none under promotion." if not policy.slices else "",
        _small_slices(policy.slice_rows, comparison),
        "Nothing was measured by groups of people: the model file declares no sensitive columns."
        if spec.fairness is None
        else "",
        _small_groups(comparison),
    )


def _small_slices(fewest: int, comparison: Comparison) -> str:
    small = [f"{part.column}={part.value} ({part.rows:,})" for part in comparison.slices if part.rows < fewest]
    return f"Slices with fewer than {fewest:,} rows were not judged: {_few(small)}." if small else ""


def _small_groups(comparison: Comparison) -> str:
    small = [f"{group.column}={group.value} ({group.rows:,})" for group in comparison.groups if not group.judged]
    return f"Groups with too few rows to judge: {_few(small)}." if small else ""


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _of_use(spec: ModelSpec) -> tuple[str, ...]:
    return (
        "Drift is watched with alibi-detect, which is under the Business Source License 1.1 (production use needs a licence); "
        "it is no part of the model."
        if any(detector.kind.startswith("alibi") for detector in spec.drift)
        else "",
    )
