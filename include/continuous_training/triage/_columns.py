"""Find nulls, stuck values and other units in the columns: in the whole window, in a stretch of it, in one source."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training.core.defects import DefectKind
from continuous_training.triage._table import Categories, Floats, Ints, Profile, Table
from continuous_training.triage._units import Conversion, Shape, by_shape, by_values, departed, is_large, strange_cells
from continuous_training.triage._usual import (
    CELL_ROWS,
    Quartiles,
    Sorted,
    longest_runs,
    missing_shares,
    mode_share,
    movement,
)

PERIODS = 8
"""Equal stretches of the reference in which a whole window or a source is usual."""
_OTHERS = 2
_SOURCE_ROWS = 25_000
"""Rows of a window from which the shape of its sources is taken."""
_SOURCES = 24
"""Values of one categorical column that are looked at as sources, the most frequent first."""
_DISTINCT = 2048
"""Distinct values up to which a column's values are kept."""
_SHORTEST_RUN, _RUN_SHARE, _RUN_GROWTH = 30, 0.02, 3.0
_CHANCE = math.log(1e-6)
_SPIKE = 0.1
_VARIED = 20
"""Distinct values from which a value outside the range of the reference is a default rather than one more."""
_CONTINUOUS = 0.2
"""A column no value of which has ever had this share is continuous: one value in a tenth of the rows is a default."""
_FILLED = 0.2
"""Share of values other than zero below which a column is too sparse for its quartiles to be usual (rain, for example)."""
_STEPS = (86_400 * 10**9, 3600 * 10**9, 60 * 10**9)
_FEWEST_STEPS = 14


class Finding(NamedTuple):
    """A fault in a column, in all rows or in those of one source (column and name)."""

    kind: DefectKind
    column: str
    text: str
    source: tuple[str, str] | None = None


@dataclass(frozen=True)
class Grouping:
    """Sources of one categorical column: the group of each row, -1 for none."""

    column: str
    names: list[str]
    groups: Ints
    sizes: Ints


def step_of(times: Ints) -> int:
    """Return the longest of a day, an hour and a minute of which the times span enough; a minute if none."""
    span = int(times[-1] - times[0]) if times.size else 0
    return next((step for step in _STEPS if span >= _FEWEST_STEPS * step), _STEPS[-1])


def stretches(times: Ints, step: int) -> tuple[Ints, int]:
    """Return the number of the stretch of `step` nanoseconds that each row is in, counted from 0, and how many are."""
    if not times.size:
        return np.zeros(0, dtype=np.int64), 0
    marks = times // step
    codes = np.concatenate(([0], np.cumsum(np.diff(marks) > 0))).astype(np.int64)
    return codes, int(codes[-1]) + 1


def periods_of(times: Ints) -> Ints:
    """Return the eighth of the time span that each row is in."""
    if not times.size:
        return np.zeros(0, dtype=np.int64)
    span = int(times[-1] - times[0]) + 1
    period: Ints = (times - times[0]) // (span // PERIODS + 1)
    return period


def frequent(table: Table, min_rows: int) -> list[Grouping]:
    """Return the sources of each categorical column that have enough rows."""
    return [_grouping(table, name, _frequent(found, min_rows)) for name, found in table.categories.items()]


def groupings(profile: Profile, table: Table) -> list[Grouping]:
    """Return the sources that the profile knows."""
    return [
        _grouping(table, name, profile[f"source.{name}"].tolist())
        for name in table.categories
        if f"source.{name}" in profile
    ]


def fit(table: Table, groupings: list[Grouping]) -> Profile:
    """Return what is usual in each column."""
    columns = [*table.numbers, *table.categories]
    days, count = stretches(table.times, step_of(table.times))
    periods = periods_of(table.times)
    profile: Profile = {f"source.{g.column}": np.array(g.names, dtype=np.str_) for g in groupings}
    orders = {g.column: np.argsort(g.groups, kind="stable") for g in groupings}
    for name in columns:
        values = table.values(name)
        missing, everyone = np.isnan(values), np.zeros(table.rows, dtype=np.int64)
        profile[f"null.{name}"] = np.array(
            [_highest(missing_shares(missing, days, count)), _highest(missing_shares(missing, periods, PERIODS))]
        )
        profile[f"run.{name}"] = longest_runs(values, everyone, 1).length
        ordered = Sorted.of(values) if name in table.numbers else None
        if ordered is not None:
            profile |= _number_profile(name, values, ordered, (days, count), periods)
        for g in groupings:
            cells, size = np.where(g.groups < 0, -1, g.groups * PERIODS + periods), len(g.names) * PERIODS
            shares = missing_shares(missing, cells, size).reshape(-1, PERIODS)
            profile[f"null.{name}.{g.column}"] = np.array([_highest(row) for row in shares])
            by = orders[g.column]
            profile[f"run.{name}.{g.column}"] = longest_runs(values[by], g.groups[by], len(g.names)).length
            if ordered is not None:
                sure = np.isfinite(profile[f"usual.{name}"]).all()
                usual = movement(ordered.quartiles(cells, size), len(g.names))
                profile[f"usual.{name}.{g.column}"] = usual if sure else usual * np.nan
    return profile


def _number_profile(name: str, values: Floats, ordered: Sorted, days: tuple[Ints, int], periods: Ints) -> Profile:
    known = np.unique(ordered.values)
    sparse = ordered.values.size < _FILLED * np.isfinite(values).sum()
    modes = [_mode(part)[0] for part in np.split(values, np.flatnonzero(np.diff(days[0])) + 1)]
    whole = movement(ordered.quartiles(periods, PERIODS), 1)
    return {
        f"usual.{name}": np.vstack([movement(ordered.quartiles(*days), 1), whole]) * (np.nan if sparse else 1.0),
        f"mode.{name}": np.array([max(modes, default=1.0), _mode(values)[0]]),
        f"range.{name}": np.array([np.nanmin(values), np.nanmax(values)])
        if ordered.values.size
        else np.array([-np.inf, np.inf]),
        f"known.{name}": known if known.size <= min(_DISTINCT, values.size // 4) else known[:0],
    }


def examine(
    profile: Profile, table: Table, groupings: list[Grouping], min_rows: int, null_share: float
) -> Iterator[Finding]:
    """Yield what is found in each column that both the profile and the table have."""
    step = int(profile["step"])
    look = _Look(
        profile,
        table,
        min_rows,
        null_share,
        stretches(table.times, step),
        _denser(profile, table),
        _as_long(profile, table),
    )
    orders = {g.column: np.argsort(g.groups.astype(np.int16), kind="stable") for g in groupings}
    for name in [*table.numbers, *table.categories]:
        if f"null.{name}" not in profile:
            continue
        values = table.values(name)
        missing = np.isnan(values)
        ordered = Sorted.of(values) if name in table.numbers else None
        yield from look.nulls(name, missing)
        yield from look.constants(name, values, ordered)
        if ordered is not None:
            yield from look.units(name, values, ordered)
        thin = ordered.thinned(_SOURCE_ROWS) if ordered is not None else None
        still = ordered is not None and max(ordered.most(), np.count_nonzero(values == 0)) < _SHORTEST_RUN
        for g in groupings:
            yield from look.sources(g, name, values, thin)
            if not still:  # else no value occurs often enough for a run
                yield from look.stuck_sources(g, orders[g.column], name, values)


@dataclass(frozen=True)
class _Look:
    profile: Profile
    table: Table
    min_rows: int
    null_share: float
    days: tuple[Ints, int]
    denser: float  # how many times more rows a day than in the reference, at least 1: runs grow with them
    long: int  # 1 compares the whole window with the periods of the reference, 0 (a short one) with its days

    def nulls(self, name: str, missing: NDArray[np.bool_]) -> Iterator[Finding]:
        of_day, of_period = self.profile[f"null.{name}"]
        whole = float(missing.mean())
        if self._risen(whole, (of_day, of_period)[self.long], missing.size):
            yield Finding(
                "null_burst",
                name,
                f"{whole:.1%} of the rows have no value; at most {(of_day, of_period)[self.long]:.1%} is usual",
            )
            return
        shares = missing_shares(missing, *self.days)
        rows = np.bincount(self.days[0], minlength=self.days[1])
        risen = [
            i for i, share in enumerate(shares) if rows[i] >= self.min_rows and self._risen(share, of_day, rows[i])
        ]
        if risen:
            text = f"{shares[risen[0]]:.1%} of the rows of one of {self.days[1]} stretches have no value; at most {of_day:.1%} is usual"
            yield Finding("null_burst", name, text)

    def _risen(self, share: float, usual: float, rows: int) -> bool:
        if not (math.isfinite(usual) and math.isfinite(share)):
            return False
        # a column that is sometimes empty may be emptier than ever before: the less room is left the less it says
        margin = self.null_share + 4 * math.sqrt(max(usual * (1 - usual), 0.01) / rows) + usual
        return share > usual + margin

    def constants(self, name: str, values: Floats, ordered: Sorted | None) -> Iterator[Finding]:
        usual, count = int(self.profile[f"run.{name}"][0] * self.denser), values.size
        runs = longest_runs(values, np.zeros(count, dtype=np.int64), 1)
        common = float(self.profile[f"mode.{name}"][1]) if ordered is not None else 0.0
        if _stuck(int(runs.length[0]), usual, count, max(float(runs.elsewhere[0]), common)):
            yield Finding(
                "constant_burst", name, f"{runs.length[0]} rows in a row have one value; at most {usual} are usual"
            )
        elif ordered is not None:
            yield from self._defaults(name, values)

    def _defaults(self, name: str, values: Floats) -> Iterator[Finding]:
        """Yield a value that very many rows have in a column of ever different values."""
        share, value = _mode(values)
        usual, (low, high) = float(self.profile[f"mode.{name}"][0]), self.profile[f"range.{name}"]
        outside = not low <= value <= high
        many = self.profile[f"known.{name}"].size >= _VARIED or not self.profile[f"known.{name}"].size
        if (usual < _CONTINUOUS and share > 2 * usual + _SPIKE) or (outside and many and share > _SPIKE):
            text = f"{share:.1%} of the rows have the value {value:g}; at most {usual:.1%} usually have any one"
            yield Finding("constant_burst", name, text)

    def units(self, name: str, values: Floats, ordered: Sorted) -> Iterator[Finding]:
        usual, known = self.profile[f"usual.{name}"].tolist(), self.profile[f"known.{name}"]
        everyone = np.zeros(values.size, dtype=np.int64)
        whole = _shapes(ordered.quartiles(everyone, 1))[0]
        conversion = None
        if whole.rows >= self.min_rows:
            conversion = by_values(ordered.values, known) or by_shape(whole, usual[self.long])
        if conversion is None:
            first, _, last = _shapes(ordered.quartiles(np.arange(values.size) * 3 // values.size, 3))
            began = self.days[1] > 1 and min(first.rows, last.rows) >= self.min_rows and not departed(first, usual[0])
            conversion = by_shape(last, usual[0]) if began else None
        if conversion is None:
            conversion = self._unit_of_stretches(ordered, usual[0], known)
        if conversion is not None:
            text = f"values look {conversion.name}: their middle is {whole.middle:g}, usual is {usual[0][0]:g}"
            yield Finding("unit_change", name, text)

    def _unit_of_stretches(self, ordered: Sorted, usual: list[float], known: Floats) -> Conversion | None:
        codes, count = self.days
        if count < 2:  # noqa: PLR2004 - one stretch is the whole
            return None
        found: dict[Conversion, int] = {}
        of_rows = codes[ordered.rows]
        strange = strange_cells(ordered.values, of_rows, count, known)
        for day, shape in enumerate(_shapes(ordered.quartiles(codes, count))):
            if shape.rows < self.min_rows:
                continue
            conversion = by_values(ordered.values[of_rows == day], known) if strange[day] else None
            conversion = conversion or by_shape(shape, usual)
            if conversion is not None and (strange[day] or is_large(conversion)):
                found[conversion] = found.get(conversion, 0) + 1
        certain = [c for c, days in found.items() if days > 1 or is_large(c)]
        return certain[0] if certain else None

    def sources(self, g: Grouping, name: str, values: Floats, ordered: Sorted | None) -> Iterator[Finding]:
        sizes, large = g.sizes, self._large(g)
        missing = np.isnan(values)
        shares = missing_shares(missing, g.groups, len(g.names)) if missing.any() else np.zeros(len(g.names))
        usual = self.profile[f"null.{name}.{g.column}"]
        for i in large:
            if self._risen(shares[i], usual[i], int(sizes[i])):
                text = f"{shares[i]:.1%} of the rows have no value; at most {usual[i]:.1%} is usual"
                yield Finding("null_burst", name, text, (g.column, g.names[i]))
        if ordered is not None and name != g.column:
            yield from self._unit_of_sources(g, name, ordered, large)

    def stuck_sources(self, g: Grouping, by: NDArray[np.intp], name: str, values: Floats) -> Iterator[Finding]:
        sizes, large = g.sizes, self._large(g)
        runs = longest_runs(values[by], g.groups[by], len(g.names))
        usual = (self.profile[f"run.{name}.{g.column}"] * self.denser).astype(np.int64)
        common = float(self.profile[f"mode.{name}"][1]) if f"mode.{name}" in self.profile else 0.0
        for i in large:
            if _stuck(int(runs.length[i]), int(usual[i]), int(sizes[i]), max(float(runs.elsewhere[i]), common)):
                text = f"{runs.length[i]} rows in a row have one value; at most {usual[i]} are usual"
                yield Finding("constant_burst", name, text, (g.column, g.names[i]))

    def _large(self, g: Grouping) -> list[int]:
        """Return which sources have enough rows; none when there is no other to be unchanged."""
        large: list[int] = np.flatnonzero(g.sizes >= self.min_rows).tolist()
        return large if len(large) >= _OTHERS else []

    def _unit_of_sources(self, g: Grouping, name: str, ordered: Sorted, large: list[int]) -> Iterator[Finding]:
        usual, known = self.profile[f"usual.{name}.{g.column}"].tolist(), self.profile[f"known.{name}"]
        shapes = _shapes(ordered.quartiles(g.groups, len(g.names)))
        usable = [i for i in large if shapes[i].rows >= self.min_rows]
        if sum(departed(shapes[i], usual[i]) for i in usable) > 1:
            return  # the change is not confined to one source
        of_rows = g.groups[ordered.rows]
        strange = strange_cells(ordered.values, of_rows, len(g.names), known)
        for i in usable:
            conversion = by_values(ordered.values[of_rows == i], known) if strange[i] else None
            conversion = conversion or by_shape(shapes[i], usual[i])
            if conversion is not None:
                text = f"values look {conversion.name}: their middle is {shapes[i].middle:g}, usual is {usual[i][0]:g}"
                yield Finding("unit_change", name, text, (g.column, g.names[i]))


def _stuck(run: int, usual: int, rows: int, share: float) -> bool:
    """Tell whether a run is longer than any usual one and than chance allows for a value of this share."""
    if run < max(_SHORTEST_RUN, _RUN_SHARE * rows, _RUN_GROWTH * usual) or share >= 1:
        return False
    return share <= 0 or math.log(rows) + run * math.log(share) < _CHANCE


def _mode(values: Floats) -> tuple[float, float]:
    return mode_share(np.sort(values[np.isfinite(values)]))


def _shapes(quartiles: Quartiles) -> list[Shape]:
    return [Shape(*row) for row in zip(*(part.tolist() for part in quartiles), strict=True)]


def _highest(shares: Floats) -> float:
    return float(np.nanmax(shares)) if np.isfinite(shares).any() else float("nan")


def _frequent(found: Categories, min_rows: int) -> list[str]:
    counts = np.bincount(found.codes[found.codes >= 0], minlength=found.names.size)
    top = np.argsort(-counts, kind="stable")[:_SOURCES]
    return [str(found.names[i]) for i in top if counts[i] >= max(min_rows, PERIODS * CELL_ROWS)]


def _grouping(table: Table, column: str, names: list[str]) -> Grouping:
    found = table.categories[column]
    place = {name: i for i, name in enumerate(names)}
    lookup = np.array([*(place.get(name, -1) for name in found.names.tolist()), -1], dtype=np.int64)
    groups = lookup[found.codes]
    return Grouping(column, names, groups, np.bincount(groups[groups >= 0], minlength=len(names)))


def _denser(profile: Profile, table: Table) -> float:
    span = int(table.times[-1] - table.times[0]) if table.times.size else 0
    usual = float(profile["known_rows"]) / max(float(profile["span"]), 1.0)
    return max(1.0, table.rows / max(span, 1) / usual)


def _as_long(profile: Profile, table: Table) -> int:
    span = int(table.times[-1] - table.times[0]) if table.times.size else 0
    return int(span >= int(profile["span"]) / PERIODS / 2)
