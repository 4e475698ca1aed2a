"""Content under its digest, as `blobs/sha256/<digest>` of an OCI image layout."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import tempfile
import uuid
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from continuous_training.core.digest import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CHUNK = 2**20


class Blob(NamedTuple):
    """What refers to content."""

    media_type: str
    digest: str
    size: int

    def descriptor(self, **more: Any) -> dict[str, Any]:
        """Return it as OCI writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **more}

    @property
    def place(self) -> str:
        """Return its path inside the layout."""
        return f"blobs/{self.digest.replace(':', '/')}"


class Blobs:
    """The blobs of the layout in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "blobs" / "sha256").mkdir(parents=True)

    def path(self, blob: Blob) -> Path:
        """Return the file of a blob."""
        return self._root / blob.place

    def add(self, source: IO[bytes], media_type: str, expected: str | None = None) -> Blob:
        """Copy a stream; raise `ValueError` when its digest is not the expected one."""
        staged = self._root / "blobs" / "sha256" / f".{uuid.uuid4().hex}"
        hashed, size = hashlib.sha256(), 0
        with staged.open("wb") as file:
            while chunk := source.read(_CHUNK):
                hashed.update(chunk)
                size += file.write(chunk)
        blob = Blob(media_type, f"sha256:{hashed.hexdigest()}", size)
        if expected not in (None, blob.digest):
            msg = f"{expected} has the digest {blob.digest}"
            raise ValueError(msg)
        staged.replace(self.path(blob))
        return blob

    def add_json(self, value: object, media_type: str) -> Blob:
        """Store the canonical JSON of a value."""
        with tempfile.TemporaryFile() as file:
            file.write(canonical(value).encode())
            file.seek(0)
            return self.add(file, media_type)

    def add_layer(self, files: Sequence[Path], folder: str) -> tuple[Blob, str]:
        """Store a layer with `files` below `folder`, and return it with the digest of its tar; the same files, the same bytes."""
        with tempfile.TemporaryFile() as plain, tempfile.TemporaryFile() as zipped:
            with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                top = tarfile.TarInfo(folder)
                top.type, top.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(top)
                for path in sorted(files):
                    member = tarfile.TarInfo(f"{folder}/{path.name}")  # by default of root, and of 1970
                    member.size = path.stat().st_size
                    with path.open("rb") as file:
                        archive.addfile(member, file)
            plain.seek(0)
            diff = hashlib.file_digest(plain, "sha256").hexdigest()
            plain.seek(0)
            with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=zipped, mtime=0) as stream:
                shutil.copyfileobj(plain, stream)
            zipped.seek(0)
            return self.add(zipped, LAYER), f"sha256:{diff}"
