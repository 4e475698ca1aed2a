"""Stored bytes come back as they were written, or not at all; a finished step is seen whole or not at all."""

import errno
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.errors import ArtefactCorrupt, StoreUnavailable
from continuous_training.storage import Store

KEY = "a" * 64
ABSENT = "0" * 64
ROWS = bytes(range(256)) * 40


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give an empty store on a disk, and one that is not a disk."""
    if request.param == "local":
        yield Store(str(tmp_path / "store"))
        return
    url = f"memory://{uuid.uuid4().hex}"
    yield Store(url)
    file_system = fsspec.filesystem("memory")
    if file_system.exists(url):
        file_system.rm(url, recursive=True)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def overwrite(store: Store, digest: str, data: bytes) -> None:
    """Change stored bytes behind the store's back."""
    fsspec.filesystem("file" if "://" not in store.url else "memory").pipe_file(store.object_path(digest), data)


def files(folder: Path) -> list[str]:
    """Return the names of all files below `folder`."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("data", [b"", b"rows", ROWS], ids=["nothing", "little", "more"])
def test_bytes_come_back_by_their_digest(store: Store, tmp_path: Path, data: bytes) -> None:
    digest = store.put(data)
    assert store.has(digest)
    assert store.get(digest) == data
    assert store.fetch(digest, tmp_path / "cache").read_bytes() == data


def test_a_file_and_its_bytes_are_the_same_object(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    source.write_bytes(ROWS)
    digest = store.put_file(source)
    assert digest == store.put(ROWS) == store.put_file(source)
    assert store.get(digest) == ROWS
    assert source.exists()


def test_an_object_of_a_local_store_is_fetched_without_a_copy(local: Store, tmp_path: Path) -> None:
    digest = local.put(ROWS)
    assert str(local.fetch(digest, tmp_path / "cache")) == local.object_path(digest)
    assert not (tmp_path / "cache").exists()


@given(contents=st.dictionaries(st.from_regex(r"\A[a-z][\w.-]{0,12}\Z"), st.binary(max_size=50), max_size=4))
def test_a_folder_comes_back_file_by_file(tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]) -> None:
    store = Store(f"memory://{uuid.uuid4().hex}")
    folder = store.fetch_folder(store.put_folder(contents), tmp_path_factory.mktemp("bundles"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


def test_the_digest_of_a_folder_depends_on_names_and_bytes_not_on_their_order(store: Store) -> None:
    digest = store.put_folder({"a": b"1", "b": b"2"})
    assert store.put_folder({"b": b"2", "a": b"1"}) == digest
    assert store.put_folder({"a": b"2", "b": b"1"}) != digest
    assert store.put_folder({"a": b"1", "c": b"2"}) != digest


def test_a_fetched_folder_that_was_damaged_is_repaired(store: Store, tmp_path: Path) -> None:
    digest = store.put_folder({"model.txt": b"trees", "manifest.json": b"{}"})
    folder = store.fetch_folder(digest, tmp_path)
    (folder / "model.txt").write_bytes(b"tree")
    (folder / "manifest.json").unlink()
    assert store.fetch_folder(digest, tmp_path) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "model.txt": b"trees",
        "manifest.json": b"{}",
    }


@pytest.mark.parametrize("name", ["../escaped", "..", ".", "", "/etc/passwd", "a/b", "a\0b", ".hidden", "x" * 300])
def test_a_folder_listing_cannot_name_a_place_outside_the_folder(store: Store, tmp_path: Path, name: str) -> None:
    digest = store.put(json.dumps({name: store.put(b"bad")}).encode())
    with pytest.raises(ArtefactCorrupt, match="not a plain file name"):
        store.fetch_folder(digest, tmp_path / "cache" / "bundles")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not (tmp_path / "cache" / "escaped").exists()


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"trees", b"3", b"[1]", b"null"])
def test_an_object_that_lists_no_files_is_no_folder(store: Store, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ArtefactCorrupt, match="is not a list of files"):
        store.fetch_folder(store.put(data), tmp_path)


@pytest.mark.parametrize("position", [*range(0, 8 * len(ROWS), 8 * len(ROWS) // 23), 8 * len(ROWS) - 1])
def test_a_flipped_bit_is_noticed_wherever_it_is(store: Store, tmp_path: Path, position: int) -> None:
    digest = store.put(ROWS)
    damaged = bytearray(ROWS)
    damaged[position // 8] ^= 1 << position % 8
    overwrite(store, digest, bytes(damaged))
    for read in (lambda: store.get(digest), lambda: store.fetch(digest, tmp_path / "cache")):
        with pytest.raises(ArtefactCorrupt, match="holds other bytes than were written") as refusal:
            read()
        assert digest[:12] in str(refusal.value)


@pytest.mark.parametrize("length", [0, 1, len(ROWS) // 2, len(ROWS) - 1])
def test_a_truncated_object_is_noticed(store: Store, tmp_path: Path, length: int) -> None:
    digest = store.put(ROWS)
    overwrite(store, digest, ROWS[:length])
    with pytest.raises(ArtefactCorrupt, match="other bytes"):
        store.get(digest)
    with pytest.raises(ArtefactCorrupt, match="other bytes"):
        store.fetch(digest, tmp_path / "cache")


def test_a_missing_object_is_named_with_the_store_and_what_a_retry_does(store: Store, tmp_path: Path) -> None:
    for read in (
        lambda: store.get(ABSENT),
        lambda: store.fetch(ABSENT, tmp_path),
        lambda: store.fetch_folder(ABSENT, tmp_path),
    ):
        with pytest.raises(ArtefactCorrupt) as refusal:
            read()
        assert f"object 000000000000 is not in {store.url}" in str(refusal.value)
        assert "a retry will not find it" in str(refusal.value)
    assert not store.has(ABSENT)


@pytest.mark.parametrize("digest", ["", "abc", "../" * 22, "A" * 64, "g" * 64, "a" * 63 + "/", "a" * 65])
def test_only_a_digest_names_an_object(store: Store, tmp_path: Path, digest: str) -> None:
    for read in (
        lambda: store.get(digest),
        lambda: store.has(digest),
        lambda: store.fetch(digest, tmp_path),
        lambda: store.fetch_folder(digest, tmp_path),
        lambda: store.read_manifest(digest, "train"),
        lambda: store.write_manifest(digest, "train", {}),
    ):
        with pytest.raises(ArtefactCorrupt, match="is not a SHA-256 digest"):
            read()


def test_a_download_that_was_cut_off_is_fetched_again(tmp_path: Path) -> None:
    store = Store(f"memory://{uuid.uuid4().hex}")
    digest = store.put(ROWS)
    (tmp_path / digest).write_bytes(ROWS[:100])
    assert store.fetch(digest, tmp_path).read_bytes() == ROWS
    assert files(tmp_path) == [digest]


def test_a_download_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"memory://{uuid.uuid4().hex}")
    digest = store.put(ROWS)

    def cut(_self: object, _remote: str, local: str, **_: object) -> None:
        Path(local).write_bytes(ROWS[:10])
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(fsspec.implementations.memory.MemoryFileSystem, "get_file", cut)
        with pytest.raises(StoreUnavailable, match="reset by peer"):
            store.fetch(digest, tmp_path)
    assert files(tmp_path) == []
    assert store.fetch(digest, tmp_path).read_bytes() == ROWS


def test_a_manifest_is_none_until_it_is_written_and_the_last_one_stands(store: Store) -> None:
    assert store.read_manifest(KEY, "train") is None
    store.write_manifest(KEY, "train", {"outputs": {"bundle": ABSENT}, "facts": {"n": 1.5, "name": "Zürich"}})
    assert store.read_manifest(KEY, "train") == {"outputs": {"bundle": ABSENT}, "facts": {"n": 1.5, "name": "Zürich"}}
    assert store.read_manifest(KEY, "evaluate") is None
    assert store.read_manifest("b" * 64, "train") is None
    store.write_manifest(KEY, "train", {"outputs": {}})
    assert store.read_manifest(KEY, "train") == {"outputs": {}}


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"7", b"\xff\xfe"])
def test_a_manifest_that_is_no_json_object_is_named_and_may_be_deleted(store: Store, text: bytes) -> None:
    store.write_manifest(KEY, "train", {})
    path = store.object_path(KEY).replace("objects", "runs") + "/train.json"
    fsspec.filesystem("file" if "://" not in store.url else "memory").pipe_file(path, text)
    with pytest.raises(
        ArtefactCorrupt, match=f"manifest {KEY[:12]}/train in .* delete it, a retry then does the step again"
    ):
        store.read_manifest(KEY, "train")


def put(store: Store, folder: Path) -> None:
    store.put(ROWS)


def put_file(store: Store, folder: Path) -> None:
    store.put_file(folder / "source")


def write_manifest(store: Store, folder: Path) -> None:
    store.write_manifest(KEY, "train", {"rows": ROWS.hex()})


class Failing:
    """Let the number-th call of the file system's own functions fail, as a full or broken disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, error: int) -> None:
        self.calls = 0
        self.number = number
        self.error = error
        for module, name in (
            (os, "open"),
            (os, "fsync"),
            (os, "replace"),
            (os, "makedirs"),
            (os, "close"),
            (os, "stat"),
        ):
            monkeypatch.setattr(module, name, self.wrapped(getattr(module, name)))
        monkeypatch.setattr("builtins.open", self.wrapped(open))

    def wrapped(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.number:
                raise OSError(self.error, os.strerror(self.error))
            return function(*arguments, **named)

        return call


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("verb", [put, put_file, write_manifest])
def test_whatever_call_fails_readers_see_all_or_nothing_and_a_retry_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Store, Path], None], error: int
) -> None:
    (tmp_path / "source").write_bytes(ROWS)
    number, failed = 0, 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        store = Store(str(folder))
        with monkeypatch.context() as patch:
            failing = Failing(patch, number, error)
            try:
                verb(store, tmp_path)
            except StoreUnavailable as refusal:
                failed += 1
                assert str(folder) in str(refusal)
                assert "a retry continues from the last finished step" in str(refusal)
        assert all("." not in name.removesuffix(".json") for name in files(folder)), "a staged file is left"
        reader = Store(str(folder))
        for path in (folder / "objects").glob("*"):
            assert reader.get(path.name) == ROWS
        assert reader.read_manifest(KEY, "train") in (None, {"rows": ROWS.hex()})
        verb(store, tmp_path)
        if failing.calls < number:
            break
    assert failed >= 5


@pytest.mark.parametrize("verb", ["get", "has", "fetch", "read_manifest"])
def test_a_store_that_cannot_be_read_is_unavailable(
    local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    digest = local.put(ROWS)
    local.write_manifest(KEY, "train", {})
    arguments = {"get": (digest,), "has": (digest,), "fetch": (digest, tmp_path), "read_manifest": (KEY, "train")}[verb]
    number = 0
    while True:
        number += 1
        with monkeypatch.context() as patch:
            failing = Failing(patch, number, errno.EIO)
            try:
                getattr(local, verb)(*arguments)
            except StoreUnavailable as refusal:
                assert "Input/output error" in str(refusal)
        if failing.calls < number:
            break
    assert number > 1


def test_a_folder_that_cannot_be_written_is_unavailable(store: Store, tmp_path: Path) -> None:
    digest = store.put_folder({"a": b"1"})
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailable, match="check space, rights and network"):
        store.fetch_folder(digest, tmp_path / "cache")


WRITER = """
import resource, signal, sys
from continuous_training.storage import Store
store = Store(sys.argv[1])
store.put(b"small")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
for write in (lambda: store.put(b"x" * 9000), lambda: store.write_manifest("a" * 64, "train", {"x": "x" * 9000})):
    try:
        write()
    except Exception as error:
        print(type(error).__name__)
"""


def test_a_disk_that_is_full_in_the_middle_of_a_file_leaves_no_part_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    said = subprocess.run(
        [sys.executable, "-c", WRITER, str(folder)], capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == ["StoreUnavailable", "StoreUnavailable"]
    assert len(files(folder)) == 1
    assert Store(str(folder)).read_manifest(KEY, "train") is None


KILLED = """
import os, signal, sys
from continuous_training.storage import Store
store = Store(sys.argv[1])
real = os.fsync
def dies(descriptor):
    dies.left -= 1
    if dies.left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)
dies.left = int(sys.argv[2])
os.fsync = dies
store.write_manifest("a" * 64, "train", {"bundle": store.put(b"trees")})
print("written")
"""


def test_a_writer_killed_at_any_flush_leaves_no_manifest_without_its_object(tmp_path: Path) -> None:
    ended = []
    for flush in range(1, 6):
        folder = tmp_path / str(flush)
        command = [sys.executable, "-c", KILLED, str(folder), str(flush)]
        ended.append(subprocess.run(command, capture_output=True, text=True, check=False).returncode)
        store = Store(str(folder))
        manifest = store.read_manifest(KEY, "train")
        if manifest is not None:
            assert store.get(manifest["bundle"]) == b"trees"
        assert store.get(store.put(b"trees")) == b"trees"
    assert ended == [-signal.SIGKILL] * 4 + [0]


def test_putting_the_same_bytes_again_writes_nothing(
    local: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").write_bytes(ROWS)
    local.put(ROWS)

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(os, "replace", refuse)
    assert local.put_file(tmp_path / "source") == local.put(ROWS)


@pytest.mark.parametrize("verb", [put, put_file, write_manifest])
def test_a_name_appears_in_one_move_with_all_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Store, Path], None]
) -> None:
    (tmp_path / "source").write_bytes(ROWS)
    moved: list[tuple[bool, int, int]] = []
    replace = os.replace

    def watched(staged: str, path: str) -> None:
        before, size = Path(path).exists(), Path(staged).stat().st_size
        replace(staged, path)
        moved.append((before, size, Path(path).stat().st_size))

    monkeypatch.setattr(os, "replace", watched)
    verb(Store(str(tmp_path / "store")), tmp_path)
    ((before, staged, published),) = moved
    assert not before
    assert staged == published >= len(ROWS)
