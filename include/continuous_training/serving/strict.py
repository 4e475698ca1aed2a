"""Refuse what training never saw, where a deployment asks for it: columns that are no features, and categories the model does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.errors import DataInvalid
from continuous_training.trainers._preparation import category, shown

if TYPE_CHECKING:
    from continuous_training.serving.asked import Asked
    from continuous_training.trainers import Preparation

_MOST_NAMED = 5


class Strict:
    """What a model's preparation knows, and one verb.

    Parameters
    ----------
    preparation
        That of the model.
    """

    def __init__(self, preparation: Preparation) -> None:
        self._columns = preparation.features.columns
        self._features = frozenset(self._columns)
        self._known = {name: frozenset(known) for name, known in preparation.categories.items()}

    def check(self, asked: Asked) -> None:
        """Refuse a request that training never saw the like of.

        Raises
        ------
        DataInvalid
            It names a column that is no feature, or holds a category that was absent or rare in training.
        """
        for row, names in enumerate(asked.named):
            extra = [str(name) for name in names if name not in self._features]
            if extra:
                shown_names = ", ".join(f"{name:.100}" for name in extra[:_MOST_NAMED])
                place = f" in row {row}" if len(asked.named) > 1 else ""
                raise DataInvalid(
                    f"{shown_names}{place}: no column of the model, and this server is strict; leave out all but "
                    f"{', '.join(self._columns)}"
                )
        columns = asked.columns(self._columns)
        for name, known in self._known.items():
            for row, value in enumerate(columns.get(name, ())):
                text = value if type(value) is str else category(name, value, row)
                if text is not None and text not in known:
                    raise DataInvalid(_unknown(name, value, row, known))


def _unknown(name: str, value: object, row: int, known: frozenset[str]) -> str:
    some = ", ".join(f"{each:.60}" for each in sorted(known)[:_MOST_NAMED])
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return (
        f"column {name!r} holds {shown(value)} in row {row}, a category that was absent or rare in training, and this server is "
        f"strict; allowed: {some or 'none'}{more}, and null"
    )
