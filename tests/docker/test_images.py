"""The server's image, alone and with a model on it, run by a real engine as little allowed as can be."""

import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import images
from continuous_training.deployers.base import Release
from continuous_training.deployers.golden import golden_problem
from continuous_training.packages import Contents, write_package
from continuous_training.storage import folder_digest
from continuous_training.trainers import LightGBM, Sklearn
from continuous_training.trainers.bundle import load_bundle
from images import USER
from served_model import FEATURES, MODEL, ask, make_rows, records, train

pytestmark = pytest.mark.docker

CONFINED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "bridge"]
READY_SECONDS = 120


def docker(*arguments):
    done = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def running(image, *arguments, mounts):
    """Give a container and its URL; it may not be ready yet."""
    volumes = [word for place, path in mounts.items() for word in ("-v", f"{path}:{place}:ro")]
    container = docker("run", "-d", *CONFINED, "-p", "127.0.0.1::8080", *volumes, image, *arguments)
    try:
        yield container, f"http://{docker('port', container, '8080')}"
    finally:
        docker("rm", "-f", container)


def wait_until(condition, container):
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        alive = docker("inspect", "-f", "{{.State.Running}}", container) == "true"
        if not alive or time.monotonic() > deadline:
            pytest.fail(f"the container is not what was waited for\n{logs(container)}")
        time.sleep(0.1)


def logs(container):
    return subprocess.run(
        ["docker", "logs", container], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout


def ready(url):
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("trainer", [LightGBM(rounds=20), Sklearn(estimator="LogisticRegression")], ids=["lightgbm", "sklearn"])  # fmt: skip
def test_the_image_serves_a_bundle_as_trained_with_a_read_only_root_and_no_rights(tmp_path, trainer):
    bundle = train(tmp_path / "bundle", 3, trainer)
    rows = make_rows(50)
    expected = load_bundle(bundle).answer({name: rows[name] for name in FEATURES.columns})
    with running(images.serve(), "/model", mounts={"/model": bundle}) as (container, url):
        wait_until(lambda: ready(url), container)
        assert golden_problem(bundle, httpx.URL(url).port) == ""
        assert ask(url, records(rows)).json()["predictions"] == pytest.approx(expected, rel=0, abs=1e-9)
        told = docker(
            "exec", container, "python", "-c",
            "import importlib.util as u, json; print(json.dumps({'status': open('/proc/1/status').read(), 'found': [name "
            "for name in ('airflow', 'mlflow', 'pandas', 'great_expectations', 'pip') if u.find_spec(name)]}))",
        )  # fmt: skip
        seen = json.loads(told)
        assert seen["found"] == []
        status = dict(line.split(":\t", 1) for line in seen["status"].splitlines() if ":\t" in line)
        assert status["Uid"].split() == [str(USER)] * 4
        assert int(status["CapEff"], 16) == 0
        wait_until(
            lambda: docker("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy", container
        )  # the image's own check
        docker("stop", "--time", "60", container)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", container) == "0"


def test_a_signed_package_is_loaded_and_run_by_the_engine_and_refused_under_another_key(tmp_path):
    bundle = train(tmp_path / "bundle", 3)
    digest = folder_digest(bundle, [path.name for path in bundle.iterdir()])
    release = Release(model=MODEL, version="7", fence=9, bundle=digest)
    for name in ("mine", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
    contents = Contents(release=release, created=datetime(2024, 3, 1, tzinfo=UTC), facts={})
    with tempfile.TemporaryDirectory() as folder:
        layout, archive, package = (Path(folder) / name for name in ("layout", "base.tar", "package.tar"))
        docker("save", "-o", archive, images.serve())
        write_package(bundle, contents, layout, base=archive, private_key=tmp_path / "mine")
        archive.unlink()
        subprocess.run(["tar", "-C", layout, "-cf", package, "."], check=True)
        shutil.rmtree(layout)
        assert f"{MODEL}:7" in docker("load", "-i", package)
    try:
        keys = {f"/keys/{name}": tmp_path / name for name in ("mine.pub", "other.pub")}
        with running(f"{MODEL}:7", "--public-key", "/keys/mine.pub", mounts=keys) as (container, url):
            wait_until(lambda: ready(url), container)
            told = {"model": MODEL, "version": "7", "fence": 9, "bundle": digest}
            assert httpx.get(f"{url}/version").json() == told
            assert golden_problem(bundle, httpx.URL(url).port) == ""
        with running(f"{MODEL}:7", "--public-key", "/keys/other.pub", mounts=keys) as (container, _):
            assert docker("wait", container) == "1"
            assert "another key signed them" in logs(container)
    finally:
        docker("rmi", f"{MODEL}:7")
