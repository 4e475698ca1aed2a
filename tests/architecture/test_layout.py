"""The shape of the repository and of what is shipped."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "include" / "continuous_training"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_MODULE_LINES, MOST_FUNCTION_LINES, MOST_METHODS = 400, 40, 12


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_stays_within_its_budget(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_MODULE_LINES
    tree = ast.parse(text)
    for function in functions(tree):
        documented = len((ast.get_docstring(function, clean=False) or "").splitlines())
        assert function.end_lineno - function.lineno + 1 - documented <= MOST_FUNCTION_LINES, function.name
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            public = [item for item in node.body if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")]
            assert len(public) <= MOST_METHODS, node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_nobody_imports_the_package_through_its_folder() -> None:
    for path in ROOT.glob("**/*.py"):
        if ".venv" not in path.parts and path != Path(__file__):
            text = path.read_text()
            assert "from include" not in text, path
            assert "import include" not in text, path


def test_the_top_level_is_what_users_were_told() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {line.split("/")[0] for line in listed} == {
        ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "benchmarks",
        "changelog.d", "dags", "deploy", "docker", "docker-compose.yaml", "docs", "include", "plugins", "pyproject.toml", "requirements.txt", "setup.py",
        "tests",
    }  # fmt: skip


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    # The build must not leave anything behind in the checkout.
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('dist')"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = (source / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    files = [*MODULES, PACKAGE / "py.typed", *(PACKAGE / "ui" / "static").iterdir()]
    packaged = {str(path.relative_to(ROOT / "include")) for path in files}
    assert {name for name in names if ".dist-info/" not in name} == packaged


def pins(file: str) -> set[str]:
    return {line.split(" ")[0] for line in (ROOT / file).read_text().splitlines() if "==" in line}


def test_the_images_have_the_pins_of_the_whole():
    assert pins("docker/work.txt") < pins("docker/control-with-work.txt") < pins("requirements.txt")
    assert pins("docker/control.txt") < pins("docker/control-with-work.txt")
    assert pins("docker/serve.txt") < pins("requirements.txt")
    assert not [pin for pin in pins("docker/work.txt") | pins("docker/serve.txt") if "airflow" in pin]
    learning = (
        "scikit-learn",
        "lightgbm",
        "scipy",
        "mlflow==",
        "great-expectations",
        "alibi",
        "optuna",
        "skops",
        "numba",
    )
    assert not [pin for pin in pins("docker/control.txt") if pin.startswith(learning)]
