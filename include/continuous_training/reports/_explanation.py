"""The maths of which features predictions come from, for any model, on a bounded sample of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from continuous_training import performance
from continuous_training._performance import positions_by_value
from continuous_training.detectors._columns import spread
from continuous_training.reports.card import MOST_FEATURES, Explanation, Importance, Interaction, SliceImportance

if TYPE_CHECKING:
    import pandas as pd

    from continuous_training.trainers.bundle import Bundle

Floats = NDArray[np.float64]

SAMPLE = 300
"""Rows that are explained: SHAP values of a row cost about a hundred predictions."""
FEWEST = 50
MOST_SLICES = 12
INTERACTING, GRID = 5, 30
"""Features whose pairs are looked at, and the rows that stand for all where they are: the cost is pairs times rows squared."""
SHAP = (
    "Mean absolute SHAP value of the raw score, as LightGBM computes it (Lundberg et al., Nature Machine Intelligence 2, 2020), "
    "as a share of all features'."
)
PERMUTATION = (
    "By how much the loss grows when the values of the feature are shuffled among the rows (Fisher, Rudin, Dominici, JMLR 20, "
    "2019), as a share of all features'."
)
_LEAST, _TWO = 1e-9, 2


def explain(
    challenger: Bundle,
    champion: Bundle | None,
    rows: pd.DataFrame,
    y: Floats,
    *,
    slices: tuple[str, ...],
    seed: int,
) -> Explanation:
    """Return what moves the challenger's predictions of these rows, and the champion's.

    Both are explained in the same way: by SHAP values where both are made of trees, else by shuffling columns.
    """
    chosen = spread(rows.assign(**{_PLACE: np.arange(len(rows))}), SAMPLE)
    at = chosen[_PLACE].to_numpy()
    rows, y = rows.iloc[at], y[at]
    bundles = [challenger] if champion is None else [challenger, champion]
    trees = all(getattr(bundle.estimator, "contributions", None) for bundle in bundles)
    effects = [_by_trees(bundle, rows) if trees else _by_shuffling(bundle, rows, y, seed) for bundle in bundles]
    names = challenger.manifest.preparation.features.columns
    whole = _shares(effects[0])
    before = (
        dict(zip(bundles[1].manifest.preparation.features.columns, _shares(effects[1]).tolist(), strict=True))
        if champion
        else None
    )
    order = np.argsort(-whole, kind="stable")
    after = dict(zip(names, whole.tolist(), strict=True))
    return Explanation(
        method=SHAP if trees else PERMUTATION,
        rows=len(rows),
        features=_listed(after, before),
        others=max(len(names) - MOST_FEATURES, 0),
        slices=_slices(names, effects[0], rows, slices),
        interactions=interactions(challenger, rows, order[:INTERACTING].tolist()),
        shift=None if before is None else _shift(after, before),
    )


_PLACE = "\0place"  # no column of a table is called so


def _by_trees(bundle: Bundle, rows: pd.DataFrame) -> Floats:
    found: Floats = np.abs(bundle.estimator.contributions(bundle.manifest.preparation.transform(rows)))  # type: ignore[attr-defined]
    return found


def _by_shuffling(bundle: Bundle, rows: pd.DataFrame, y: Floats, seed: int) -> Floats:
    kind = bundle.manifest.task.kind
    x = bundle.manifest.preparation.transform(rows)
    loss = performance.row_losses(y, bundle.estimator.predict(x), kind)
    order = np.random.default_rng(seed).permutation(len(x))
    grown = np.zeros(x.shape)
    for column in range(x.shape[1]):
        shuffled = x.copy()
        shuffled[:, column] = x[order, column]
        grown[:, column] = performance.row_losses(y, bundle.estimator.predict(shuffled), kind) - loss
    return np.nan_to_num(grown)


def _shares(effects: Floats) -> Floats:
    """Return the share of each feature in the mean effects; a harmful one has none, and all are 0 where none has any."""
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.maximum(effects.mean(axis=0), 0) if len(effects) else np.zeros(effects.shape[1])
        shares = means / (means.sum() or 1.0)
    return np.nan_to_num(shares, nan=0.0, posinf=0.0)


def _listed(after: Mapping[str, float], before: Mapping[str, float] | None = None) -> tuple[Importance, ...]:
    largest = sorted(after, key=lambda name: -after[name])[:MOST_FEATURES]
    return tuple(
        Importance(
            feature=name,
            share=round(after[name], 6),
            champion=None if before is None else round(before.get(name, 0.0), 6),
        )
        for name in largest
    )


def _shift(after: Mapping[str, float], before: Mapping[str, float]) -> float:
    moved = sum(abs(after.get(name, 0.0) - before.get(name, 0.0)) for name in {*after, *before})
    return round(min(moved / 2, 1.0), 6)


def _slices(
    names: tuple[str, ...], effects: Floats, rows: pd.DataFrame, slices: tuple[str, ...]
) -> tuple[SliceImportance, ...]:
    found = [
        SliceImportance(
            column=column,
            value=value,
            rows=len(at),
            features=_listed(dict(zip(names, _shares(effects[at]).tolist(), strict=True)))[:INTERACTING],
        )
        for column in slices
        for value, at in positions_by_value(rows[column].to_numpy(), MOST_SLICES)
        if len(at) >= FEWEST
    ]
    return tuple(sorted(found, key=lambda each: -each.rows)[:MOST_SLICES])


def interactions(bundle: Bundle, rows: pd.DataFrame, features: list[int]) -> tuple[Interaction, ...]:
    """Return how much each pair of these features moves the raw score together otherwise than each by itself.

    LightGBM computes no SHAP interaction values. This is Friedman's H statistic for any model: the mean prediction with a
    pair of features set to the values of each sampled row, less the means with each of the two set alone. Its square as a
    share of what the pair moves is `share`; its root mean square, which does not look large for features that hardly
    matter, is `strength` and says the order.

    Sources: Friedman, Popescu, "Predictive learning via rule ensembles", Annals of Applied Statistics 2, 2008, section 8.1;
    without the denominator: Inglis, Parnell, Hurley, "Visualizing variable importance and variable interaction effects in
    machine learning models", Journal of Computational and Graphical Statistics 31, 2022.
    """
    x = bundle.manifest.preparation.transform(spread(rows, GRID))
    if len(x) < GRID:
        return ()
    score = _raw_score(bundle)
    alone = {one: _dependence(score, x, [one]) for one in features}
    names = bundle.manifest.preparation.features.columns
    found = []
    for one, two in combinations(features, 2):
        both = _dependence(score, x, [one, two])
        beyond, all_of_it = float(np.square(both - alone[one] - alone[two]).sum()), float(np.square(both).sum())
        share = min(beyond / all_of_it, 1.0) if all_of_it > _LEAST else None
        strength = float(np.sqrt(beyond / len(x)))
        found.append(
            Interaction(
                features=(names[one], names[two]),
                strength=float(f"{strength:.4g}"),
                share=None if share is None else round(share, 4),
            )
        )
    return tuple(sorted(found, key=lambda each: -each.strength)[:INTERACTING])


def _dependence(score: Callable[[Floats], Floats], x: Floats, features: list[int]) -> Floats:
    """Return the mean score over all rows with these features set to each row's values, less the mean of that."""
    many = np.tile(x, (len(x), 1))
    many[:, features] = np.repeat(x[:, features], len(x), axis=0)
    means = score(many).reshape(len(x), len(x), -1).mean(axis=1)
    return np.asarray(means - means.mean(axis=0))


def _raw_score(bundle: Bundle) -> Callable[[Floats], Floats]:
    """Return what adds up where features do not interact: log odds, centred log probabilities, or the value."""

    def score(x: Floats) -> Floats:
        predicted: Any = bundle.estimator.predict(x)
        if not bundle.manifest.classes:
            return np.asarray(predicted)
        logs = np.log(np.clip(predicted, _LEAST, 1))
        if logs.shape[1] == _TWO:
            return np.asarray(logs[:, 1] - logs[:, 0])
        return np.asarray(logs - logs.mean(axis=1, keepdims=True))

    return score
