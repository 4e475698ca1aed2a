"""Several of LightGBM's models that vote, so that what an old one still knows is not forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from continuous_training.core.task import TaskKind
from continuous_training.trainers.lightgbm import Trees

if TYPE_CHECKING:
    from pathlib import Path

    from continuous_training.trainers.base import Fitted, Model, TrainingData


class Ensemble(Trees):
    """Models of successive retrainings, each weighted by how well it predicts the newest rows.

    A retraining fits one new member and takes over the members of the champion. Each of those weighs
    `1 / (MSE_r + MSE_i)`: `MSE_i` is its squared error on the tune rows, `MSE_r` that of always answering with the class
    frequencies (in regression: the mean). The new member weighs `1 / MSE_r`, as if it made no error; a member that does
    no better than `MSE_r` weighs nothing, and is kept in case its concept comes back. When there are more than
    `members`, the lightest goes. The answer is the weighted mean of the probabilities or values.

    Members of a champion that predicts other classes or another label, or was made by another kind of trainer, are not
    taken over, and none are without tune rows: the model is then one member fitted on all train rows, as `lightgbm`
    makes it. Categories are translated for each member, and one it has never seen is unseen to it; a column that left the
    model file, or changed its type, is missing to the members that know it.

    It pays where concepts change at once or come back; where the data drifts slowly it does as well as `lightgbm`, and
    where changes are faster than a reference window it may do worse. Prediction takes as long as all its members do.

    References
    ----------
    Brzezinski, Stefanowski: Reacting to Different Types of Concept Drift: The Accuracy Updated Ensemble Algorithm. IEEE
    Transactions on Neural Networks and Learning Systems 25(1), 2014. Weight zero for members that know nothing: Wang,
    Fan, Yu, Han: Mining Concept-Drifting Data Streams Using Ensemble Classifiers. KDD 2003.
    """

    file: ClassVar[Literal["model.json"]] = "model.json"

    # Its members are weighed on rows that none was fitted on, so there are no rows to fit it again with.
    refits = False

    kind: Literal["ensemble"] = "ensemble"
    members: int = Field(5, ge=1, le=50, description="Most models that vote; one is new in each retraining.")
    newest: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the train rows, the newest ones, on which a new member is fitted beside older members; the "
        "first one is fitted on all.",
    )

    def check(self, kind: TaskKind) -> None:
        """Raise `ValueError` when these settings cannot learn that kind of task, or the members cannot be mitigated."""
        super().check(kind)
        if self.mitigation is not None and self.mitigation.kind == "reduction":
            msg = (
                "trainer.mitigation: reduction takes one model and an ensemble has several; use reweighing or balanced"
            )
            raise ValueError(msg)

    def fit(
        self, data: TrainingData, *, seed: int, trials: int | None = None, warm_start: dict[str, Any] | None = None
    ) -> Fitted:
        """Train a new member, and weigh it and those of `data.champion` on the tune rows."""
        from continuous_training.trainers import _ensemble

        return _ensemble.fit(self, data, seed=seed, trials=trials, warm_start=warm_start)

    def load(self, path: Path) -> Model:
        """Return the ensemble whose members are in `path`."""
        from continuous_training.trainers import _ensemble

        return _ensemble.load(path)
