"""Divide rows by the values of a column, so that each value is measured by itself."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.scores import DriftScore
from continuous_training.core.task import Features
from continuous_training.detectors._columns import text_of
from continuous_training.detectors.base import MOST_SLICES, Detector, Prepared, PValueDetector

_LONGEST = 80
_MOST_TOLD = 3


def fit(detector: Detector, by: str, reference: pd.DataFrame, features: Features) -> Prepared:
    """Return the labels of the most frequent values, and for each what the detector keeps of its rows.

    The arrays of value `i` are named `<i>:<name>`.
    """
    labels, places = _divided(detector, by, reference)
    rows = np.bincount(places[places >= 0], minlength=len(labels)).tolist()
    enough = [place for place in range(len(labels)) if rows[place] >= detector.min_rows]
    chosen = sorted(enough, key=lambda place: (-rows[place], labels[place]))[:MOST_SLICES]
    prepared: Prepared = {"by": np.array(by), "slices": np.array([labels[place] for place in chosen], dtype=np.str_)}
    for i, place in enumerate(chosen):
        part = detector.fit(reference[places == place], features)
        prepared |= {f"{i}:{name}": array for name, array in part.items()}
    return prepared


def score(
    detector: Detector, by: str, prepared: Prepared, current: pd.DataFrame, features: Features
) -> list[DriftScore]:
    """Measure the rows of each value against the reference's rows of the same value."""
    rows = _rows_of(detector, by, prepared, current)
    found = {label: detector.score(part, rows.of(label), features) for label, part in _parts(prepared)}
    return _told(detector, by, found, rows.sizes)


def tally(detector: Detector, by: str, prepared: Prepared, some: pd.DataFrame, features: Features) -> "Sliced | None":
    """Return the tally of each value's rows, if the detector can be measured by tallies."""
    rows = _rows_of(detector, by, prepared, some)
    tallies = {label: detector.tally(part, rows.of(label), features) for label, part in _parts(prepared)}
    return None if any(tally is None for tally in tallies.values()) else Sliced(tallies, rows.sizes)


def measure(detector: Detector, by: str, prepared: Prepared, tally: "Sliced", features: Features) -> list[DriftScore]:
    """Measure each value by its tally."""
    found = {label: detector.measure(part, tally.tallies[label], features) for label, part in _parts(prepared)}
    return _told(detector, by, found, tally.sizes)


@dataclass(frozen=True)
class Sliced:
    """The tally of each value that the reference knows, and how many rows there are of each value."""

    tallies: dict[str, Any]
    sizes: Counter[str]

    def __add__(self, other: "Sliced") -> "Sliced":
        """Return the tallies of both together."""
        return Sliced(
            {label: tally + other.tallies[label] for label, tally in self.tallies.items()}, self.sizes + other.sizes
        )


class _Rows(NamedTuple):
    """Rows of a window, divided by value."""

    rows: pd.DataFrame
    places: NDArray[np.intp]
    place_of: dict[str, int]

    def of(self, label: str) -> pd.DataFrame:
        return self.rows[self.places == self.place_of.get(label, len(self.place_of))]

    @property
    def sizes(self) -> Counter[str]:
        counts = np.bincount(self.places[self.places >= 0], minlength=len(self.place_of)).tolist()
        return Counter(dict(zip(self.place_of, counts, strict=True)))


def _rows_of(detector: Detector, by: str, prepared: Prepared, rows: pd.DataFrame) -> _Rows:
    if "by" not in prepared or str(prepared["by"]) != by:
        msg = f"{detector.known_as} measures each {by}, but its reference was prepared otherwise; prepare it again; a retry gives the same"
        raise UsageError(msg)
    labels, places = _divided(detector, by, rows)
    return _Rows(rows, places, {label: place for place, label in enumerate(labels)})


def _parts(prepared: Prepared) -> Iterator[tuple[str, Prepared]]:
    """Yield each value that was kept, with what was kept of it."""
    for i, label in enumerate(prepared["slices"].tolist()):
        yield label, {key.removeprefix(f"{i}:"): array for key, array in prepared.items() if key.startswith(f"{i}:")}


def _told(detector: Detector, by: str, found: Mapping[str, list[DriftScore]], sizes: Counter[str]) -> list[DriftScore]:
    """Return the scores of all values, and one that says which values could not be measured."""
    placed = [_placed(score, f"{by}={label}") for label, scores in found.items() for score in scores]
    unknown = [label for label, rows in sizes.items() if rows >= detector.min_rows and label not in found]
    unknown.sort(key=lambda label: (-sizes[label], label))
    note = _unknown(by, unknown) if unknown else ""
    if not found:
        note = note or f"no value of {by} has {detector.min_rows} rows in the reference"
    blank = [_blank(detector, note, sum(sizes[label] for label in unknown))] if note else []
    return _corrected(detector, placed) + blank


def _divided(detector: Detector, by: str, frame: pd.DataFrame) -> tuple[list[str], NDArray[np.intp]]:
    """Return the labels of the values that occur, and the place of each row's among them; -1 where it is missing."""
    if by not in frame.columns:
        columns = ", ".join(map(str, frame.columns))
        msg = f"{detector.known_as} measures each {by}, but the columns of the data are {columns}; correct `by` or the source; a retry gives the same"
        raise DataInvalid(msg)
    series: pd.Series[Any] = frame[by]
    try:
        codes, values = pd.factorize(series)
    except TypeError:  # lists and other values that have no hash: their text has one
        codes, values = pd.factorize(series.map(str, na_action="ignore"))
    named = [_label(text_of(value)) for value in values]
    labels = list(dict.fromkeys(named))
    place_of = {label: place for place, label in enumerate(labels)}
    return labels, np.array([*(place_of[name] for name in named), -1], dtype=np.intp)[codes]


def _label(text: str) -> str:
    """Return a short printable name that no two texts share, for it is kept, printed and compared."""
    if not text.isprintable() or "\\" in text:
        text = "".join(c if c.isprintable() and c != "\\" else ascii(c)[1:-1] for c in text)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... ({hashlib.sha256(text.encode()).hexdigest()[:12]})"


def _placed(score: DriftScore, where: str) -> DriftScore:
    return score.model_copy(update={"slice": where, "note": f"{where}: {score.note}" if score.note else ""})


def _unknown(by: str, labels: list[str]) -> str:
    more = f" and {len(labels) - _MOST_TOLD:,} more" if len(labels) > _MOST_TOLD else ""
    return f"{by} has values that were not kept of the reference: {', '.join(labels[:_MOST_TOLD])}{more}"


def _blank(detector: Detector, note: str, rows: int) -> DriftScore:
    return DriftScore(
        detector=detector.known_as,
        measure="statistic",
        threshold=0.0,
        reference_rows=0,
        current_rows=rows,
        note=note,
    )


def _corrected(detector: Detector, scores: list[DriftScore]) -> list[DriftScore]:
    """Count all columns of all values as the tests that they are: p-values of one value alone know of its own only."""
    slices = len({score.slice for score in scores})
    limit = detector.limit([score.p_value for score in scores]) if isinstance(detector, PValueDetector) else None
    return [
        score.model_copy(update={"threshold": score.threshold / slices if limit is None else limit})
        if score.measure == "p_value"
        else score
        for score in scores
    ]
