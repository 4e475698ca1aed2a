"""Strict YAML reads what a model file needs and refuses everything else where it stands."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from continuous_training import strict_yaml
from continuous_training.core.errors import SpecError
from continuous_training.strict_yaml import MAX_BYTES, MAX_VALUES, WHAT_NEXT, Document, read


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def each_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run with the parser in C and with the one in Python, which stands in where C is missing."""
    monkeypatch.setattr(strict_yaml, "_LOADER", getattr(yaml, request.param))


def _read(folder: Path, content: str | bytes) -> Document:
    path = folder / "flights.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(path)


def _refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(SpecError) as refusal:
        _read(folder, content)
    return str(refusal.value)


@pytest.mark.usefixtures("each_parser")
@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("text", "text"),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("'true'", "true"),
        ("null", None),
        ("~", None),
        ("", None),
        ("''", ""),
        ("12", 12),
        ("-9223372036854775808", -(2**63)),
        ("0o17", 15),
        ("0x1f", 31),
        ("'12'", "12"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2013-03-01", "2013-03-01"),
        ("2013-03-01T00:00:00Z", "2013-03-01T00:00:00Z"),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("6.", 6.0),
        ("1.2.3", "1.2.3"),
        ("{ a: 1 }", {"a": 1}),
        ("[no, 7 days]", ["no", "7 days"]),
        ("|\n  a\n  b\n", "a\nb\n"),
        ('"\\u00e9\\n"', "é\n"),
        ("été", "été"),
        ("'{data}/flights'", "{data}/flights"),
    ],
)
def test_scalars_are_read_by_the_core_schema_of_yaml_1_2(tmp_path: Path, written: str, value: object) -> None:
    seen = _read(tmp_path, f"key: {written}\n").data["key"]
    assert seen == value
    assert type(seen) is type(value)


@pytest.mark.usefixtures("each_parser")
@pytest.mark.parametrize(
    ("content", "where", "fragment"),
    [
        ("model: a\nb: &x 1\n", "2:4: b: ", "anchors"),
        ("b:\n  - *x\n", "2:5: b[0]: ", "anchors (&) and aliases (*)"),
        ("a: {b: {<<: {c: 1}}}", "1:9: a.b: ", "merge keys"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "1:4: a: ",
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: ! b", "1:4: a: ", "the tag '!'"),
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "5:3: b.c: ", "already given on line 3"),
        ("a: 1\n'a': 2\n", "2:1: a: ", "already given on line 1"),
        ("a: [1, .nan]", "1:8: a[1]: ", "'.nan' is not a finite number"),
        ("a: -.inf", "1:4: a: ", "'-.inf' is not a finite number"),
        ("a: 1e400", "1:4: a: ", "'1e400' is not a finite number"),
        ("a: 9223372036854775808", "1:4: a: ", "does not fit in 64 bits"),
        (f"a: 0x{'f' * 60}", "1:4: a: ", "does not fit in 64 bits"),
        ("1: a", "1:1: ", "the key 1 is not text"),
        ("a: {true: 1}", "1:5: a: ", "the key true is not text"),
        ("a: {~: 1}", "1:5: a: ", "the key null is not text"),
        ("? [a, b]\n: 1", "1:3: ", "a key must be plain text"),
        ("a: {{ ds }}", "1:5: a: ", "no Jinja"),
        ("a: '{{ ds }}'", "1:4: a: ", "holds Jinja"),
        ('a: "{% raw %}"', "1:4: a: ", "holds Jinja"),
        ("'{{ a }}': 1", "1:1: ", "holds Jinja"),
        ("a: |\n  x {{ ds }}\n", "1:4: a: ", "holds Jinja"),
        ("a: 1\n---\nb: 1\n", "2:1: ", "second document"),
        ("", "1:1: ", "the file is empty"),
        ("# nothing\n", "1:1: ", "the file is empty"),
        ("- a\n", "1:1: ", "not a list"),
        ("a\n", "1:1: ", "not 'a'"),
        ("a: 'x\ny", "2:2: ", "not YAML"),
        ("a:\n\t- b", "2:1: ", "indent with spaces"),
        ("a: b: c", "1:5: ", "not YAML"),
        ('a: "\\0"', "1:4: a: ", "U+0000"),
        ('a: "\\u202e"', "1:4: a: ", "U+202E"),
        ("a: b\u202e", "1:5: ", "U+202E"),
        ("a: 1\nb: \u2028", "2:4: ", "U+2028"),
        (b"a: 1\nb: \x1b[31m", "2:4: ", "U+001B"),
        (b"a: 1\nb: \xff", "2:4: ", "byte 0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), "1:1: ", "not UTF-8"),
    ],
)
def test_what_a_model_file_may_not_hold_is_refused_where_it_stands(
    tmp_path: Path, content: str | bytes, where: str, fragment: str
) -> None:
    message = _refusal(tmp_path, content)
    assert message.startswith(f"flights.yaml:{where}")
    assert fragment in message
    assert message.endswith(WHAT_NEXT)


@pytest.mark.usefixtures("each_parser")
def test_twenty_levels_are_read_and_twenty_one_are_refused(tmp_path: Path) -> None:
    def nested(levels: int) -> str:
        return "".join(f"{' ' * level}k:\n" for level in range(levels - 1)) + f"{' ' * levels}k: 1\n"

    assert _read(tmp_path, nested(20)).data["k"]["k"]
    assert "nested deeper than 20 levels" in _refusal(tmp_path, nested(21))


def test_a_byte_order_mark_is_not_part_of_the_first_key(tmp_path: Path) -> None:
    assert _read(tmp_path, "\ufeffmodel: a").data == {"model": "a"}


@pytest.mark.usefixtures("each_parser")
def test_every_key_and_every_item_has_the_position_where_it_is_written(tmp_path: Path) -> None:
    document = _read(tmp_path, "model: a\ndrift:\n  - {kind: ks, columns: [é, b]}\n  -\n    kind: psi\n")
    assert document.positions == {
        (): (1, 1),
        ("model",): (1, 1),
        ("drift",): (2, 1),
        ("drift", 0): (3, 5),
        ("drift", 0, "kind"): (3, 6),
        ("drift", 0, "columns"): (3, 16),
        ("drift", 0, "columns", 0): (3, 26),
        ("drift", 0, "columns", 1): (3, 29),
        ("drift", 1): (5, 5),
        ("drift", 1, "kind"): (5, 5),
    }
    assert document.where(("drift", 1, "columns", 3)) == "flights.yaml:5:5"


def test_a_file_over_256_kib_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    whole = "a: 1\n#" + "x" * (MAX_BYTES - 6)
    assert _read(tmp_path, whole).data == {"a": 1}
    assert "larger than 256 KiB" in _refusal(tmp_path, "a: *not_parsed\n#" + "x" * MAX_BYTES)


def test_more_values_than_a_model_file_needs_are_refused(tmp_path: Path) -> None:
    assert len(_read(tmp_path, f"a: [{'1,' * (MAX_VALUES - 2)}]").data["a"]) == MAX_VALUES - 2
    assert "more than 5,000 values" in _refusal(tmp_path, f"a: [{'1,' * MAX_VALUES}]")


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("a: 1")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "real.yaml")
    assert read(tmp_path / "link.yaml").data == {"a": 1}


def test_what_is_not_a_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for name in ("pipe.yaml", "endless.yaml", "loop.yaml", "missing.yaml", f"{'x' * 300}.yaml", "."):
        with pytest.raises(SpecError, match=r"cannot be read|not a file") as refusal:
            read(tmp_path / name)
        assert (tmp_path / name).name in str(refusal.value)


def test_a_password_in_a_refused_value_is_not_shown(tmp_path: Path) -> None:
    message = _refusal(tmp_path, "a: 'postgresql://me:pa/ss@word@db/{{ x }}'")
    assert "word" not in message
    assert "postgresql://***@db" in message


BOMBS = {
    "billion laughs": "a: &a [x]\n"
    + "".join(f"{b}: &{b} [{f'*{a},' * 9}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "a million levels": "a: " + "[" * 10**6,
    "a quarter of a million levels": "a: " + "[" * 250_000,
    "levels of keys": "a: " + "{a: " * 60_000,
    "levels of indentation": "\n".join(" " * depth + "a:" for depth in range(700)),
    "a long key": "k" * 250_000 + ": 1",
    "a long number": "a: " + "9" * 250_000,
    "a long fraction": "a: " + "9" * 240_000 + ".5e999",
    "many values": f"a: [{'1,' * 120_000}]",
    "many keys": "\n".join(f"k{number}: 1" for number in range(25_000)),
    "a long text that never ends": 'a: "' + "x" * 250_000,
    "a megabyte": "a: " + "x" * 2**20,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_one_short_message(tmp_path: Path, bomb: str) -> None:
    message = _refusal(tmp_path, BOMBS[bomb])
    assert message.startswith("flights.yaml:")
    assert len(message) < 500


def test_all_bombs_together_take_less_than_50_mb(tmp_path: Path) -> None:
    for number, bomb in enumerate(BOMBS.values()):
        (tmp_path / f"{number}.yaml").write_text(bomb)
    program = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from continuous_training.core.errors import SpecError
        from continuous_training.strict_yaml import read
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused = 0
        for path in Path(sys.argv[1]).iterdir():
            try:
                read(path)
            except SpecError:
                refused += 1
        print(refused, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], check=True, capture_output=True, text=True, timeout=60
    )
    refused, growth = map(int, done.stdout.split())
    assert refused == len(BOMBS)
    assert growth / (1024 if sys.platform == "linux" else 1024**2) < 50
