"""Tell why the quality of a champion changed between its hold-out and a window: which features, the label, or their relation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from continuous_training.core.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from continuous_training.core.causes import CauseCard
    from continuous_training.core.task import Features
    from continuous_training.core.window import Window
    from continuous_training.metrics import Metric

    Floats = NDArray[Any]


class Rows(NamedTuple):
    """Rows with their label and what one model makes of them, in order of event time."""

    x: Floats
    """Prepared features, (rows, features); missing values are NaN."""
    y: Floats
    """Class numbers or values, (rows,); rows where it is NaN are left out."""
    prediction: Floats
    """Class probabilities (rows, classes) or values (rows,)."""
    served: Floats | None = None
    """The same of the model that serves, where it is another one, fitted again on newer rows; of the window only."""


class Asked(NamedTuple):
    """What a card is made for."""

    metric: Metric
    window: Window
    confidence: float
    seed: int


class Causes(Frozen):
    """Split a change of quality into what shifted features, a shifted label and a changed relation between them explain.

    The parts are Shapley values over distribution shifts: what each shift adds to the change, averaged over the orders in
    which the shifts could have come, so that the parts add up to the whole change. A world in which only some shifts have
    come is the hold-out with weights, or, once the relation is among them, the window with weights. The weights are
    ratios of densities from a probabilistic classifier that tells window from hold-out: a logistic regression on the
    binned features and the binned label at once. So each ratio is a product with one factor for each feature and one for
    the label, and a feature or label that changed only because another one did has a factor of 1, and no part of the
    change. What no such product explains is the part `relation`: the label of rows alike changed.

    Only features that the model uses and whose own distribution is shown to have changed have a part. A metric is
    compared on the same model, as it was judged; what fitting it again on newer rows brought is the part `refit`.

    Nothing is claimed without 300 labelled rows of each. Where hold-out and window have too little in common (under 200
    effective rows by Kish are left, or the weighted hold-out does not look like the window, or back), the groups with
    the most uneven weights are taken out until they do. What their shift did cannot be told from a changed relation, nor
    can the label's own shift from what they did to it, so the last part is then that of all of these. Weights are cut off
    at 20 times their mean.

    Limits: a feature that goes together with one that was taken out may stand for it. A change of which features go
    together, without any change of one alone, counts as relation. If the relation changes so that the label becomes more
    frequent in rows of all kinds, data cannot tell that from a shift of the label, and it counts as one. The intervals
    hold the uncertainty of rows and weights, not that of how features are binned, and a window is one stretch of time:
    what is the same in all its rows, such as the weather of its days, is no sample of anything. Causes are shifts that
    explain the numbers; what moved them in the world the data does not say.

    Source: Zhang, Singh, Ghassemi, Joshi, "Why did the model fail?: attributing model performance changes to distribution
    shifts", ICML 2023; Budhathoki, Janzing, Bloebaum, Ng, "Why did the distribution change?", AISTATS 2021 (DoWhy's
    `gcm.distribution_change`, which needs a causal graph); joint shifts of label and few features: Chen, Zaharia, Zou,
    "Estimating and explaining model performance when both covariates and labels shift", NeurIPS 2022.

    Examples
    --------
    >>> Causes(groups={"weather": ("wind", "rain")}).when
    'fired'
    """

    when: Literal["fired", "always", "never"] = Field(
        "fired",
        description="fired: for each performance rule whose limit is crossed on labels, of a rule `by` a column in the group that is "
        "furthest beyond; always: for each rule in each window; never.",
    )
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Name to the features that have one part together. The others have one each, up to 7 parts by how much "
        "the model uses them, and the rest share one.",
    )

    def check(self, features: Features) -> None:
        """Raise `ValueError` when a group has a feature's name, or a column that is no feature or that another group has."""
        for name in self.groups:
            if name in features.columns:
                msg = f"causes.groups: {name} is the name of a feature; call the group otherwise"
                raise ValueError(msg)
        named = [name for columns in self.groups.values() for name in columns]
        for name in named:
            if name not in features.columns:
                msg = f"causes.groups: {name} is not a feature; name features, each in one group"
                raise ValueError(msg)
            if named.count(name) > 1:
                msg = f"causes.groups: {name} is named more than once; leave it in one group"
                raise ValueError(msg)

    def explain(
        self,
        reference: Rows,
        current: Rows,
        features: Features,
        predict: Callable[[Floats], Floats],
        asked: Asked,
    ) -> CauseCard:
        """Return the parts of the change from the reference to the current rows.

        At most 5,000 evenly spaced rows of each are used; the same inputs give the same card.

        Parameters
        ----------
        reference
            Rows that the model was not fitted on.
        predict
            What the same model makes of prepared features; asked which of them it uses.
        """
        from continuous_training import _causes

        return _causes.explain(self, reference, current, features, predict, asked)
