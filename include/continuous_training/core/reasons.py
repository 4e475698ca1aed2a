"""What moved a prediction, in words."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

MOST_REASONS = 3
_PLAIN = re.compile(r"[\w.:/+-]{1,40}", re.ASCII)
_LONGEST = 60


def reasons(columns: Sequence[str], values: Sequence[Any], contributions: Sequence[float]) -> str:
    """Return the features that moved a score most, each with its value, and what the others did together.

    The text has whatever values the row has. Those that are no plain word or number stand in quotation marks, shortened
    and with their own escaped, so that they cannot pass for words of ours; a page must escape it like any other text.

    Parameters
    ----------
    columns, values, contributions
        One of each for each feature; a contribution is in units of the score, above 0 when the feature raised it.

    Examples
    --------
    >>> reasons(["departure", "carrier", "wind", "gust", "rain"], [1290.0, "EV", 3.5, None, 0], [0.42, 0.11, -0.2, -0.04, 0.01])
    'departure = 1290 raises the score by 0.42; wind = 3.5 lowers it by 0.2; carrier = EV raises it by 0.11; together the other 2 features lower it by 0.03'
    """
    order = sorted(range(len(columns)), key=lambda place: -abs(contributions[place]))
    first = [place for place in order[:MOST_REASONS] if contributions[place]]
    if not first:
        return "no feature moves the score"
    told = [
        f"{shown(columns[place])} = {shown(values[place])} {_moved(contributions[place], 'it' if n else 'the score')}"
        for n, place in enumerate(first)
    ]
    others = order[len(first) :]
    rest = math.fsum(contributions[place] for place in others)
    if rest:
        many = f"together the other {len(others)} features" if len(others) > 1 else shown(columns[others[0]])
        told.append(f"{many} {_moved(rest, 'it', plural=len(others) > 1)}")
    return "; ".join(told)


def shown(value: object) -> str:
    """Return a value of a row as it stands in a sentence.

    >>> shown(3.0), shown(None), shown("EV"), shown("EV; wind")
    ('3', 'missing', 'EV', '"EV; wind"')
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "missing"
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else f"{value:.6g}"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return json.dumps(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _moved(by: float, what: str, *, plural: bool = False) -> str:
    verb = "raise" if by > 0 else "lower"
    return f"{verb}{'' if plural else 's'} {what} by {abs(by):.2g}"
