"""The reference pages are what the code says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.provider  # the operators' page imports Airflow


def build(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Another terminal and another working folder must not change a page.
    return subprocess.run(
        [sys.executable, str(folder / "build.py"), *arguments],
        env={**os.environ, "COLUMNS": "40", "CT_LEDGER": "sqlite:////elsewhere.db"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_committed_reference_is_what_the_code_says() -> None:
    checked = build(ROOT / "docs", "--check")
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}"


def test_a_changed_and_a_forgotten_page_are_found_and_put_right(tmp_path: Path) -> None:
    (tmp_path / "build.py").symlink_to(ROOT / "docs" / "build.py")
    (tmp_path / "reference").mkdir()
    for page in (ROOT / "docs" / "reference").iterdir():
        (tmp_path / "reference" / page.name).write_text(page.read_text())
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "examples")
    (tmp_path / "examples" / "model-card.html").write_text("old")
    (tmp_path / "reference" / "cli.md").write_text("old")
    (tmp_path / "reference" / "gone.md").write_text("old")
    checked = build(tmp_path, "--check")
    assert checked.returncode == 1
    assert {line.split()[0] for line in checked.stdout.splitlines()} == {
        "docs/examples/model-card.html",
        "docs/reference/cli.md",
        "docs/reference/gone.md",
    }
    assert (tmp_path / "reference" / "cli.md").read_text() == "old"
    assert build(tmp_path).returncode == 0
    assert not (tmp_path / "reference" / "gone.md").exists()
    assert (tmp_path / "reference" / "cli.md").read_text() == (ROOT / "docs" / "reference" / "cli.md").read_text()
