"""One value has one digest, whatever order its keys were written in."""

import hashlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.digest import canonical, digest
from continuous_training.core.frozen import Frozen

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


def turned(value: Any) -> Any:
    """Return an equal value whose mappings were written in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    assert digest(turned(value)) == digest(value)


@given(values, values)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (canonical(one) == canonical(other))


@given(values)
def test_the_canonical_text_is_json_of_the_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value


class Pair(Frozen):
    b: int
    a: tuple[str, ...]


def test_an_object_counts_as_what_it_is_written_as() -> None:
    assert canonical(Pair(b=1, a=("x",))) == '{"a":["x"],"b":1}' == canonical({"a": ["x"], "b": 1})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_lacks_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": number})


def test_the_digest_is_the_sha256_of_the_text_and_never_changes() -> None:
    """Keys in every ledger and store come from it: a change here orphans them all."""
    value = {"name": "Zürich", "n": [1, 2.5, True, None], "nested": {"b": "", "a": -1}}
    assert canonical(value) == '{"n":[1,2.5,true,null],"name":"Z\\u00fcrich","nested":{"a":-1,"b":""}}'
    assert digest(value) == hashlib.sha256(canonical(value).encode()).hexdigest()
    assert digest(value) == "7119d8505c57617b2e9027762d13977111559ab0838422fc0fe4f55a3a58d3ec"


def test_another_process_with_another_hash_seed_finds_the_same() -> None:
    code = "from continuous_training.core.digest import digest; print(digest({'b': ['x'], 'a': {'d': 1, 'c': 2}}))"
    command = [sys.executable, "-c", code]
    found = {
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in "12"
    }
    assert found == {digest({"a": {"c": 2, "d": 1}, "b": ["x"]}) + "\n"}
