"""Ranking by gradient-boosted trees: which rows of a group come first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from continuous_training.core.errors import SpecError
from continuous_training.trainers.lightgbm import Trees

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.core.task import TaskKind
    from continuous_training.trainers.base import Fitted, Model, TrainingData

EVALUATED_AT = 10


class Ranking(Trees):
    """LightGBM's LambdaMART: trees that learn to put the relevant rows of each group first.

    The relevance of a row may be what somebody said, or implicit feedback: 0 seen, 1 clicked, 2 bought. A model gives each
    row a score of its own, which orders the rows of one group and means nothing beyond. The number of trees is chosen on
    the tune rows by NDCG at 10, and a search varies the same parameters as that of `lightgbm`. The same rows, seed and
    threads give the same bytes. A group may have at most 10,000 rows.

    References
    ----------
    Burges: From RankNet to LambdaRank to LambdaMART: An Overview. Microsoft Research MSR-TR-2010-82, 2010. Bruch: An
    Alternative Cross Entropy Loss for Learning-to-Rank (`objective: rank_xendcg`). WWW 2021.
    """

    file: ClassVar[Literal["model.txt"]] = "model.txt"
    learns: ClassVar[tuple[TaskKind, ...]] = ("ranking",)

    kind: Literal["ranking"] = "ranking"

    def settings(self, classes: int) -> dict[str, Any]:  # noqa: ARG002 - a ranking has no classes
        """Return LightGBM's parameters without the seed.

        Raises
        ------
        SpecError
            `objective` or `metric` do not rank.
        """
        try:
            self.check("ranking")
        except ValueError as error:
            msg = f"{error}; mend the model file, a retry gives the same"
            raise SpecError(msg) from error
        usual = {"objective": "lambdarank", "metric": "ndcg"}
        return usual | self.parameters | {"eval_at": [EVALUATED_AT], "num_threads": self.threads}

    def fit(
        self, data: TrainingData, *, seed: int, trials: int | None = None, warm_start: dict[str, Any] | None = None
    ) -> Fitted:
        """Train on the groups of train rows, stop early and choose parameters on those of the tune rows."""
        from continuous_training.trainers import _lightgbm

        return _lightgbm.fit(self, data, seed=seed, trials=trials, warm_start=warm_start)

    def load(self, path: Path) -> Model:
        """Return the booster whose text is in `path`."""
        from continuous_training.trainers import _lightgbm

        return _lightgbm.load(path)
