"""Everything a page shows is true: model files load, commands exist, Python runs, patches apply, links lead somewhere."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import monitors
from continuous_training import cli
from continuous_training.core import errors
from continuous_training.deployers.local import stop
from continuous_training.spec import ModelSpec, load_spec
from continuous_training.suites import load_suite

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"yaml", "python", "console", "diff", "text"}
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")  # addresses on the web have a colon: nobody fetches them here
ELSEWHERE = {
    "airflow",
    "cp",
    "curl",
    "dask",
    "docker",
    "export",
    "git",
    "grep",
    "helm",
    "kubectl",
    "openssl",
    "pip",
    "python",
    "sed",
    "tar",
}  # programs that are not ours
READ_ONLY = {"lint", "schema", "explain", "suggest-expectations", "history", "verify"}
SAID_NO = 3  # an answer of the gate, not an error


class Fence(NamedTuple):
    page: Path
    language: str
    text: str


def fences(page: Path) -> list[Fence]:
    found = FENCE.findall(page.read_text())
    return [
        Fence(page, language, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in found
    ]


FENCES = [fence for page in PAGES for fence in fences(page)]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def each(language: str) -> pytest.MarkDecorator:
    chosen = [fence for fence in FENCES if fence.language == language]
    return pytest.mark.parametrize(
        "fence", [pytest.param(fence, id=f"{named(fence.page)}-{number}") for number, fence in enumerate(chosen)]
    )


def commands(fence: Fence) -> list[str]:
    return [line.removeprefix("$ ") for line in fence.text.splitlines() if line.startswith("$ ")]


def words(command: str) -> list[str]:
    """Return a command without the variables before it and the redirection after it."""
    parts = shlex.split(command, comments=True)
    until = next((place for place, word in enumerate(parts) if word in {">", "|"}), len(parts))
    while "=" in parts[0]:
        parts, until = parts[1:], until - 1
    return parts[:until]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_of_a_page_says_its_language(page: Path) -> None:
    assert page.read_text().count("```") == 2 * len(fences(page))
    assert {fence.language for fence in fences(page)} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    prose = re.sub(r"`[^`\n]+`", "", FENCE.sub("", page.read_text()))
    for target, anchor in LINK.findall(prose):
        place = page.parent / target if target else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_troubleshooting_tells_of_every_error_its_exit_code_and_what_a_retry_does() -> None:
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text()
    told = re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\| (\d) \|$", page, re.MULTILINE)
    kinds = [*errors.Permanent.__subclasses__(), *errors.Transient.__subclasses__()]
    assert [(name, int(code)) for name, _, code in told] == [(kind.__name__, kind.exit_code) for kind in kinds]
    for kind, (_, retry, _) in zip(kinds, told, strict=True):
        assert ("Airflow retries twice" in retry) is issubclass(kind, errors.Transient), kind
        assert ("Airflow does not retry" in retry) is issubclass(kind, errors.Permanent), kind


@each("yaml")
def test_a_yaml_block_is_a_model_file_a_part_of_one_a_suite_a_manifest_or_prometheus_configuration(
    fence: Fence, tmp_path: Path
) -> None:
    content = yaml.safe_load(fence.text)
    if "apiVersion" in content:
        kubernetes_validate = pytest.importorskip("kubernetes_validate")
        for part in [content] if content["kind"] != "DaskCluster" else parts_of_dask(content["spec"]):
            kubernetes_validate.validate(part, kubernetes_validate.latest_version(), strict=True)
        return
    if {"groups", "scrape_configs"} & content.keys():
        (tmp_path / "prometheus.yml").write_text(fence.text)
        kind = "rules" if "groups" in content else "config"
        subprocess.run([monitors.program("promtool"), "check", kind, tmp_path / "prometheus.yml"], check=True)
        return
    shutil.copytree(ROOT / "include" / "expectations", tmp_path / "expectations")
    (tmp_path / "models").mkdir()
    if "model" in content:
        place = tmp_path / "models" / f"{content['model']}.yaml"
        place.write_text(fence.text)
        assert load_spec(place).model == content["model"]
    elif {"critical", "warning"} & content.keys():
        (tmp_path / "suite.yaml").write_text(fence.text)
        assert load_suite(tmp_path / "suite.yaml")
    else:
        assert content.keys() <= ModelSpec.model_fields.keys()
        if "median_shift" not in fence.text:  # exists where its own page is followed, below
            whole = yaml.safe_load((ROOT / "include" / "models" / "flight_delays.yaml").read_text())
            assert ModelSpec.model_validate({**whole, "expectations": None, **content})


def parts_of_dask(spec: dict) -> list[dict]:
    """Return the objects of Kubernetes' own that the Dask operator makes of a cluster."""
    pods = [spec["scheduler"]["spec"], spec["worker"]["spec"]]
    named = {"apiVersion": "v1", "metadata": {"name": "training"}}
    return [
        *({**named, "kind": "Pod", "spec": pod} for pod in pods),
        {**named, "kind": "Service", "spec": spec["scheduler"]["service"]},
    ]


@each("console")
def test_a_command_of_a_page_is_one_there_is(fence: Fence) -> None:
    assert commands(fence)
    for command in commands(fence):
        program, *arguments = words(command)
        if program == "ct":
            assert cli._parser().parse_args(arguments).command == arguments[0]
        elif program == "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        else:
            assert program in ELSEWHERE, command


def test_the_constraints_of_the_readme_are_all_pins_without_their_hashes(tmp_path: Path) -> None:
    # pip asks a hash of every package, ours too, as soon as a constraint has one
    [command] = [c for fence in FENCES if fence.language == "console" for c in commands(fence) if c.startswith("grep ")]
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    run(["bash", "-c", command], tmp_path)
    pinned = [line.split()[0] for line in (tmp_path / "requirements.txt").read_text().splitlines() if "==" in line]
    assert (tmp_path / "constraints.txt").read_text().splitlines() == pinned


@pytest.mark.provider
def test_the_operators_page_shows_what_the_example_does() -> None:
    example = (ROOT / "dags" / "example_operators.py").read_text()
    page = ROOT / "docs" / "how-to" / "use-operators-by-hand.md"
    pieces = [fence.text for fence in fences(page) if fence.language == "python"]
    assert [piece in example for piece in pieces] == [True, True, True, False]  # the last shows the ready-made DAGs


@pytest.mark.provider
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(fence.language == "python" for fence in fences(page))], ids=named
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    package = extended(page, tmp_path) if any(fence.language == "diff" for fence in fences(page)) else ROOT / "include"
    program = tmp_path / "page.py"
    program.write_text(
        "\n".join(fence.text for fence in fences(page) if fence.language == "python" and not told(fence))
    )
    run(
        [sys.executable, str(program)],
        tmp_path,
        AIRFLOW_HOME=str(tmp_path),
        PYTHONPATH=str(package),
        CT_MODELS=str(ROOT / "include" / "models"),
    )


def test_the_detector_of_its_page_passes_the_contract_of_all_detectors(tmp_path: Path) -> None:
    page = ROOT / "docs" / "how-to" / "add-a-detector.md"
    package = extended(page, tmp_path)
    [part] = [yaml.safe_load(fence.text) for fence in fences(page) if fence.language == "yaml"]
    model = yaml.safe_load((ROOT / "include" / "models" / "flight_delays.yaml").read_text())
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "flight_delays.yaml").write_text(yaml.safe_dump({**model, "expectations": None, **part}))
    here = {"PYTHONPATH": str(package), "CT_MODELS": str(tmp_path / "models")}
    run([sys.executable, "-m", "continuous_training.cli", "lint"], tmp_path, **here)
    contract = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/contracts/test_detectors.py",
        "-k",
        "MedianShift",
    ]
    assert " passed" in run([sys.executable, *contract], ROOT, **here)


def told(fence: Fence) -> str | None:
    """Return the file that a block says it is the content of."""
    first = re.match(r"(?:#|---) (include/\S+)\n", fence.text)
    return first[1] if first else None


def extended(page: Path, folder: Path) -> Path:
    """Return a copy of the package with the files that a page writes and the lines that it changes."""
    package = folder / "include"
    shutil.copytree(
        ROOT / "include" / "continuous_training",
        package / "continuous_training",
        ignore=shutil.ignore_patterns("*cache*"),
    )
    for fence in fences(page):
        if fence.language == "python" and told(fence):
            assert not (ROOT / told(fence)).exists(), "the page adds a file that there is by now"
            (folder / told(fence)).write_text(fence.text)
        elif fence.language == "diff":
            change(folder / told(fence), fence.text.splitlines()[1:])
    return package


def change(file: Path, lines: list[str]) -> None:
    """Replace each line that begins with `-` by the lines with `+` after it."""
    text = file.read_text()
    removed = [place for place, line in enumerate(lines) if line.startswith("-")]
    for place, following in zip(removed, [*removed[1:], len(lines)], strict=True):
        old = lines[place][1:] + "\n"
        assert text.count(old) == 1, f"{file.name} does not have the line {old!r}"
        text = text.replace(old, "".join(f"{line[1:]}\n" for line in lines[place + 1 : following]))
    file.write_text(text)


def run(command: list[str], folder: Path, **environment: str) -> str:
    ours = ("CT_", "MLFLOW_", "AIRFLOW")
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        command,
        env={**surroundings, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.e2e
def test_the_quickstart_and_the_pages_after_it_can_be_followed_word_for_word(tmp_path: Path) -> None:
    for part in ("include", "dags"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("*cache*", "*.egg-info"))
    # What `make install` makes; it and `make demo` have tests of their own.
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    quickstart = ROOT / "docs" / "quickstart.md"
    steps = [c for fence in fences(quickstart) if fence.language == "console" for c in commands(fence)]
    steps = [step for step in steps if words(step)[0] != "make"]
    try:
        said = run(["bash", "-c", script(steps)], tmp_path)
    finally:
        served = stop("my_model", tmp_path / ".ct")
    assert "my_model.yaml: ok" in said
    assert "promoted: " in said
    assert "CHAMPIONS" in said
    assert served

    for page in PAGES:
        for fence in fences(page):
            if fence.language == "yaml" and fence.text.startswith("model: "):
                name = fence.text.split()[1]
                (tmp_path / "include" / "models" / f"{name}.yaml").write_text(fence.text)
    later = {c for page in PAGES if page != quickstart for fence in fences(page) for c in safe(fence)}
    run(["bash", "-c", script(sorted(later))], tmp_path, PATH=f"{tmp_path}/.venv/bin:{os.environ['PATH']}")


def safe(fence: Fence) -> list[str]:
    """Return the commands that only read, but for those that need a history of the flights: the story has one."""
    found = commands(fence) if fence.language == "console" else []
    ours = [command for command in found if words(command)[0] == "ct" and words(command)[1] in READ_ONLY]
    return [command for command in ours if "--window" not in words(command)]


def script(steps: list[str]) -> str:
    """Run the steps one after another; only the gate's no is not a failure."""
    return "\n".join(f"{step}\ncode=$?; [ $code = 0 ] || [ $code = {SAID_NO} ] || exit $code" for step in steps)
