"""What the page of all models shows: one row for each, from the ledger and the model files."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from continuous_training.core.decisions import EpisodeKind, Signal
from continuous_training.core.errors import SpecError
from continuous_training.core.frozen import Frozen
from continuous_training.core.scores import DriftScore, Line, PerformanceScore
from continuous_training.core.window import Moment, Window
from continuous_training.spec import ModelSpec, load_spec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from continuous_training.ledger import DecisionRecord, Ledger, Overview

LOOKS = 12
"""Newest windows that the small pictures show."""
FURTHEST = 10.0


class Look(Frozen):
    """One decision, as small as a picture needs it."""

    window: Window
    answer: Literal["yes", "no", "inconclusive"]
    why: str
    reach: float | None = Field(None, description="The furthest drift: 1 is at its threshold; none where nothing told.")
    defects: int = 0
    signals: tuple[Signal, ...] = ()


class Point(Frozen):
    """Quality in one window, with its interval."""

    window: Window
    value: float | None
    low: float | None = None
    high: float | None = None
    matured: float = 1.0


class PerformanceLine(Frozen):
    """One performance rule over the newest windows."""

    metric: str
    rule: str
    line: Line
    slice: str
    below: float | None = None
    above: float | None = None
    points: tuple[Point, ...] = Field(description="Oldest first.")


class ModelRow(Frozen):
    """One model, at a glance."""

    model: str
    description: str = ""
    version: str | None = Field(None, description="None before the first champion.")
    fence: int = 0
    promoted_at: Moment | None = None
    data_cutoff: Moment | None = None
    max_age_seconds: float | None = Field(None, description="Age of its data that the model file allows.")
    age_seconds: float | None = None
    looks: tuple[Look, ...] = Field((), description="Oldest first.")
    lines: tuple[PerformanceLine, ...] = ()
    episodes: tuple[EpisodeKind, ...] = Field((), description="Kinds that are open.")
    rollout: str | None = Field(None, description="What the newest rollout came to, in words.")
    rollout_answer: Literal["watch", "promote", "reject"] | None = None
    asks: bool = Field(default=False, description="Whether a promotion may wait for a person.")
    note: str = Field("", description="What is missing, in words.")


class ModelPage(Frozen):
    """Some of the models."""

    total: int
    offset: int
    models: tuple[ModelRow, ...]


def model_page(
    ledger: Ledger, folder: Path, names: Iterable[str], *, now: datetime, offset: int = 0, limit: int = 25
) -> ModelPage:
    """Return the rows of models by name.

    Parameters
    ----------
    folder:
        Of the model files; one that is wrong or gone leaves its row without what only it says.
    names:
        Every model that the reader may see; of these, `limit` are told from the one at `offset` on.
    """
    all_names = sorted(names)
    chosen = all_names[offset : offset + limit]
    known = {each.model: each for each in ledger.overview(chosen)}
    rows = [_row(name, known.get(name), ledger, folder / f"{name}.yaml", now) for name in chosen]
    return ModelPage(total=len(all_names), offset=offset, models=tuple(rows))


def reach(score: DriftScore) -> float | None:
    """Return how far a drift score lies: 0 is no distance, 1 is at its threshold, 10 the most that is told.

    A p-value is put on the scale of its logarithm, so that one of half as many decimal places is half as far.

    >>> score = {"detector": "ks", "measure": "p_value", "threshold": 0.01, "reference_rows": 9, "current_rows": 9}
    >>> reach(DriftScore(p_value=0.1, **score)), reach(DriftScore(p_value=0.0, **score)), reach(DriftScore(**score))
    (0.5, 10.0, None)
    """
    if score.value is None:
        return None
    if score.measure == "statistic":
        far = score.value / score.threshold if score.threshold > 0 else FURTHEST * (score.value > score.threshold)
    elif not 0 < score.threshold < 1:
        far = FURTHEST * (score.value < score.threshold)
    else:
        far = FURTHEST if score.value <= 0 else math.log(score.value) / math.log(score.threshold)
    return min(max(far, 0.0), FURTHEST)


def lines(records: Iterable[DecisionRecord]) -> tuple[PerformanceLine, ...]:
    """Return each performance rule that was measured, over the decisions given oldest first."""
    found: dict[tuple[str, str, Line, str], list[tuple[PerformanceScore, Window]]] = {}
    for record in records:
        for score in record.evidence.performance:
            key = (score.estimate.metric, score.rule, score.line, score.slice)
            found.setdefault(key, []).append((score, score.window or record.decision.window))
    return tuple(
        PerformanceLine(
            metric=metric,
            rule=rule,
            line=line,
            slice=part,
            below=scores[-1][0].below,
            above=scores[-1][0].above,
            points=tuple(
                Point(
                    window=window,
                    value=score.estimate.value,
                    low=score.estimate.low,
                    high=score.estimate.high,
                    matured=score.matured,
                )
                for score, window in scores
            ),
        )
        for (metric, rule, line, part), scores in found.items()
    )


def model_file(path: Path) -> ModelSpec | None:
    """Return the model that a file describes as it is now; `None` where the file is gone or wrong."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=1000)
def _read(path: Path, _changed: int) -> ModelSpec | None:
    try:
        return load_spec(path)
    except SpecError:
        return None


def _row(name: str, seen: Overview | None, ledger: Ledger, path: Path, now: datetime) -> ModelRow:
    spec = model_file(path)
    told: dict[str, Any] = {"model": name, "note": "" if spec else "its model file is gone or wrong: run ct lint"}
    if spec is not None:
        limit = spec.retraining.max_age
        told |= {
            "description": spec.description,
            "max_age_seconds": limit.total_seconds() if limit else None,
            "asks": spec.promotion.asks is not None,
        }
    if seen is None:
        return ModelRow.model_validate(told)
    looks, quality = _past(ledger, name, seen.seq)
    rollout = seen.rollout
    return ModelRow.model_validate(
        told
        | {
            "version": seen.version or None,
            "fence": seen.fence,
            "promoted_at": seen.promoted_at,
            "data_cutoff": seen.data_cutoff,
            "age_seconds": (now - seen.data_cutoff).total_seconds() if seen.data_cutoff else None,
            "looks": looks,
            "lines": quality,
            "episodes": seen.episodes,
            "rollout": rollout.text if rollout else None,
            "rollout_answer": rollout.answer if rollout else None,
        }
    )


@lru_cache(maxsize=2000)
def _past(ledger: Ledger, model: str, _seq: int) -> tuple[tuple[Look, ...], tuple[PerformanceLine, ...]]:
    """Return the newest looks and their lines; they are the same until the model's chain is longer."""
    records = ledger.decisions(model, LOOKS)[::-1]
    return tuple(_look(record) for record in records), tuple(line for line in lines(records) if line.slice == "")


def _look(record: DecisionRecord) -> Look:
    reaches = [far for score in record.evidence.drift if (far := reach(score)) is not None]
    return Look(
        window=record.decision.window,
        answer=record.decision.answer,
        why=record.decision.why,
        reach=max(reaches, default=None),
        defects=len(record.evidence.defects),
        signals=record.decision.signals,
    )
