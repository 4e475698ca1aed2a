"""Measure whether a rollout could be guarded by estimated losses, where labels come too late for the guard `quality`.

A champion and a challenger answer the same live rows (LightGBM, as in `decision_quality.py`); the challenger is as it should be, or
what it answers with is broken on the way to it. Four ways of estimating the Brier score of both without a live label take turns:

own        each version's scores, calibrated on the hold-out (CBPE)
champion   one reference for both: the champion's calibrated scores
joint      one reference for both: what the hold-out's labels teach about both scores together
bounded    the same in a hundred cells of both scores, where only what the hold-out's labels rule out counts against the challenger:
           the least difference that they allow, as if the live rows had no chance of their own

Each row of the table names the mean difference (challenger less champion) that the labels show and that each way estimates, and the
share of rollouts that the bets of the guard `quality` reject with them. The hold-out is one window, the live rows are the next.

    python benchmarks/estimated_guard.py [--data FILE --label COL --time COL]
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from decision_quality import Floats, Models, generated, stream_of
from sklearn.isotonic import IsotonicRegression

from continuous_training.core.decisions import Outcome
from continuous_training.core.rollout import LOSS_BUCKETS, VersionCounts
from continuous_training.policies.rollout_guards import QualityGuard
from continuous_training.policies.sequential import lower_bound

GUARD, ALPHA = QualityGuard(margin=0.01), 0.05
LOOKS, CELLS = 8, 10
OLDER = 4
"""Windows by which the champion's training is older than the challenger's."""

WAYS = ("labels", "own", "champion", "joint", "bounded")
Fault = Callable[[Floats, np.random.Generator], Floats]


def sharper(score: Floats, _: np.random.Generator) -> Floats:
    """Return scores that are three times as sure in log odds."""
    odds = 3 * np.log(score / (1 - score))
    return np.asarray(1 / (1 + np.exp(-odds)))


FAULTS: dict[str, Fault] = {
    "none": lambda score, _: score,
    "scores of other rows": lambda score, rng: rng.permutation(score),
    "three times too sure": sharper,
    "upside down": lambda score, _: 1 - score,
    "says the base rate": lambda score, _: np.full_like(score, score.mean()),
}


def calibrated(score: Floats, truth: Floats) -> Callable[[Floats], Floats]:
    """Return what share of the rows with a score is positive, as the hold-out says."""
    regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, truth)
    return lambda asked: np.asarray(regression.predict(asked))


def joint(champion: Floats, challenger: Floats, truth: Floats) -> Callable[[Floats, Floats], Floats]:
    """Return what share of the rows with both scores is positive: a logistic regression on both log odds and their product."""
    from sklearn.linear_model import LogisticRegression

    def columns(old: Floats, new: Floats) -> Floats:
        odds = [np.log(each / (1 - each)) for each in (np.clip(old, 1e-6, 1 - 1e-6), np.clip(new, 1e-6, 1 - 1e-6))]
        return np.column_stack([*odds, odds[0] * odds[1]])

    regression = LogisticRegression().fit(columns(champion, challenger), truth)
    return lambda old, new: np.asarray(regression.predict_proba(columns(old, new))[:, 1])


def bounded(old: tuple[Floats, Floats], new: tuple[Floats, Floats], truth: Floats) -> float:
    """Return the least mean difference of the live rows that the hold-out's labels allow; -1 where it has no rows."""
    edges = np.arange(1, CELLS) / CELLS
    held, live = (
        np.searchsorted(edges, first) * CELLS + np.searchsorted(edges, second)
        for first, second in zip(old, new, strict=True)
    )
    # From -1..1 to 0..1, in as many values as the guard has: each rounded down, so that the bound stays one.
    values = np.floor((expected(new[0], truth) - expected(old[0], truth) + 1) / 2 * LOSS_BUCKETS).astype(int)
    grid = tuple(number / LOSS_BUCKETS for number in range(LOSS_BUCKETS + 1))
    total = 0.0
    for cell in np.unique(live):
        counts = np.bincount(values[held == cell], minlength=len(grid)).tolist()
        total += float((live == cell).sum()) * (2 * lower_bound(grid, counts, ALPHA / CELLS**2) - 1)
    return total / len(live)


def expected(score: Floats, likely: Floats) -> Floats:
    """Return the Brier score to expect of each row whose label is positive with probability `likely`."""
    return np.asarray(likely * (1 - score) ** 2 + (1 - likely) * score**2)


def rejects(old: Floats, new: Floats) -> bool:
    """Tell whether the guard ever shows harm while the rows come one after another."""
    ends = np.linspace(0, len(old), LOOKS + 1).astype(int)[1:]
    return any(
        GUARD.judge(
            *(VersionCounts(losses=GUARD.count(losses[:end].tolist())) for losses in (old, new)), alpha=ALPHA
        ).outcome
        is Outcome.FAIL
        for end in ends
    )


def measure(models: Models, fault: Fault, rng: np.random.Generator) -> Iterator[dict[str, tuple[float, bool]]]:
    """Yield for each rollout and way the mean difference and whether the challenger is rejected."""
    for window in range(OLDER, models.stream.windows - 1):
        truth = [models.truth(models.stream.between(one, one + 1)) for one in (window, window + 1)]
        # What serves is fitted again on the hold-out too; what the hold-out judges is not.
        old = [models.predict(window - OLDER, one)[:, 1] for one in (window, window + 1)]
        new = [models.predict(window, window)[:, 1], fault(models.predict(window + 1, window + 1)[:, 1], rng)]
        ours, theirs = calibrated(old[0], truth[0])(old[1]), calibrated(new[0], truth[0])(new[1])
        both = joint(old[0], new[0], truth[0])(old[1], new[1])
        likely = {"labels": (truth[1],) * 2, "own": (ours, theirs), "champion": (ours,) * 2, "joint": (both,) * 2}
        found = {}
        for way, (first, second) in likely.items():
            losses = expected(old[1], first), expected(new[1], second)
            found[way] = float(np.mean(losses[1] - losses[0])), rejects(*losses)
        least = bounded((old[0], old[1]), (new[0], new[1]), truth[0])
        found["bounded"] = least, least > GUARD.margin
        yield found


def main() -> None:
    """Print the table of each stream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="Parquet file; without it, two generated streams")
    parser.add_argument("--label", default="label")
    parser.add_argument("--time", default="when")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--rows", type=int, default=150_000)
    options = parser.parse_args()
    kinds = (options.data,) if options.data else ("none", "gradual")
    vars(options).update(label_time=None, reference=4, classes=2)
    for kind in kinds:
        rows = pd.read_parquet(kind) if options.data else generated(kind, 7)
        models = Models(stream_of(rows, options, kind), "loss", 1.0)
        print(
            f"{kind}: {models.stream.windows - 1 - OLDER} rollouts, {len(models.stream.between(0, 1)):,} live rows each or so"
        )
        print(f"  {'fault':<22}" + "".join(f"{way:>18}" for way in WAYS))
        for name, fault in FAULTS.items():
            found = list(measure(models, fault, np.random.default_rng(7)))
            cells = [
                f"{np.mean([one[way][0] for one in found]):>+11.4f} {np.mean([one[way][1] for one in found]):>6.0%}"
                for way in WAYS
            ]
            print(f"  {name:<22}" + "".join(cells))


if __name__ == "__main__":
    main()
