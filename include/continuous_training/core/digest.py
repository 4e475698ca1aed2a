"""One digest for one value, whatever order its keys were written in."""

import hashlib
import json

from pydantic import BaseModel


def canonical(value: object) -> str:
    """Return the JSON text with sorted keys and no spaces that stands for `value`.

    >>> canonical({"b": 1, "a": [2]})
    '{"a":[2],"b":1}'
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, 64 hexadecimal digits.

    >>> digest({"a": 1})[:12]
    '015abd7f5cc5'
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()
