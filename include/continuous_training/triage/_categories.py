"""Find categories that were renamed or recoded: old names go, and new ones come in their place."""

import re
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from continuous_training.triage._columns import Finding, periods_of
from continuous_training.triage._table import Categories, Floats, Ints, Profile, Table

_NAMES = 2000
"""Names of a column that are kept, the most frequent first; the others of the reference count as known by number only."""
_COMPARED = 24
_UNSEEN = 0.01
"""Share of rows with unseen names below which nothing is said: new categories are drift, and small at first."""
_EXPLAINED = 0.8
"""Share of the rows with unseen names that one rule must explain."""
_GONE = 0.05
"""Share of its usual rows that a replaced name may still have."""
_ALIKE = 1.5
"""By what factor the shares of the old and the new name may differ."""
_FEWEST = 30
_BINS = 8
_NEAR = 0.12
_TURNOVER = 0.2
"""Usual share of rows with names not seen before, from which a column holds identifiers rather than categories."""
_MASS = 0.5


def fit(table: Table) -> Profile:
    """Return names, their rows and what the other columns look like for each; and how many names usually are new."""
    bins = {name: _edges(values) for name, values in table.numbers.items()}
    profile: Profile = {f"edges.{name}": edges for name, edges in bins.items()}
    periods = periods_of(table.times)
    for name, found in table.categories.items():
        rows = np.bincount(found.codes[found.codes >= 0], minlength=found.names.size)
        order = np.argsort(-rows, kind="stable")[:_NAMES]
        profile[f"names.{name}"] = found.names[order]
        profile[f"counts.{name}"] = rows[order].astype(np.int64)
        profile[f"profiles.{name}"] = _profiles(table, bins, name, found.codes, order[:_COMPARED])
        newest = found.codes[periods >= 6]  # noqa: PLR2004 - the last quarter
        before = np.unique(found.codes[periods < 6])  # noqa: PLR2004
        unseen = ~np.isin(newest, before) & (newest >= 0)
        cut = 1 - rows[order].sum() / max(rows.sum(), 1)
        profile[f"unseen.{name}"] = np.array(max(float(unseen.mean()) if unseen.size else 0.0, float(cut)))
    return profile


def examine(profile: Profile, table: Table) -> Iterator[Finding]:
    """Yield what is found in each categorical column, in the whole window and in its last third."""
    third = np.arange(table.rows) >= table.rows * 2 // 3
    for name, found in table.categories.items():
        if f"names.{name}" not in profile or float(profile[f"unseen.{name}"]) > _TURNOVER:
            continue
        for rows in (None, third):
            codes = found.codes if rows is None else np.where(rows, found.codes, -1)
            text = _recoded(profile, table, name, Categories(found.names, codes))
            if text:
                yield Finding("enum_change", name, text if rows is None else f"in the last third of the window {text}")
                break


def _recoded(profile: Profile, table: Table, name: str, found: Categories) -> str:
    known, usual = profile[f"names.{name}"], profile[f"counts.{name}"]
    rows = np.bincount(found.codes[found.codes >= 0], minlength=found.names.size)
    total = int(rows.sum())
    unseen = np.flatnonzero(~np.isin(found.names, known) & (rows > 0))
    share = rows[unseen].sum() / max(total, 1)
    least = max(_UNSEEN, 3 * float(profile[f"unseen.{name}"]))
    if share < least or rows[unseen].sum() < _FEWEST or not usual.size:
        return ""
    names = {str(found.names[i]): int(rows[i]) for i in unseen}
    text = _spelled(names, set(known.tolist())) or _shifted(found, rows, known, usual)
    if text:
        return f"{share:.1%} of the rows have unseen names {text}"
    pairs = _replaced(profile, table, name, found, rows, unseen)
    if pairs:
        old, new = pairs[0]
        return (
            f"{old!r} is gone and {new!r} has come in its place, with about its share and its rows ({len(pairs)} such)"
        )
    gone = _gone(found, rows, known, usual, total)
    if share >= _MASS and usual[gone].sum() >= _MASS * usual.sum():
        return f"{share:.1%} of the rows have unseen names and most of the known ones are gone"
    return ""


def _spelled(unseen: dict[str, int], known: set[str]) -> str:
    """Say how unseen names become known ones: by another spelling, or without a common beginning or end."""
    plain = {_plain(name) for name in known}
    total = sum(unseen.values())
    respelled = [name for name in unseen if _plain(name) in plain]
    if sum(unseen[name] for name in respelled) >= _EXPLAINED * total:
        return f"that are known ones in another spelling, such as {respelled[0][:40]!r}"
    top = sorted(unseen, key=lambda name: -unseen[name])
    for cut in _affixes(top):
        bare = {name: cut(name) for name in unseen}
        hits = [name for name in unseen if bare[name] in known or _plain(bare[name]) in plain]
        if len(hits) > 1 and sum(unseen[name] for name in hits) >= _EXPLAINED * total:
            return f"that are known ones with something before or after, such as {hits[0][:40]!r}"
    return ""


def _affixes(names: list[str]) -> Iterator[Callable[[str], str]]:
    """Yield ways to take off what the first two names have in common at their beginning or end, longest first."""
    one, other = (names * 2)[:2]
    for length in range(_same(one, other), 0, -1):
        yield partial(_without_head, head=one[:length])
    for length in range(_same(one[::-1], other[::-1]), 0, -1):
        yield partial(_without_tail, tail=one[-length:])


def _same(one: str, other: str) -> int:
    """Return how many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _without_head(name: str, head: str) -> str:
    return name.removeprefix(head)


def _without_tail(name: str, tail: str) -> str:
    return name.removesuffix(tail)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", re.sub(r"\.0+$", "", name.strip()).casefold()).lstrip("0") or name


def _shifted(found: Categories, rows: Ints, known: NDArray[np.str_], usual: Ints) -> str:
    """Say by how much whole-number codes were shifted, when shares fit far better once that is undone."""
    if not all(re.fullmatch(r"-?\d{1,9}", name) for name in [*found.names.tolist(), *known.tolist()]):
        return ""
    before = dict(zip(map(int, known.tolist()), usual / usual.sum(), strict=True))
    now = dict(zip(map(int, found.names.tolist()), rows / rows.sum(), strict=True))
    off = _difference(before, now)
    for shift in (1, -1, 10, 100, 1000):
        if off > 0.2 and _difference(before, {code - shift: share for code, share in now.items()}) < 0.2 * off:  # noqa: PLR2004
            return f"and fit the usual shares once {shift} is subtracted from every code"
    return ""


def _difference(one: dict[int, float], other: dict[int, float]) -> float:
    return float(sum(abs(one.get(code, 0.0) - other.get(code, 0.0)) for code in {*one, *other}) / 2)


def _gone(found: Categories, rows: Ints, known: NDArray[np.str_], usual: Ints, total: int) -> NDArray[np.bool_]:
    """Tell which known names have all but vanished although many rows of them were to be expected."""
    now = dict(zip(found.names.tolist(), rows.tolist(), strict=True))
    seen = np.array([now.get(name, 0) for name in known.tolist()])
    expected = usual / usual.sum() * total
    gone: NDArray[np.bool_] = (expected >= _FEWEST) & (seen <= _GONE * expected)
    return gone


def _replaced(
    profile: Profile, table: Table, name: str, found: Categories, rows: Ints, unseen: NDArray[np.intp]
) -> list[tuple[str, str]]:
    """Return pairs of a name that is gone and a new one with about its share whose rows look like its rows."""
    known, usual = profile[f"names.{name}"], profile[f"counts.{name}"]
    total = int(rows.sum())
    gone = np.flatnonzero(_gone(found, rows, known, usual, total)[:_COMPARED])
    new = unseen[np.argsort(-rows[unseen], kind="stable")][:_COMPARED]
    new = new[rows[new] >= _FEWEST]
    if not (gone.size and new.size):
        return []
    edges = {column: profile[f"edges.{column}"] for column in table.numbers if f"edges.{column}" in profile}
    now, before = _profiles(table, edges, name, found.codes, new), profile[f"profiles.{name}"]
    if now.shape[1:] != before.shape[1:]:
        return []
    near = _NEAR + _own_drift(table, edges, name, found, known, before)
    pairs = []
    for old in gone:
        expected = usual[old] / usual.sum() * total
        noise = 1 + 3 / np.sqrt(expected)
        fits = [
            (_apart(before[old], now[i], int(rows[code])), str(found.names[code]))
            for i, code in enumerate(new)
            if expected / (_ALIKE * noise) <= rows[code] <= expected * _ALIKE * noise
        ]
        if fits and min(fits)[0] < near:
            pairs.append((str(known[old]), min(fits)[1]))
    return pairs


def _own_drift(
    table: Table, edges: dict[str, Floats], name: str, found: Categories, known: NDArray[np.str_], before: Floats
) -> float:
    """Return how far the rows of names that stayed have drifted, which those of a renamed one will have too."""
    place = {text: i for i, text in enumerate(found.names.tolist())}
    stayed = [(i, place[text]) for i, text in enumerate(known[:_COMPARED].tolist()) if text in place]
    now = _profiles(table, edges, name, found.codes, np.array([code for _, code in stayed], dtype=np.intp))
    rows = np.bincount(found.codes[found.codes >= 0], minlength=found.names.size)
    apart = [_apart(before[i], now[j], int(rows[c])) for j, (i, c) in enumerate(stayed) if rows[c] >= _FEWEST]
    return float(np.median(apart)) if apart else 0.0


def _apart(one: Floats, other: Floats, rows: int) -> float:
    """Return how different two categories' rows are in the other columns: mean total variation above chance, 0 to 1."""
    if not one.size:
        return 0.0
    apart = np.abs(one - other).sum(axis=1) / 2
    return max(0.0, float(apart.mean()) - float(1.2 / np.sqrt(rows)))


def _edges(values: Floats) -> Floats:
    kept = np.sort(values[np.isfinite(values)])
    return np.unique(kept[np.arange(1, _BINS) * kept.size // _BINS]) if kept.size else kept


def _profiles(table: Table, edges: dict[str, Floats], name: str, codes: Ints, chosen: NDArray[np.intp]) -> Floats:
    """Return the shares of rows in each bin of each numeric column, for the chosen categories, (chosen, columns, bins)."""
    del name
    place = np.full(int(codes.max(initial=-1)) + 2, -1, dtype=np.int64)
    inside = chosen < place.size - 1
    place[chosen[inside]] = np.flatnonzero(inside)
    group = place[codes]
    kept = np.flatnonzero(group >= 0)
    result = np.zeros((chosen.size, len(edges), _BINS + 1))
    for i, (column, cuts) in enumerate(edges.items()):
        values = table.numbers[column][kept]
        bins = np.where(np.isfinite(values), np.searchsorted(cuts, values, side="right"), _BINS)
        counts = np.bincount(group[kept] * (_BINS + 1) + bins, minlength=chosen.size * (_BINS + 1))
        counts = counts.reshape(chosen.size, _BINS + 1)
        result[:, i] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return result
