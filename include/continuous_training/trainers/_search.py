"""The search for better parameters, the same for every trainer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from continuous_training.core.errors import DataInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import optuna

    from continuous_training.trainers.base import TrainingData, Tuning

Parameters = dict[str, Any]
_WORST = 1e300  # what the sampler is told of a trial without a score


@dataclass(frozen=True)
class Range:
    """The values of one parameter that are tried, whole numbers when the limits are whole.

    `default` is what the learner uses when the parameter is not given.
    """

    low: float
    high: float
    default: float
    log: bool = False

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """Return the range as Optuna's own type."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def nearest(self, value: Any) -> float:
        """Return the value of the range that is nearest to `value`, or to the default when that is no number."""
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else self.default
        return min(max(number, self.low), self.high)


@dataclass(frozen=True)
class Attempt:
    """One trained model: its score on the tune rows (lower is better) and how to get its bytes."""

    score: float
    model: Callable[[], bytes]
    found: Parameters = field(default_factory=dict)
    """Parameters that training itself found: the number of rounds."""
    report: dict[str, Any] = field(default_factory=dict)
    """What else to record of the trial: the metric by its name, a warning."""


@dataclass
class Search:
    """Trains with the given parameters, then the champion's, then with what a TPE sampler proposes.

    Because the given parameters are always tried, tuning never ends with a worse tune score than training once.

    References
    ----------
    Bergstra, Bardenet, Bengio, Kegl: Algorithms for Hyper-Parameter Optimization. NeurIPS 2011.
    """

    evaluate: Callable[[Parameters], Attempt]
    space: Mapping[str, Range]
    given: Parameters
    tuning: Tuning
    clock: Callable[[], float] = time.monotonic
    trials: list[dict[str, Any]] = field(default_factory=list, init=False)
    """A record of each trial, as JSON values."""
    best: tuple[float, Attempt, Parameters] | None = field(default=None, init=False)

    def run(
        self, data: TrainingData, *, seed: int, trials: int | None, warm_start: Parameters | None
    ) -> tuple[Attempt, Parameters]:
        """Return the best attempt and its parameters.

        Raises
        ------
        DataInvalid
            More than one trial is asked for and there are no tune rows to compare them on.
        """
        count = self.tuning.trials if trials is None else trials
        if count > 1 and not len(data.y_tune):
            msg = (
                f"{count} trials need tune rows to be compared on, there are none; use a longer reference window, or "
                "tuning: {trials: 0}; a retry gives the same"
            )
            raise DataInvalid(msg)
        end = math.inf if self.tuning.time is None else self.clock() + self.tuning.time.total_seconds()
        self._try(self.given)
        if count > 1:
            self._explore(count, seed=seed, end=end, warm_start=warm_start or {})
        if self.best is None:  # pragma: no cover - the first trial sets it
            raise AssertionError
        return self.best[1], self.best[2]

    def _explore(self, count: int, *, seed: int, end: float, warm_start: Parameters) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        distributions = {name: values.distribution() for name, values in self.space.items()}
        warm = self.given | {name: value for name, value in warm_start.items() if name in self.space}
        if warm != self.given and self.clock() < end:
            self._try(warm)
        for record in self.trials:
            study.add_trial(
                optuna.trial.create_trial(
                    params=self._told(record["parameters"]), distributions=distributions, value=_finite(record["score"])
                )
            )
        while len(self.trials) < count and self.clock() < end:
            trial = study.ask(distributions)
            study.tell(trial, _finite(self._try(self.given | trial.params)))

    def _told(self, parameters: Parameters) -> Parameters:
        # The sampler knows only its ranges: a value outside is told as the nearest one inside.
        return {name: values.nearest(parameters.get(name)) for name, values in self.space.items()}

    def _try(self, parameters: Parameters) -> float | None:
        attempt = self.evaluate(parameters)
        score = attempt.score if math.isfinite(attempt.score) else None
        self.trials.append(
            {"trial": len(self.trials), "score": score, "parameters": parameters, **attempt.found, **attempt.report}
        )
        if self.best is None or _finite(score) < self.best[0]:
            self.best = (_finite(score), attempt, parameters)
        return score


def _finite(score: float | None) -> float:
    return _WORST if score is None else min(score, _WORST)
