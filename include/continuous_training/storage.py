"""Artefacts by content: `objects/<sha256>` hold bytes, `runs/<key>/<step>.json` says what a finished step made.

A manifest is written last and in one move, so a reader sees a finished step or none. Every read is checked against its
digest. Any fsspec URL works; on a local disk files are written beside their place, flushed and renamed.
"""

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from continuous_training.core.errors import ArtefactCorrupt, StoreUnavailable

_FILE_NAME = re.compile(r"\w[\w.-]{0,254}")


class Store:
    """Content-addressed objects and step manifests under one URL.

    Parameters
    ----------
    url:
        A folder, or any fsspec URL (`s3://bucket/prefix`).

    Examples
    --------
    >>> store = Store("memory://example")
    >>> digest = store.put(b"rows")
    >>> store.get(digest)
    b'rows'
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url
        self._fs, self._root = url_to_fs(url)
        self._local = "file" in self._fs.protocol

    def put(self, data: bytes) -> str:
        """Store `data` and return its digest; storing the same bytes again changes nothing."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._object(digest)
        with _store_errors(self.url):
            if not self._fs.exists(path):
                self._write(path, data)
        return digest

    def put_file(self, source: Path) -> str:
        """Store the file `source` without reading it into memory and return its digest."""
        digest = _file_digest(source)
        path = self._object(digest)
        with _store_errors(self.url):
            if not self._fs.exists(path):
                with self._published(path) as staged:
                    self._fs.put_file(str(source), staged)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes of `digest`; refuse bytes that differ from it."""
        with _store_errors(self.url):
            try:
                data: bytes = self._fs.cat_file(self._object(digest))
            except FileNotFoundError as error:
                raise _missing(digest, self.url) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise _corrupt(digest, self.url)
        return data

    def fetch(self, digest: str, folder: Path) -> Path:
        """Return a local file with the bytes of `digest`: the object itself on a local disk, else a copy in `folder`."""
        with _store_errors(self.url):
            path = Path(self._object(digest)) if self._local else folder / _hexadecimal(digest)
            if self._local and not path.exists():
                raise _missing(digest, self.url)
            if _holds(path, digest):
                return path
            if not self._local:
                self._copy(digest, path)
                if _holds(path, digest):
                    return path
        raise _corrupt(digest, self.url)

    def put_folder(self, files: dict[str, bytes]) -> str:
        """Store named files and return the digest that stands for all of them: that of the object that lists them."""
        return self.put(_list_files({name: self.put(data) for name, data in files.items()}))

    def fetch_folder(self, digest: str, folder: Path) -> Path:
        """Return the folder `folder/<digest>` with the files that `put_folder` stored, each checked."""
        listing = _listing(self.get(digest), digest)
        target = folder / digest
        with _store_errors(self.url):
            target.mkdir(parents=True, exist_ok=True)
            for name, part in listing.items():
                if not _holds(target / name, part):
                    with _staged(target / name) as staged:
                        staged.write_bytes(self.get(part))
        return target

    def has(self, digest: str) -> bool:
        """Tell whether an object is stored."""
        with _store_errors(self.url):
            return bool(self._fs.exists(self._object(digest)))

    def write_manifest(self, key: str, step: str, manifest: dict[str, Any]) -> None:
        """Publish the manifest of a finished step; call it after its objects were put."""
        with _store_errors(self.url):
            self._write(self._manifest(key, step), json.dumps(manifest, sort_keys=True, indent=1).encode())

    def read_manifest(self, key: str, step: str) -> dict[str, Any] | None:
        """Return the manifest of a step, or `None` when that step has not finished."""
        with _store_errors(self.url):
            try:
                text = self._fs.cat_file(self._manifest(key, step))
            except FileNotFoundError:
                return None
        try:
            manifest: dict[str, Any] = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            msg = f"manifest {key[:12]}/{step} in {self.url} is not a JSON object; delete it, a retry then does the step again"
            raise ArtefactCorrupt(msg) from error
        return manifest

    def object_path(self, digest: str) -> str:
        """Return the path of an object inside the store's file system, for people who want to open it."""
        return self._object(digest)

    def _object(self, digest: str) -> str:
        return f"{self._root}/objects/{_hexadecimal(digest)}"

    def _manifest(self, key: str, step: str) -> str:
        return f"{self._root}/runs/{_hexadecimal(key)}/{step}.json"

    def _write(self, path: str, data: bytes) -> None:
        with self._published(path) as staged, self._fs.open(staged, "wb") as file:
            file.write(data)

    def _copy(self, digest: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _staged(path) as staged:
            try:
                self._fs.get_file(self._object(digest), str(staged))
            except FileNotFoundError as error:
                raise _missing(digest, self.url) from error

    @contextlib.contextmanager
    def _published(self, path: str) -> Iterator[str]:
        """Give a name to write to, and publish it as `path` in one move when that went well."""
        staged = f"{path}.{uuid.uuid4().hex}"
        self._fs.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            yield staged
            self._publish(staged, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.rm_file(staged)
            raise

    def _publish(self, staged: str, path: str) -> None:
        if not self._local:
            self._fs.mv(staged, path)  # object stores publish a key only when it is complete
            return
        with open(staged, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(staged, path)
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)  # the name itself must survive a crash, not only the bytes
        finally:
            os.close(folder)


def folder_digest(folder: Path, names: Iterable[str]) -> str:
    """Return the digest that `put_folder` gives those files of `folder`."""
    return hashlib.sha256(_list_files({name: _file_digest(folder / name) for name in names})).hexdigest()


def _list_files(digests: dict[str, str]) -> bytes:
    return json.dumps(digests, sort_keys=True).encode()


def _hexadecimal(digest: str) -> str:
    if len(digest) != hashlib.sha256().digest_size * 2 or set(digest) - set("0123456789abcdef"):
        msg = f"{digest!r} is not a SHA-256 digest of 64 lower-case hexadecimal digits"
        raise ArtefactCorrupt(msg)
    return digest


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holds(path: Path, digest: str) -> bool:
    return path.exists() and _file_digest(path) == digest


@contextlib.contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """Give a name to write to beside `path`, and move it there when that went well: a half copy is never found again."""
    staged = path.with_name(f".{uuid.uuid4().hex}")
    try:
        yield staged
        staged.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
        raise


def _listing(data: bytes, digest: str) -> dict[str, str]:
    try:
        names: dict[str, str] = dict(json.loads(data))
        strange = [name for name in names if not _FILE_NAME.fullmatch(name)]
    except (ValueError, TypeError) as error:
        msg = f"object {digest[:12]} is not a list of files; name the digest that put_folder returned; a retry reads the same"
        raise ArtefactCorrupt(msg) from error
    if strange:
        msg = f"object {digest[:12]} lists {strange[0]!r}, which is not a plain file name; a retry reads the same"
        raise ArtefactCorrupt(msg)
    return names


def _missing(digest: str, url: str) -> ArtefactCorrupt:
    return ArtefactCorrupt(
        f"object {digest[:12]} is not in {url}; it was deleted or written elsewhere; a retry will not find it"
    )


def _corrupt(digest: str, url: str) -> ArtefactCorrupt:
    return ArtefactCorrupt(
        f"object {digest[:12]} in {url} holds other bytes than were written; restore it from a backup; a retry reads the same bytes"
    )


@contextlib.contextmanager
def _store_errors(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"artefact store {url} failed ({error}); check space, rights and network; a retry continues from the last finished step"
        raise StoreUnavailable(msg) from error
