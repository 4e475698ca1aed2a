"""How a model does on groups of people and how far apart these are, with intervals. Nothing here decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from continuous_training import _performance
from continuous_training._performance import Flags, Floats, Statistic, Truth
from continuous_training.core.fairness import OTHER, Disparity, Group, GroupScore, Measure
from continuous_training.core.feedback import share_bounds
from continuous_training.core.scores import Estimate
from continuous_training.metrics import Metric
from continuous_training.performance import FEWEST_ROWS
from continuous_training.policies.fairness import FairnessPolicy

_TWO = 2
_DEFINED_SHARE = 0.5
_LONGEST_VALUE = 100
_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")
_OF_DISPARITY: dict[Measure, tuple[str, ...]] = {
    "demographic_parity": ("selection_rate",),
    "equalised_odds": ("true_positive_rate", "false_positive_rate"),
}


class _Number(NamedTuple):
    """A statistic of one group on all its rows and on each resample; NaN where it is not defined."""

    value: float
    samples: Floats
    rows: int
    least_error: float = 0.0

    @property
    def error(self) -> float:
        """Return the standard error; that of a rate is never less than what so few rows allow.

        Blocks that cannot go over the ends are alike: without the factor few rows would seem surer than they are.
        """
        alike = 1 - np.ceil(np.cbrt(self.rows)) / self.rows if self.rows > 1 else 1.0
        return max(float(np.nanstd(self.samples) / np.sqrt(alike)), self.least_error)

    @property
    def known(self) -> bool:
        """Tell whether there is enough to judge by."""
        return bool(np.isfinite(self.value)) and self.rows >= FEWEST_ROWS and bool(_mostly_defined(self.samples))


class _Measured(NamedTuple):
    """What was measured on one group."""

    value: str
    rows: int
    numbers: dict[str, _Number]


def measure(  # noqa: PLR0913 - each is named at the call
    policy: FairnessPolicy,
    metric: Metric,
    y: Floats,
    prediction: Floats,
    columns: Mapping[str, NDArray[Any]],
    *,
    model: Literal["champion", "challenger"],
    ranked: NDArray[Any] | None = None,
    confidence: float,
    resamples: int,
    seed: int,
) -> tuple[tuple[Group, ...], tuple[Disparity, ...]]:
    """Return how a model does on each group of the sensitive columns, and the number of each of the policy's limits.

    Each group is resampled on its own, as in `performance.estimate`. The interval of a group's metric or rate is for that
    group alone. That of a disparity holds for all groups of its column at once: every difference between two groups lies
    within `c` standard errors of what was found, `c` being the quantile of the greatest such deviation among the
    resamples, and at least that of the normal distribution. The interval of a rate is never narrower than Wilson's score
    interval of so many rows.

    Parameters
    ----------
    metric:
        Quality of the groups.
    y, prediction:
        As in `performance.estimate`; rows without a label are left out.
    columns:
        Sensitive column to its value in each row.
    model:
        Which of the two models it is.
    ranked:
        In ranking, the group of each row within which rows are ranked.
    confidence, resamples, seed:
        As in `performance.estimate`.
    """
    known = np.isfinite(y)
    groups: list[Group] = []
    disparities: list[Disparity] = []
    for column, values in columns.items():
        measured = [
            _Measured(
                value, len(at), _numbers(metric, y[at], prediction[at], _of(ranked, at), resamples, seed + number)
            )
            for number, (value, at) in enumerate(_places(values, known, policy.groups))
        ]
        groups += [_group(column, each, policy.rows, model, confidence) for each in measured]
        judged = [each for each in measured if each.rows >= policy.rows]
        disparities += list(_disparities(policy, metric.name, column, judged, confidence))
    return tuple(groups), tuple(disparities)


def paired(challenger: Sequence[Group], champion: Sequence[Group]) -> tuple[Group, ...]:
    """Return the groups of the challenger with the champion's scores beside its own."""
    pairs = zip(challenger, champion, strict=True)
    return tuple(one.model_copy(update={"champion": other.champion}) for one, other in pairs)


def _places(values: NDArray[Any], known: Flags, most: int) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield the most frequent values with the places of their labelled rows, then what is left over as one."""
    labelled = np.flatnonzero(known)
    found = _performance.positions_by_value(values[labelled], most)
    for value, at in found:
        yield value[:_LONGEST_VALUE], labelled[at]
    rest = np.setdiff1d(np.arange(len(labelled)), np.concatenate([at for _, at in found])) if found else labelled
    if len(rest):
        yield OTHER, labelled[rest]


def _of(ranked: NDArray[Any] | None, at: NDArray[np.intp]) -> NDArray[np.intp] | None:
    return None if ranked is None else _performance.group_numbers(ranked[at])


def _numbers(
    metric: Metric, y: Floats, prediction: Floats, ranked: NDArray[np.intp] | None, resamples: int, seed: int
) -> dict[str, _Number]:
    """Return the metric and, with two classes, the rates of one group."""
    truth = Truth(y, ranked)
    statistics: dict[str, Statistic] = {metric.name: metric.statistic(truth, prediction)}
    sizes = {metric.name: truth.units}
    if prediction.ndim > 1 and prediction.shape[1] == _TWO:
        selected = prediction.argmax(axis=1) == 1
        among = (np.ones(len(y), dtype=np.bool_), y == 1, y == 0)
        statistics |= {name: _rate(selected, rows) for name, rows in zip(_RATES, among, strict=True)}
        sizes |= {name: int(rows.sum()) for name, rows in zip(_RATES, among, strict=True)}
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        points = [each(np.ones(truth.units)) for each in statistics.values()]
        samples = np.full((len(points), resamples), np.nan)
        if truth.units:
            samples = _performance.bootstrap(list(statistics.values()), truth.units, resamples, seed)
    least = {
        name: _least_error(point, sizes[name]) for name, point in zip(statistics, points, strict=True) if name in _RATES
    }
    return {
        name: _Number(point, row, sizes[name], least.get(name, 0.0))
        for name, point, row in zip(statistics, points, samples, strict=True)
    }


def _rate(selected: Flags, among: Flags) -> Statistic:
    counted, of = (selected & among).astype(np.float64), among.astype(np.float64)

    def value(weights: Floats) -> float:
        total = weights @ of
        return float(weights @ counted / total) if total else np.nan

    return value


def _least_error(rate: float, rows: int) -> float:
    """Return the standard error of a rate with two more rows of either kind: 0 of 50 rows is not surely 0.

    Agresti, Coull: Approximate Is Better than "Exact" for Interval Estimation of Binomial Proportions. The American
    Statistician 52, 1998.
    """
    if not rows:
        return 0.0
    more = rows + 4
    share = (rate * rows + 2) / more
    return float(np.sqrt(share * (1 - share) / rows))


def _group(
    column: str, measured: _Measured, fewest: int, model: Literal["champion", "challenger"], confidence: float
) -> Group:
    names = list(measured.numbers)
    estimates = {name: _estimate(name, number, confidence) for name, number in measured.numbers.items()}
    score = GroupScore(metric=estimates[names[0]], **{name: estimates[name] for name in names[1:]})
    return Group(
        column=column, value=measured.value, rows=measured.rows, judged=measured.rows >= fewest, **{model: score}
    )


def _estimate(name: str, number: _Number, confidence: float) -> Estimate:
    if not np.isfinite(number.value):
        return Estimate(metric=name, rows=number.rows, note=f"not defined in {number.rows} rows")
    if not number.known:
        note = f"{number.rows} rows are too few for an interval, which needs {FEWEST_ROWS}"
        return Estimate(metric=name, value=number.value, rows=number.rows, note=note)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(number.samples, [tail, 1 - tail]).tolist()
    if name in _RATES:  # what never happened in these rows happens in none of their resamples
        least, most = share_bounds(round(number.value * number.rows), number.rows, confidence)
        low, high = min(low, least), max(high, most)
    return Estimate(metric=name, value=number.value, low=low, high=high, rows=number.rows)


def _disparities(
    policy: FairnessPolicy, metric: str, column: str, judged: Sequence[_Measured], confidence: float
) -> Iterator[Disparity]:
    for limited, (below, above) in policy.limits.items():
        if limited == "worst_group":
            estimate, text = _worst(metric, judged, confidence, lowest=below is not None)
        else:
            estimate, text = _difference(limited, judged, confidence)
        if estimate.value is None and len(judged) < _TWO and not estimate.note:
            estimate = estimate.model_copy(update={"note": f"fewer than two groups have {policy.rows} labelled rows"})
        yield Disparity(
            measure=limited,
            column=column,
            estimate=estimate,
            text=text,
            below=below,
            above=above,
            windows=policy.windows,
        )


def _worst(metric: str, judged: Sequence[_Measured], confidence: float, *, lowest: bool) -> tuple[Estimate, str]:
    """Return the metric of the group that is off worst, and which group it is."""
    found = [(each.value, each.numbers[metric]) for each in judged if each.numbers[metric].known]
    if not found:
        return Estimate(metric=metric, note="no group has enough labelled rows"), ""
    values, samples, errors = _arrays([number for _, number in found])
    reach = _reach(samples - values[:, None], confidence) * errors
    sign = 1 if lowest else -1
    place = int(np.argmin(sign * values))
    low, high = (
        ((values - reach).min(), (values + reach).min()) if lowest else ((values - reach).max(), (values + reach).max())
    )
    rows = sum(number.rows for _, number in found)
    estimate = Estimate(metric=metric, value=float(values[place]), low=float(low), high=float(high), rows=rows)
    return estimate, f"{values[place]:.3g} where it is {found[place][0]}"


def _difference(limited: Measure, judged: Sequence[_Measured], confidence: float) -> tuple[Estimate, str]:
    """Return the greatest difference between two groups in any of the rates, and which rate and groups it is."""
    name = f"{limited}_difference"
    pairs: list[tuple[str, _Measured, _Measured]] = []
    for rate in _OF_DISPARITY[limited]:
        if judged and rate not in judged[0].numbers:
            return Estimate(metric=name, note="it is for two classes"), ""
        known = [each for each in judged if each.numbers[rate].known]
        pairs += [(rate, one, other) for place, one in enumerate(known) for other in known[place + 1 :]]
    if not pairs:
        return Estimate(metric=name), ""
    one = [first.numbers[rate] for rate, first, _ in pairs]
    other = [second.numbers[rate] for rate, _, second in pairs]
    (value, samples, error), (value2, samples2, error2) = _arrays(one), _arrays(other)
    differences, errors = value - value2, np.hypot(error, error2)
    reach = _reach(samples - samples2 - differences[:, None], confidence) * errors
    size = np.abs(differences)
    place = int(np.argmax(size))
    low, high = max(float((size - reach).max()), 0.0), min(float((size + reach).max()), 1.0)
    estimate = Estimate(
        metric=name, value=float(size[place]), low=low, high=high, rows=sum(each.rows for each in judged)
    )
    rate, first, second = pairs[place]
    told = ", ".join(
        f"{each.numbers[rate].value:.3g} where it is {each.value}"
        for each in sorted((first, second), key=lambda each: -each.numbers[rate].value)
    )
    return estimate, f"{rate.replace('_', ' ')} {told}"


def _arrays(numbers: Sequence[_Number]) -> tuple[Floats, Floats, Floats]:
    """Return the values (n,), their resamples (n, resamples) and standard errors (n,)."""
    return (
        np.array([number.value for number in numbers]),
        np.stack([number.samples for number in numbers]),
        np.array([number.error for number in numbers]),
    )


def _reach(deviations: Floats, confidence: float) -> float:
    """Return within how many standard errors all numbers lie at once, given how far resamples (n, resamples) are off."""
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    spread = np.nanstd(deviations, axis=1, keepdims=True)
    scaled = np.abs(deviations) / np.where(spread > 0, spread, np.inf)
    return max(float(np.quantile(np.nan_to_num(scaled).max(axis=0), confidence)), normal)


def _mostly_defined(samples: Floats) -> bool:
    return bool(np.isfinite(samples).mean() >= _DEFINED_SHARE)
