"""The requests that pages show are answered by a real server with the options that they show."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from served_model import train

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PAGE = HOW_TO / "serve-a-model.md"
COMMANDS = re.findall(r"^\$ (.+)$", PAGE.read_text(), re.MULTILINE)
EXPLAINED = re.findall(
    r"^\$ (curl .+)\n```\n\n```text\n(.+)$", (HOW_TO / "explain-a-change.md").read_text(), re.MULTILINE
)


@pytest.fixture
def ports(tmp_path):
    """Start the page's server on free ports, and give the one that it got for each that the page names."""
    [serve] = [shlex.split(command) for command in COMMANDS if command.startswith("ct serve")]
    bundle = train(tmp_path / serve[2], 3)
    options = ["0" if option in {"8080", "9090"} else option for option in serve[3:]]
    command = [sys.executable, "-m", "continuous_training.cli", "serve", str(bundle), "--version", "7", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        try:
            while said.count("ready on") < 2:
                line = process.stderr.readline()
                assert line, said
                said += line
            found = {word: re.search(rf"{word} on \S+ port (\d+)", said)[1] for word in ("ready", "metrics")}
            yield {"8080": found["ready"], "9090": found["metrics"]}
        finally:
            process.terminate()
            process.wait(60)


def answered(command, ports):
    told = re.sub(r"localhost:(\d+)", lambda found: f"localhost:{ports[found[1]]}", command)
    return subprocess.run(shlex.split(told), capture_output=True, text=True, timeout=60, check=True).stdout


def rounded(told):
    """Return an answer with its numbers as a page shows them."""
    if isinstance(told, dict):
        return {name: rounded(value) for name, value in told.items()}
    if isinstance(told, list):
        return [rounded(value) for value in told]
    return round(told, 2) if isinstance(told, float) else told


def test_the_requests_of_the_page_are_answered(ports):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    asked = [command for command in COMMANDS if command.startswith("curl")]
    assert len(asked) == 5
    answers = [answered(command, ports) for command in asked]
    assert len(EXPLAINED) == 2
    for command, shown in EXPLAINED:
        assert rounded(json.loads(answered(command, ports))) == rounded(json.loads(shown))
    rows, metadata, inference, contributions, metrics = answers
    assert set(json.loads(rows)) == {"predictions"}
    assert json.loads(metadata)["versions"] == ["7"]
    assert json.loads(inference)["id"] == "order-17"
    assert json.loads(contributions)["contributions"]["columns"] == ["distance", "wind", "carrier"]
    named = set(re.findall(r"`(ct_\w+)`", PAGE.read_text()))
    assert len(named) > 8
    assert not [name for name in named - {"ct_server_model_age_seconds"} if name not in metrics]
