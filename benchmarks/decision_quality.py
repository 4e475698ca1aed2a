"""Measure how well retraining policies choose their moments, on any table with a label and a time.

The span of the rows is cut into windows of equal length. Before each one a model (LightGBM, 60 trees of 15 leaves) is
trained on the windows of the reference, as far as their labels were known then; the first of them is the first champion.
Each policy then goes through the windows with the decision code of the product, seeing only what was known, and every model
it asks for is taken without a gate: what is measured is when to retrain, not whether the new model was better.

The ruler is timing skill: (mean quality - that of the same number of retrainings spread evenly) / (that of the best moments
in hindsight - spread evenly). The best moments are found by dynamic programming over all sets of moments.

    python benchmarks/decision_quality.py --data FILE --label COL --time COL [--label-time COL]
    python benchmarks/decision_quality.py --generated abrupt

A table goes to standard error, JSON to standard output. `--metric loss` (the default) is log loss, or squared error in
variances of the label; the others are those of the product.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from math import ceil

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training import performance
from continuous_training.core.decisions import Evidence
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore, ShadowScore
from continuous_training.core.task import Features, Task
from continuous_training.core.window import Window
from continuous_training.detectors import ADWIN, KS, PSI, AlibiTabular, Detector, PageHinkley
from continuous_training.metrics import BUILT_IN
from continuous_training.policies import RegretPolicy, SignalPolicy
from continuous_training.policies.retraining import RetrainingPolicy
from continuous_training.replay import rulers
from continuous_training.trainers.preparation import Cleaning, Preparation, encode_label

Floats = NDArray[np.float64]
TREES = {"num_leaves": 15, "learning_rate": 0.1, "verbose": -1, "num_threads": 2, "deterministic": True, "seed": 7}
ROUNDS = 60
FEWEST = 20
MOST_CATEGORIES = 1000
WORSE = 1.1
"""A champion's quality has dropped when its mean error is a tenth above that in its first window."""


@dataclass(frozen=True)
class Stream:
    """Rows in order of time, cut into windows; `starts[w]` is the first row of window `w`, window 0 follows the reference."""

    name: str
    rows: pd.DataFrame
    task: Task
    features: Features
    edges: list[datetime]
    reference: int
    delay: int

    @property
    def windows(self) -> int:
        """Return the number of windows that are served."""
        return len(self.edges) - 1 - self.reference

    def between(self, first: int, last: int) -> pd.DataFrame:
        """Return the rows from the start of window `first` to that of window `last`; those before 0 are the reference's."""
        low, high = (pd.Timestamp(self.edges[self.reference + n]) for n in (max(first, -self.reference), last))
        at = self.rows[self.task.event_time]
        return self.rows.iloc[at.searchsorted(low) : at.searchsorted(high)]

    def window(self, number: int) -> Window:
        """Return when window `number` begins and ends."""
        return Window(start=self.edges[self.reference + number], end=self.edges[self.reference + number + 1])


@dataclass
class Models:
    """The models trained before each window, and what they predict in others."""

    stream: Stream
    metric: str
    share: float
    """Share of a reference, its oldest rows, that a model is fitted on."""
    _models: dict[int, tuple[lgb.Booster, Preparation]] = field(default_factory=dict)
    _predictions: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _prepared: dict[tuple[str, int], dict[str, NDArray[np.generic]]] = field(default_factory=dict)

    @cached_property
    def classes(self) -> tuple[object, ...] | None:
        """Return the classes of all rows, so that every model answers the same question."""
        return encode_label(self.stream.rows[self.stream.task.label], self.stream.task)[1] or None

    def train(self, before: int) -> tuple[lgb.Booster, Preparation]:
        """Return the model that can be trained when window `before` begins, when the last labels are `delay` windows old."""
        if before not in self._models:
            stream = self.stream
            rows = stream.between(before - stream.delay - stream.reference, before - stream.delay)
            rows = rows.iloc[: ceil(self.share * len(rows))]
            preparation = Preparation.fit(rows, stream.features, Cleaning())
            names = list(preparation.categorical)
            data = lgb.Dataset(
                preparation.transform(rows), self.truth(rows), categorical_feature=names, params={"verbose": -1}
            )
            objective: dict[str, object] = {"objective": "regression"}
            if self.classes is not None:
                several = {"objective": "multiclass", "num_class": len(self.classes)}
                objective = {"objective": "binary"} if len(self.classes) == 2 else several
            self._models[before] = lgb.train(TREES | objective, data, ROUNDS), preparation
        return self._models[before]

    def truth(self, rows: pd.DataFrame) -> Floats:
        """Return the labels as numbers."""
        return encode_label(rows[self.stream.task.label], self.stream.task, self.classes or ())[0]

    def predict(self, model: int, window: int) -> Floats:
        """Return what the model trained before window `model` says in `window`."""
        if (model, window) not in self._predictions:
            booster, preparation = self.train(model)
            found = np.asarray(booster.predict(preparation.transform(self.stream.between(window, window + 1))))
            binary = self.classes is not None and found.ndim == 1
            self._predictions[model, window] = np.column_stack([1 - found, found]) if binary else found
        return self._predictions[model, window]

    def losses(self, model: int, window: int) -> Floats:
        """Return the loss of each row."""
        truth = self.truth(self.stream.between(window, window + 1))
        return performance.row_losses(truth, self.predict(model, window), self.stream.task.kind)

    def quality(self, model: int, window: int) -> float | None:
        """Return the metric in the window; `None` where it is not defined."""
        if self.metric == "loss":
            losses = self.losses(model, window)
            return float(np.nanmean(losses)) if np.isfinite(losses).any() else None
        truth = self.truth(self.stream.between(window, window + 1))
        found = performance.estimate(
            BUILT_IN[self.metric], truth, self.predict(model, window), confidence=0.5, resamples=1, seed=0
        )
        return found.value

    def errors(self, model: int, window: int) -> pd.DataFrame:
        """Return the rows of a window with what detectors measure beside the columns."""
        rows = self.stream.between(window, window + 1)
        wrong = performance.row_errors(self.truth(rows), self.predict(model, window), self.stream.task.kind)
        return rows.assign(error=wrong)

    def drift(self, detector: Detector, model: int, window: int) -> list[DriftScore]:
        """Return what a detector says of a window, against the rows the model was trained on."""
        key = (detector.model_dump_json(), model)
        if key not in self._prepared:
            stream = self.stream
            # An error is honest on rows the model has not seen: its first window is the reference of error streams.
            seen = stream.between(model - stream.delay - stream.reference, model - stream.delay)
            reference = self.errors(model, model) if "signal" in type(detector).model_fields else seen
            self._prepared[key] = detector.fit(reference, stream.features)
        return detector.score(self._prepared[key], self.errors(model, window), self.stream.features)

    def shadow(self, champion: int, window: int) -> ShadowScore:
        """Return the gain of the model that was trained on rows up to the window."""
        start = self.stream.window(window).start
        gains = self.losses(champion, window) - self.losses(window + self.stream.delay, window)
        gains = gains[np.isfinite(gains)]
        if gains.size < FEWEST:
            return ShadowScore(trained_until=start, rows=gains.size, note="too few rows")
        noise = float(gains.std(ddof=1) / np.sqrt(gains.size))
        return ShadowScore(gain=float(gains.mean()), error=noise, rows=gains.size, trained_until=start)

    def drop(self, champion: int, window: int) -> PerformanceScore:
        """Return the champion's mean error, with its limit."""
        first, now = (float(self.errors(champion, one)["error"].mean()) for one in (champion, window))
        value = now if np.isfinite([first, now]).all() else None  # a window without rows has no quality
        limit = WORSE * first if value is not None else None
        estimate = Estimate(metric="mean_error", value=value)
        return PerformanceScore(estimate=estimate, rule="quality_drop", matured=1.0, above=limit)


Look = Callable[[Models, int, int], dict[str, object]]


def drifting(detector: Detector) -> Look:
    """Return what to measure for a policy with one detector."""
    return lambda models, champion, window: {"drift": tuple(models.drift(detector, champion, window))}


POLICIES: dict[str, tuple[RetrainingPolicy, Look]] = {
    "regret": (RegretPolicy(), lambda models, *at: {"shadow": models.shadow(*at)}),
    "ks": (SignalPolicy(), drifting(KS())),
    "psi": (SignalPolicy(), drifting(PSI())),
    "page_hinkley": (SignalPolicy(), drifting(PageHinkley())),
    "adwin": (SignalPolicy(), drifting(ADWIN())),
    "quality drop": (SignalPolicy(), lambda models, *at: {"performance": (models.drop(*at),)}),
    "alibi_tabular": (SignalPolicy(), drifting(AlibiTabular())),
}


def walk(models: Models, policy: RetrainingPolicy, look: Look) -> list[int]:
    """Return the windows before which the policy retrains."""
    stream, champion, moments = models.stream, 0, []
    history = RetrainingHistory()
    for now in range(1, stream.windows):
        window = now - 1 - stream.delay
        # Where labels are late, the first windows of a champion are told only after some time.
        if window < champion:
            continue
        span = stream.window(window)
        measured = look(models, champion, window)
        size = len(stream.between(window, window + 1))
        as_of = stream.window(now).start
        evidence = Evidence.model_validate({"model": "m", "window": span, "as_of": as_of, "rows": size} | measured)
        decision = policy.decide(evidence, history)
        if decision.answer == "yes":
            champion = now
            moments.append(now)
            history = RetrainingHistory(requested=(as_of, *history.requested))
            continue
        ended = policy.ended(evidence, history)
        begun = policy.began(evidence, history)
        still = tuple(one for one in history.open_episodes if one.kind not in ended)
        new = tuple(OpenEpisode(kind=kind, name=name, opened_at=as_of) for kind, name in begun.items())
        shadows = (evidence.shadow, *history.shadows) if evidence.shadow else ()
        recent = (decision.signals, *history.recent)[:50]
        history = history.model_copy(update={"open_episodes": still + new, "shadows": shadows, "recent": recent})
    return moments


def measure(models: Models) -> dict[str, object]:
    """Return what there is to gain, and the figures of every ruler and policy."""
    windows = models.stream.windows
    matrix = [[models.quality(i, j) if j >= i else None for j in range(windows)] for i in range(windows)]
    better = BUILT_IN[models.metric].greater_is_better if models.metric != "loss" else False
    gains = [
        (every - never) * (1 if better else -1)
        for every, never in zip((matrix[n][n] for n in range(1, windows)), matrix[0][1:], strict=True)
        if every is not None and never is not None
    ]
    # Neighbouring windows err alike, so this error is rather too small.
    error = float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    gain = {"every_window_gains": float(np.mean(gains)), "standard_error": error}
    return gain | {"policies": list(figures(models, matrix, better=better))}


def figures(models: Models, matrix: rulers.Matrix, *, better: bool) -> Iterator[dict[str, object]]:
    """Yield the figures of every ruler and policy."""
    windows = len(matrix)
    best = rulers.oracle(matrix, greater_is_better=better)
    ways = {"never": [], "every window": list(range(1, windows))}
    ways |= {f"every {k} windows": list(range(k, windows, k)) for k in (2, 4, 8, 13)}
    ways |= {name: walk(models, policy, look) for name, (policy, look) in POLICIES.items()}
    never, every = (rulers.serve(matrix, ways[name]) for name in ("never", "every window"))
    ways["oracle"] = best[min(len(ways["regret"]), len(best) - 1)]
    for name, moments in ways.items():
        served, number = rulers.serve(matrix, moments), min(len(moments), len(best) - 1)
        even = rulers.serve(matrix, rulers.evenly(windows, number))
        found = {
            "retrainings": len(moments),
            "of_windows": len(moments) / windows,
            "mean": rulers.mean(served),
            "of_gain": share(served, never, every),
            "skill": share(served, even, rulers.serve(matrix, best[number])) if 0 < number < windows - 1 else None,
        }
        yield {"policy": name, **found, "moments": moments}


def share(values: list[float | None], low: list[float | None], high: list[float | None]) -> float | None:
    """Return how far the mean of `values` is on the way from that of `low` to that of `high`."""
    first, value, last = (rulers.mean(one) for one in (low, values, high))
    if first is None or value is None or last is None or first == last:
        return None
    return (value - first) / (last - first)


def stream_of(rows: pd.DataFrame, options: argparse.Namespace, name: str) -> Stream:
    """Return the stream of a table: numbers are numeric features, everything else but the label and times categories."""
    at = options.time
    rows = rows[rows[options.label].notna() & rows[at].notna()].copy()
    rows[at] = pd.to_datetime(rows[at], utc=True)
    rows = rows.sort_values(at, kind="stable")
    rows = rows.iloc[:: max(1, ceil(len(rows) / options.rows))].reset_index(drop=True)
    edges = list(pd.date_range(rows[at].iloc[0], rows[at].iloc[-1], options.windows + options.reference + 1).floor("s"))
    delay = 0
    if options.label_time:
        waited = pd.to_datetime(rows.pop(options.label_time), utc=True) - rows[at]
        delay = ceil(waited.quantile(0.95) / (edges[1] - edges[0]))
    others = [column for column in rows if column not in (options.label, at)]
    numeric = [column for column in others if pd.api.types.is_numeric_dtype(rows[column])]
    told = [column for column in others if column not in numeric and rows[column].nunique() <= MOST_CATEGORIES]
    rows[numeric] = rows[numeric].astype(np.float64)
    rows[told] = rows[told].astype(str)
    label = rows[options.label]
    few = label.nunique() <= options.classes
    task = Task(kind="classification" if few else "regression", label=options.label, event_time=at)
    rows[options.label] = label.astype(str) if few else label.astype(np.float64)
    features = Features(numeric=tuple(numeric), categorical=tuple(told))
    return Stream(name, rows, task, features, [edge.to_pydatetime() for edge in edges], options.reference, delay)


def generated(kind: str, seed: int) -> pd.DataFrame:
    """Return 60,000 rows of a year in which the label's rule changes abruptly, gradually, back and forth, ... or never."""
    rng = np.random.default_rng(seed)
    size = 60_000
    t = np.sort(rng.random(size))
    x = rng.normal(size=(size, 6))
    if kind == "covariate":
        x[:, 0] += 2 * t
    turned = {
        "abrupt": np.where(t < 0.35, 0.0, np.where(t < 0.7, 0.6, 1.2)),
        "gradual": 1.5 * t,
        "recurring": 0.8 * (np.floor(t * 6) % 2),
        "seasonal": 0.6 * np.sin(2 * np.pi * 2 * t),
    }.get(kind, np.zeros(size))
    odds = 1.5 * (x[:, 0] * np.cos(turned) + x[:, 1] * np.sin(turned)) + 0.5 * x[:, 2] * x[:, 3]
    label = (rng.random(size) < 1 / (1 + np.exp(-odds))).astype(int)
    when = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(t * 365, unit="D")
    return pd.DataFrame(x, columns=[f"x{n}" for n in range(6)]).assign(label=label, when=when)


def report(stream: Stream, found: dict[str, object]) -> None:
    """Print the table of one stream."""
    days = (stream.edges[1] - stream.edges[0]) / pd.Timedelta(days=1)
    print(
        f"{stream.name}: {stream.windows} windows of {days:.3g} days, {len(stream.rows)} rows, labels {stream.delay} windows late; "
        f"retraining every window gains {found['every_window_gains']:.4f} (standard error {found['standard_error']:.4f})",
        file=sys.stderr,
    )
    for row in found["policies"]:
        gain, skill = ("-" if row[key] is None else f"{row[key] + 0.0:.2f}" for key in ("of_gain", "skill"))
        line = f"  {row['policy']:<18}{row['retrainings']:>4}{row['of_windows']:>7.0%}{row['mean']:>9.4f}"
        print(f"{line}  gain {gain:>6}  skill {skill:>6}", file=sys.stderr)


GENERATED = ("abrupt", "gradual", "recurring", "seasonal", "covariate", "none")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="Parquet file")
    parser.add_argument("--generated", choices=[*GENERATED, "all"], default="all", help="stream to use without --data")
    parser.add_argument("--label", default="label")
    parser.add_argument("--time", default="when")
    parser.add_argument("--label-time", help="column with the moment at which each row's label was known")
    parser.add_argument("--windows", type=int, default=52)
    parser.add_argument("--reference", type=int, default=8, help="windows that a model is trained on")
    parser.add_argument("--rows", type=int, default=300_000, help="rows to use at most, evenly spaced")
    parser.add_argument("--classes", type=int, default=10, help="a label with more values is a number to predict")
    parser.add_argument("--metric", default="loss")
    parser.add_argument("--fitted-on", type=float, default=1.0, help="share of a reference, its oldest rows, to fit on")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    if options.data:
        streams = {options.data: pd.read_parquet(options.data)}
    else:
        chosen = GENERATED if options.generated == "all" else (options.generated,)
        streams = {kind: generated(kind, options.seed) for kind in chosen}
    found = {}
    for name, rows in streams.items():
        absent = [one for one in (options.label, options.time, options.label_time) if one and one not in rows]
        if absent:
            parser.error(f"{name} has no column {absent[0]}; its columns are {', '.join(map(str, rows.columns))}")
        stream = stream_of(rows, options, name)
        found[name] = measure(Models(stream, options.metric, options.fitted_on))
        report(stream, found[name])
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
