"""Shapley values over distribution shifts: worlds in which some shifts have come, and what each adds to a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training import _shifts
from continuous_training._performance import Statistic, Truth, block_weights
from continuous_training._shifts import Codes, Floats, Ratios
from continuous_training.causes import Asked, Causes, Rows
from continuous_training.core.causes import Cause, CauseCard, CauseKind
from continuous_training.core.task import Features

MOST_ROWS = 5_000
FEWEST_ROWS = 300
FEWEST_EFFECTIVE = 200
MOST_PARTS = 7
_MOST_FEATURES = 20
_MOST_ASKED = 100
_ASKING_ROWS = 500
_LEAST_USED = 0.01
_LARGEST_WEIGHT = 20.0
_RESAMPLES = 100
_ALL_ORDERS = 4
_PAIRS_OF_ORDERS = 32
_UNLIKE = 0.1
_MOST_NAMED, _LONGEST_NAME = 3, 40

Predict = Callable[[Floats], Floats]
Sides = tuple[Floats, Floats]


class Column(NamedTuple):
    """The bins of a column, or of the label, on both sides."""

    reference: Codes
    current: Codes


class Player(NamedTuple):
    """A shift that may have come or not: of some columns, or of the label."""

    name: str
    kind: CauseKind
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class World:
    """Both sides under some weights of their rows."""

    statistics: tuple[Statistic, Statistic]
    logs: Sides
    """Logarithm of the factor of each player, (rows, players)."""
    weights: Sides

    def value(self, shifts: int) -> float:
        """Return the metric where the players whose bits are set have shifted; the bit after theirs is the relation."""
        players = self.logs[0].shape[1]
        has = np.array([shifts >> each & 1 for each in range(players)], dtype=np.bool_)
        side = shifts >> players & 1
        log = -self.logs[1][:, ~has].sum(axis=1) if side else self.logs[0][:, has].sum(axis=1)
        return self.statistics[side](self.weights[side] * _weights(log))

    def parts(self, orders: NDArray[np.intp]) -> Floats:
        """Return what each player and the relation add to the metric, the mean over the orders in which they come."""
        known: dict[int, float] = {}
        added = np.zeros(orders.shape[1])
        for order in orders:
            shifts = 0
            for player in order.tolist():
                after = shifts | 1 << player
                for each in (shifts, after):
                    if each not in known:
                        known[each] = self.value(each)
                added[player] += known[after] - known[shifts]
                shifts = after
        return added / len(orders)


@dataclass(frozen=True)
class Study:
    """Two sides and the shifts between them."""

    before: Rows
    after: Rows
    statistics: tuple[Statistic, Statistic]
    served: Statistic | None
    players: tuple[Player, ...]
    ratios: Ratios
    seed: int
    inseparable: tuple[str, ...] = ()
    """Shifts so large that the sides have too little in common to weight one into the other."""

    def world(self, weights: Sides | None = None) -> World:
        """Return the world of the rows as they are, or of a resample of them."""
        rows = len(self.before.y)
        owner = [place for place, player in enumerate(self.players) for _ in player.columns]
        logs = self.ratios.log_factors(None if weights is None else np.concatenate(weights))
        logs = logs @ (np.array(owner, dtype=np.intp)[:, None] == np.arange(len(self.players))).astype(np.float64)
        ones = np.ones(rows), np.ones(len(self.after.y))
        return World(self.statistics, (logs[:rows], logs[rows:]), weights or ones)

    def parts(self, world: World) -> Floats:
        """Return the parts of the change: of each player, of the relation and, where there is one, of the refit."""
        found = world.parts(_orders(len(self.players) + 1, self.seed))
        if self.served is None:
            return found
        return np.append(found, self.served(world.weights[1]) - self.statistics[1](world.weights[1]))

    def resampled(self) -> Iterator[Floats]:
        """Yield the parts of resamples of both sides."""
        both = (
            block_weights(len(rows.y), _RESAMPLES, self.seed + side)
            for side, rows in enumerate((self.before, self.after))
        )
        for weights in zip(*both, strict=True):
            yield self.parts(self.world(weights))

    def effective_rows(self) -> float:
        """Return how many rows without weights tell as much as those of the weighted side that tells least."""
        return min(float(each.sum() ** 2 / (each**2).sum()) for each in self._weighted())

    def separable(self) -> Study:
        """Return the study without the shifts that keep the weighted hold-out from looking like the window, or back.

        Of those that are left the one whose factor varies most goes first, until what stays is alike and is enough rows.
        The label goes with them: its own shift cannot be told from what theirs did to it.
        """
        study = self
        while study.players and not study._comparable():
            spread = np.concatenate(study.world().logs).std(axis=0)
            study = study._without(study.players[int(spread.argmax())])
        labels = [player for player in study.players if player.kind == "label"]
        return study._without(labels[0]) if labels and study.inseparable else study

    def merged(self) -> Study:
        """Return the study with one part for the features that are used least, where there are too many parts."""
        features = [player for player in self.players if player.kind == "features"]
        if len(features) <= MOST_PARTS:
            return self
        columns = tuple(column for player in features[MOST_PARTS - 1 :] for column in player.columns)
        rest = Player(f"{len(columns)} other features", "features", columns)
        return replace(self, players=(*features[: MOST_PARTS - 1], rest, *self.players[len(features) :]))

    def _weighted(self) -> list[Floats]:
        return [_weights(sign * log.sum(axis=1)) for sign, log in zip((1, -1), self.world().logs, strict=True)]

    def _comparable(self) -> bool:
        if self.effective_rows() < FEWEST_EFFECTIVE:
            return False
        before, after = self._weighted()
        return all(
            _shifts.distance(column.reference, column.current, before) <= _UNLIKE
            and _shifts.distance(column.current, column.reference, after) <= _UNLIKE
            for player in self.players
            for column in player.columns
        )

    def _without(self, gone: Player) -> Study:
        players = tuple(player for player in self.players if player is not gone)
        names = (*self.inseparable, gone.name)
        return replace(self, players=players, ratios=_ratios(players, self.before, self.after), inseparable=names)


def explain(
    causes: Causes, reference: Rows, current: Rows, features: Features, predict: Predict, asked: Asked
) -> CauseCard:
    """Return the parts of the change, or why there are none."""
    before, after = _sampled(reference), _sampled(current)
    metric = asked.metric
    card = CauseCard(metric=metric.name, window=asked.window, reference_rows=len(before.y), current_rows=len(after.y))
    fewest = min(len(before.y), len(after.y))
    if fewest < FEWEST_ROWS:
        return card.model_copy(update={"note": f"{fewest} rows with a label are too few, {FEWEST_ROWS} are needed"})
    of_before, of_after = (metric.statistic(Truth(rows.y), rows.prediction) for rows in (before, after))
    of_served = None if after.served is None else metric.statistic(Truth(after.y), after.served)
    ones = np.ones(len(after.y))
    values = [of_before(np.ones(len(before.y))), of_after(ones), (of_served or of_after)(ones)]
    if not np.isfinite(values).all():
        return card.model_copy(update={"note": f"{metric.name} is not defined on the hold-out or on the window"})
    players = _players(causes, before, after, features, predict, asked.seed)
    ratios = _ratios(players, before, after)
    study = Study(before, after, (of_before, of_after), of_served, players, ratios, asked.seed)
    study = study.separable().merged()
    return _filled(card.model_copy(update={"before": values[0], "after": values[2]}), study, asked.confidence)


def _ratios(players: Sequence[Player], before: Rows, after: Rows) -> Ratios:
    columns = [(column.reference, column.current) for player in players for column in player.columns]
    return _shifts.fit(columns, (len(before.y), len(after.y)))


def _filled(card: CauseCard, study: Study, confidence: float) -> CauseCard:
    """Return the card with its parts and their intervals."""
    told: dict[str, Any] = {"effective_rows": study.effective_rows() if study.players else None}
    told["inseparable"] = study.inseparable
    parts, samples = study.parts(study.world()), np.array(list(study.resampled()))
    if not np.isfinite(parts).all() or not np.isfinite(samples).all(axis=1).any():
        return card.model_copy(update=told | {"note": f"{card.metric} is not defined where only some shifts have come"})
    samples = samples[np.isfinite(samples).all(axis=1)]
    reach = NormalDist().inv_cdf((1 + confidence) / 2)
    far, whole = reach * samples.std(axis=0), reach * float(samples.sum(axis=1).std())
    named: list[tuple[str, CauseKind]] = [(player.name, player.kind) for player in study.players]
    named += [_rest(study.inseparable), ("refit", "refit")]
    causes = [
        Cause(metric=card.metric, name=name, kind=kind, value=value, low=value - by, high=value + by)
        for (name, kind), value, by in zip(named, parts.tolist(), far.tolist(), strict=False)
    ]
    change = float(parts.sum())
    told |= {"low": change - whole, "high": change + whole}
    ordered = tuple(sorted(causes, key=lambda cause: -abs(cause.value)))
    return card.model_copy(update=told | {"causes": ordered})


def _rest(inseparable: Sequence[str]) -> tuple[str, CauseKind]:
    """Return what the part is called that no weighting explains."""
    if not inseparable:
        return "relation", "relation"
    named = [name[:_LONGEST_NAME] for name in inseparable[:_MOST_NAMED]]
    left = len(inseparable) - len(named)
    *first, last = [*named, f"{left} more"] if left else named
    return f"{', '.join(['relation', *first])} or {last}", "inseparable"


def _sampled(rows: Rows) -> Rows:
    """Return evenly spaced ones of the rows with a label and a finite prediction, in their order."""
    told = rows.prediction if rows.prediction.ndim == 1 else rows.prediction.sum(axis=1)
    known = np.flatnonzero(np.isfinite(rows.y) & np.isfinite(told))
    chosen = (
        known[np.unique(np.linspace(0, max(0, len(known) - 1), MOST_ROWS).astype(np.intp))] if len(known) else known
    )
    served = None if rows.served is None else rows.served[chosen]
    return Rows(rows.x[chosen], rows.y[chosen], rows.prediction[chosen], served)


def _players(
    causes: Causes, before: Rows, after: Rows, features: Features, predict: Predict, seed: int
) -> tuple[Player, ...]:
    """Return the shifts that are shown: of groups of features that the model uses, the most used first, and of the label."""
    names, columns = features.columns, dict[int, tuple[Codes, Codes]]()
    for place in range(len(names)):
        pair = _shifts.binned(before.x[:, place], after.x[:, place], categories=place >= len(features.numeric))
        if _shifts.moved(*pair):
            columns[place] = pair
    farthest = sorted(columns, key=lambda place: -_shifts.distance(*columns[place]))[:_MOST_ASKED]
    used = _used(farthest, np.concatenate([before.x, after.x]), predict, seed)
    kept = sorted(used, key=lambda place: -used[place])[:_MOST_FEATURES]
    group_of = {name: group for group, members in causes.groups.items() for name in members}
    groups: dict[str, list[int]] = {}
    for place in kept:
        groups.setdefault(group_of.get(names[place], names[place]), []).append(place)
    found = [
        Player(name, "features", tuple(Column(*columns[place]) for place in places)) for name, places in groups.items()
    ]
    label = _shifts.binned(before.y, after.y, categories=before.prediction.ndim > 1)
    return (*found, *([Player("label", "label", (Column(*label),))] if _shifts.moved(*label) else []))


def _used(places: Sequence[int], x: Floats, predict: Predict, seed: int) -> dict[int, float]:
    """Return how much predictions change when the values of a column are shuffled, of those columns where it is noticed."""
    random = np.random.default_rng(seed)
    rows = x[random.choice(len(x), min(len(x), _ASKING_ROWS), replace=False)]
    told, found = predict(rows), {}
    for place in places:
        shuffled = rows.copy()
        shuffled[:, place] = random.permutation(rows[:, place])
        found[place] = float(np.abs(predict(shuffled) - told).mean())
    least = _LEAST_USED * max(found.values(), default=0.0)
    return {place: change for place, change in found.items() if change > least}


def _orders(players: int, seed: int) -> NDArray[np.intp]:
    """Return all orders of a few players, or random pairs of an order and its reverse."""
    if players <= _ALL_ORDERS:
        return np.array(list(permutations(range(players))), dtype=np.intp)
    random = np.random.default_rng(seed)
    orders = np.array([random.permutation(players) for _ in range(_PAIRS_OF_ORDERS)])
    return np.concatenate([orders, orders[:, ::-1]])


def _weights(log: Floats) -> Floats:
    """Return weights of mean 1 or less, none above 20."""
    weights = np.exp(log - log.max())
    clipped: Floats = np.minimum(weights / weights.mean(), _LARGEST_WEIGHT)
    return clipped
