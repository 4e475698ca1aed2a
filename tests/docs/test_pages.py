"""What the pages say is run: model files load, commands parse, links lead somewhere, the reference is fresh."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from continuous_training import cli
from continuous_training.spec import load_spec
from continuous_training.suites import load_suite

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def blocks(language: str) -> list[tuple[Path, str]]:
    return [
        (page, "\n".join(line.removeprefix(indent) for line in body.splitlines()) + "\n")
        for page in PAGES
        for indent, found, body in FENCE.findall(page.read_text())
        if found == language
    ]


def commands() -> list[tuple[Path, list[str]]]:
    lines = [(page, line) for page, body in blocks("console") for line in body.splitlines() if line.startswith("$ ")]
    return [(page, shlex.split(line.removeprefix("$ "), comments=True)) for page, line in lines]


def numbered(found: list[tuple[Path, object]]) -> list[object]:
    return [pytest.param(page, item, id=f"{page.name}-{number}") for number, (page, item) in enumerate(found)]


@pytest.mark.parametrize(("page", "text"), numbered(blocks("yaml")))
def test_a_yaml_block_is_a_model_file_or_a_suite(page: Path, text: str, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "expectations").symlink_to(ROOT / "include" / "expectations")
    name = re.search(r"^model: (\w+)$", text, re.MULTILINE)
    place = tmp_path / "models" / f"{name[1] if name else 'suite'}.yaml"
    place.write_text(text)
    if name:
        assert load_spec(place).model == name[1]
    else:
        suite = load_suite(place)
        assert suite.critical or suite.warning


@pytest.mark.parametrize(("page", "command"), numbered(commands()))
def test_a_command_on_a_page_is_one_there_is(page: Path, command: list[str]) -> None:
    program = next(word for word in command if "=" not in word)
    if program == "ct":
        arguments = command[command.index("ct") + 1 :]
        until = next((place for place, word in enumerate(arguments) if word in {">", "|"}), len(arguments))
        assert cli._parser().parse_args(arguments[:until]).command == arguments[0]
    elif program == "make":
        target = command[command.index("make") + 1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        assert program in {"cp", "docker", "pip", "airflow", "git", "kubectl", "cd"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_file(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.provider
def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, "docs/build.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: make docs"
