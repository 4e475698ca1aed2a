"""Join what is found in rows, columns and times into defects, each named once and where it is."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from continuous_training.core.defects import Defect
from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.task import Features, Task
from continuous_training.core.window import Window
from continuous_training.triage import _categories, _columns, _gaps, _rows, _time
from continuous_training.triage._columns import Finding
from continuous_training.triage._table import Profile, Table, read

if TYPE_CHECKING:
    from continuous_training.triage import Triage

_LONGEST = 500


def fit(triage: "Triage", reference: pd.DataFrame, task: Task, features: Features) -> Profile:
    """Return what is usual in `reference`."""
    if task.event_time not in reference.columns:
        msg = (
            f"the reference has no event time {task.event_time!r}; its columns are "
            f"{', '.join(map(str, reference.columns))}; correct `event_time` or the source; a retry gives the same"
        )
        raise DataInvalid(msg)
    table = read(reference, task, features)
    profile: Profile = {
        "columns": np.array(features.columns, dtype=np.str_),
        "classes": np.array([table.classes[c] for c in features.columns], dtype=np.str_),
        "timezone": np.array(triage.timezone),
        "known_rows": np.array(table.rows),
    }
    if not table.rows:
        return profile
    profile |= {
        "first": table.times[0],
        "span": table.times[-1] - table.times[0],
        "step": np.array(_columns.step_of(table.times)),
    }
    groupings = _columns.frequent(table, triage.min_rows)
    profile |= _columns.fit(table, groupings)
    profile |= _time.fit(table, groupings, triage.timezone)
    profile |= _gaps.fit(table, triage.timezone)
    return profile | _categories.fit(table) | _rows.fit(table)


def examine(
    triage: "Triage", profile: Profile, current: pd.DataFrame, window: Window, task: Task, features: Features
) -> tuple[Defect, ...]:
    """Return the defects of `current`."""
    _check(triage, profile, features)
    if int(profile["known_rows"]) < triage.min_rows:
        return ()
    if task.event_time not in current.columns:
        found = [Finding("schema_change", task.event_time, "the column of the event time is absent")]
    else:
        found = list(_findings(triage, profile, read(current, task, features), window, task))
    defects = [_defect(finding, task) for finding in _placed(found)]
    chosen = {kind: place for place, kind in enumerate(triage.kinds)}
    return tuple(sorted((d for d in defects if d.kind in chosen), key=lambda d: chosen[d.kind]))


def _check(triage: "Triage", profile: Profile, features: Features) -> None:
    columns, timezone = tuple(profile["columns"].tolist()), str(profile["timezone"])
    if columns != features.columns or timezone != triage.timezone:
        msg = (
            f"the reference was prepared for {', '.join(columns)} in {timezone}, not for {', '.join(features.columns)} "
            f"in {triage.timezone}; prepare it again; a retry gives the same"
        )
        raise UsageError(msg)


def _findings(triage: "Triage", profile: Profile, table: Table, window: Window, task: Task) -> Iterator[Finding]:
    total = table.rows + table.timeless
    yield from _gaps.examine(profile, table, window, triage.timezone, triage.row_share)
    if total < triage.min_rows:
        return
    if table.timeless > triage.null_share * total:
        text = f"{table.timeless / total:.1%} of the rows have no event time"
        yield Finding("null_burst", task.event_time, text)
    if table.rows < triage.min_rows:
        return
    changed = list(_schema(profile, table))
    yield from changed
    usable = _without(table, {finding.column for finding in changed})
    groupings = _columns.groupings(profile, usable)
    yield from _columns.examine(profile, usable, groupings, triage.min_rows, triage.null_share)
    yield from _time.examine(profile, usable, groupings, window, triage.timezone, triage.min_rows)
    yield from _categories.examine(profile, usable)
    if not changed:
        yield from _rows.examine(profile, usable, triage.duplicate_share)


def _schema(profile: Profile, table: Table) -> Iterator[Finding]:
    for column, usual in zip(profile["columns"].tolist(), profile["classes"].tolist(), strict=True):
        now = table.classes[column]
        if now == "absent" and usual != "absent":
            yield Finding("schema_change", column, "the column is absent")
        elif usual in ("absent", "empty"):
            continue
        elif now == "empty" or np.isnan(table.values(column)).all():
            # a column that is all but empty in the reference may be empty in a window
            if not float(profile[f"null.{column}"][0]) > _MOSTLY_MISSING:
                yield Finding("schema_change", column, "the column has no value in any row")
        elif now != usual and (column in table.numbers or _unknown(profile, table, column)):
            yield Finding("schema_change", column, f"the column holds {now}, it used to hold {usual}")


_MOSTLY_MISSING = 0.9


def _unknown(profile: Profile, table: Table, column: str) -> bool:
    """Tell whether most rows have names that the reference does not: the same names in another type do no harm."""
    found = table.categories[column]
    unseen = np.append(~np.isin(found.names, profile[f"names.{column}"]), False)
    return bool(unseen[found.codes].mean() > 1 / 2)


def _without(table: Table, columns: set[str]) -> Table:
    numbers = {name: values for name, values in table.numbers.items() if name not in columns}
    categories = {name: found for name, found in table.categories.items() if name not in columns}
    return Table(table.times, table.timeless, numbers, categories, table.classes)


def _placed(found: list[Finding]) -> list[Finding]:
    """Return each fault once: in the one source that has it while the others do not, else in all rows."""
    everywhere = {(f.kind, f.column): f for f in found if f.source is None}
    sources = Counter((f.kind, f.column, f.source[0]) for f in found if f.source is not None)
    single: dict[tuple[str, str], Finding] = {}
    for f in found:
        if f.source is not None and sources[f.kind, f.column, f.source[0]] == 1:
            single.setdefault((f.kind, f.column), f)
    return [*(f for key, f in everywhere.items() if key not in single), *single.values()]


def _defect(finding: Finding, task: Task) -> Defect:
    column = finding.column or (task.event_time if finding.kind == "time_shift" else None)
    if finding.source is None:
        return Defect(kind=finding.kind, column=column, text=finding.text[:_LONGEST])
    text = f"only where {finding.source[0]} is {finding.source[1][:80]}: {finding.kind} of {column}: {finding.text}"
    return Defect(kind="single_source", column=finding.source[0], text=text[:_LONGEST])
