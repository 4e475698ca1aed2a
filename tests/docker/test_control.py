"""The image of the control plane plans and promotes without any machine learning in it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import images
import small_deployment
from continuous_training.core.run import Run
from continuous_training.steps import TRAIN_STEPS

pytestmark = pytest.mark.docker

MACHINE_LEARNING = ("sklearn", "lightgbm", "scipy", "alibi_detect", "great_expectations", "optuna", "skops", "numba")
CONFINED = [
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--network",
    "none",
]
LOOK = f"""
import importlib.util, os
print([name for name in {MACHINE_LEARNING} if importlib.util.find_spec(name)], os.getuid())
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    mask = os.umask(0)  # the container is user 10001, this test is another
    folder.mkdir()
    yield folder
    os.umask(mask)


def within(home: Path, *command: str, **environment: str) -> str:
    told = [word for name, value in environment.items() for word in ("-e", f"{name}={value}")]
    place = ["-v", f"{home}:{home}", "-e", f"CT_HOME={home}", "-e", f"HOME={home}"]
    whole = ["docker", "run", "--rm", *CONFINED, *place, *told, images.control(), *command]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_control_image_plans_and_promotes_without_machine_learning(home: Path) -> None:
    assert within(home, "python", "-c", LOOK).strip() == "[] 10001"
    deployment = small_deployment.Deployment(home)
    deployment.land(45)
    spec = small_deployment.spec()

    def step(name: str, **told: str) -> Any:
        return json.loads(within(home, "ct", "step", name, CT_SPEC=spec.model_dump_json(), **told))["facts"]

    run = Run.model_validate(step("plan", CT_REQUEST='{"kind": "train"}')["run"])
    deployment.steps(spec, run, *TRAIN_STEPS[:5])
    assert step("promote", CT_RUN=run.model_dump_json())["outcome"] == "promoted"
    assert deployment.ledger.champion("m").fence == 1
