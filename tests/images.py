"""Images that tests build for real, each once: the engine keeps the layers."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE_IMAGE = os.environ.get("CT_TEST_BASE_IMAGE", "python:3.11-slim-bookworm")
USER = 10001


def need_engine() -> None:
    """Skip the test where there is no Docker engine."""
    if "DOCKER_HOST" not in os.environ or shutil.which("docker") is None:
        pytest.skip("no Docker engine: DOCKER_HOST is not set")


@functools.cache
def built(name: str, *options: str, context: Path = ROOT) -> str:
    """Build an image and return its tag; skip where there is no engine."""
    need_engine()
    tag = f"continuous-training-{name}:test"
    command = ["docker", "build", "-q", "--build-arg", f"BASE_IMAGE={BASE_IMAGE}", *options, "-t", tag, "."]
    done = subprocess.run(command, cwd=context, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return tag


def work() -> str:
    return built("work", "-f", "docker/work.Dockerfile")


def serve() -> str:
    return built("serve", "-f", "docker/serve.Dockerfile")


def control() -> str:
    return built("control", "-f", "docker/control.Dockerfile", "--target", "control")


def control_with_work() -> str:
    return built("control-with-work", "-f", "docker/control.Dockerfile", "--target", "control-with-work")


def postgres() -> str:
    return built("postgres", context=ROOT / "tests" / "docker" / "postgres")
