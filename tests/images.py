"""The project's images, built for real, each once for all tests."""

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
def built(plane: str) -> str:
    """Build `docker/<plane>.Dockerfile` and return the image's name; skip the test where there is no engine."""
    need_engine()
    image = f"continuous-training-{plane}:test"
    build = ["docker", "build", "-q", "-f", f"docker/{plane}.Dockerfile", "--build-arg", f"BASE_IMAGE={BASE_IMAGE}"]
    done = subprocess.run([*build, "-t", image, "."], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return image
