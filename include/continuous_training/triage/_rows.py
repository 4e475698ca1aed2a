"""Find rows that came twice, and blocks of earlier rows that came again under new event times."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.triage._columns import Finding, periods_of
from continuous_training.triage._table import Floats, Profile, Table

Hashes = NDArray[np.uint64]

_KEPT = 8192
"""Hashes of reference rows that are kept: those divisible by a number that makes them about this many."""
_FEWEST_KEPT = 50
_COMMON = 0.3
"""Usual share of rows that are like another one from which a replay cannot be told from the usual."""
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def fit(table: Table) -> Profile:
    """Return the shares of repeated rows in the reference and a sample of its rows as hashes."""
    plain, timed = _hashes(table)
    divisor = max(1, plain.size // _KEPT)
    chosen = plain % np.uint64(divisor) == 0
    kept = plain[chosen]
    newest = periods_of(table.times)[chosen] >= 6  # noqa: PLR2004 - the last quarter
    again = float(np.isin(kept[newest], kept[~newest]).mean()) if newest.any() else 1.0
    return {
        "repeated": np.array([_repeated(timed), _repeated(plain), again]),
        "rows": np.unique(kept),
        "divisor": np.array(divisor, dtype=np.uint64),
    }


def examine(profile: Profile, table: Table, share: float) -> Iterator[Finding]:
    """Yield rows that came twice, in this window or after having been in the reference."""
    plain, timed = _hashes(table)
    usual_timed, usual_plain, usual_again = (float(x) for x in profile["repeated"])
    for found, usual, what in (
        (_repeated(timed), usual_timed, "are exact copies of another row"),
        (_repeated(plain), usual_plain, "are copies of another row but for the event time"),
        (_again(profile, plain), usual_again, "are copies of rows of the reference but for the event time"),
    ):
        if usual <= _COMMON and found > 2 * usual + share:
            yield Finding("duplicate_replay", "", f"{found:.1%} of the rows {what}; {usual:.1%} is usual")
            return


def _again(profile: Profile, plain: Hashes) -> float:
    sample = plain[plain % profile["divisor"] == 0]
    return float(np.isin(sample, profile["rows"]).mean()) if sample.size >= _FEWEST_KEPT else 0.0


def _repeated(hashes: Hashes) -> float:
    return 1 - np.unique(hashes).size / hashes.size if hashes.size else 0.0


def _hashes(table: Table) -> tuple[Hashes, Hashes]:
    """Return a hash of each row's features, and one of its features and event time; the same in every process."""
    plain = np.zeros(table.rows, dtype=np.uint64)
    for place, name in enumerate(sorted([*table.numbers, *table.categories])):
        plain += _mix(_bits(table, name), place + 1)
    return plain, plain + _mix(table.times.view(np.uint64), 0)


def _bits(table: Table, name: str) -> Hashes:
    if name in table.numbers:
        values: Floats = table.numbers[name] + 0.0  # -0.0 becomes 0.0
        values[np.isnan(values)] = np.nan
        return values.view(np.uint64)
    found = table.categories[name]
    names: NDArray[Any] = (
        pd.util.hash_array(found.names.astype(object), categorize=False) if found.names.size else np.zeros(0)
    )
    return np.append(names, 0).astype(np.uint64)[found.codes]


def _mix(bits: Hashes, place: int) -> Hashes:
    """Scramble 64 bits; source: Stafford's variant 13 of the finaliser of MurmurHash3, as in SplitMix64."""
    mixed = bits + np.uint64((place * _MULTIPLIERS[0]) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MULTIPLIERS[1])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MULTIPLIERS[2])
    return mixed ^ (mixed >> np.uint64(31))
