"""Size and start time of the project's images that are in the Docker engine: `make bench` builds none.

A start is the time from `docker run` to the answer that says the container does its work: for the server, that it is ready
with a model of 20 trees; for the work steps, that the command has said its help. The image is in the engine already.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from served_model import train

STARTS = 5
GIVE_UP_SECONDS = 120
CONFINED = ["--read-only", "--cap-drop", "ALL"]
IMAGES = {"work": "continuous-training-work", "serve": "continuous-training-serve"}


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def names(repository: str) -> list[str]:
    return docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository).split()


def work_start(image: str, _: Path) -> float:
    began = time.perf_counter()
    docker("run", "--rm", *CONFINED, image, "--help")
    return time.perf_counter() - began


def serve_start(image: str, bundle: Path) -> float:
    began = time.perf_counter()
    container = docker("run", "-d", *CONFINED, "-p", "127.0.0.1::8080", "-v", f"{bundle}:/model:ro", image, "/model")
    try:
        url = f"http://{docker('port', container, '8080')}/v2/health/ready"
        while not answers(url):
            if time.perf_counter() - began > GIVE_UP_SECONDS:
                raise TimeoutError(docker("logs", container))
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        docker("rm", "-f", container)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def main() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        print("images: no Docker engine answers, so nothing was measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        bundle = train(Path(folder) / "bundle", 3)
        for plane, start in (("work", work_start), ("serve", serve_start)):
            found = names(IMAGES[plane])
            if not found:
                print(f"images: there is no {IMAGES[plane]}, build it with docker/{plane}.Dockerfile")
                continue
            seconds = statistics.median(start(found[0], bundle) for _ in range(STARTS))
            size = json.loads(docker("image", "inspect", found[0]))[0]["Size"]
            print(f"{plane:<6} {found[0]:<36} {size / 1e6:6.0f} MB   start {seconds:5.2f} s (median of {STARTS})")


if __name__ == "__main__":
    main()
