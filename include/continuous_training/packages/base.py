"""The image a package is put on top of: a docker-archive (`docker save`) or an OCI image layout, as a folder or a tar file."""

from __future__ import annotations

import json
import tarfile
from contextlib import contextmanager
from email.parser import Parser
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from continuous_training.core.errors import UsageError
from continuous_training.packages.bill import library, system_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from continuous_training.packages.bill import Component
    from continuous_training.packages.blobs import Blob, Blobs

MEDIA_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}
TAR = "application/vnd.oci.image.layer.v1.tar"
KEPT = ("architecture", "os", "variant", "author", "config", "rootfs", "history")
"""What an image's configuration keeps; engines add traces of how they built it."""


class Base(NamedTuple):
    """An image whose layers were copied."""

    config: dict[str, Any]
    layers: list[Blob]
    components: list[Component]
    """Python distributions and system packages found in it."""


def read_base(path: Path, blobs: Blobs) -> Base:
    """Copy the layers of the one image in `path` to `blobs`.

    Raises
    ------
    UsageError
        The file holds no image or several, or a layer is not what its digest says.
    """
    try:
        with _opened(path) as source:
            config, layers = _read(source, blobs)
        components = [part for layer in layers for part in _components(blobs.path(layer))]
        return Base({name: config[name] for name in KEPT if name in config}, layers, components)
    except (OSError, KeyError, TypeError, ValueError, tarfile.TarError) as error:
        msg = (
            f"{path} holds no image that can be used ({type(error).__name__}: {error}); name one image, written by `docker save` "
            "or as an OCI image layout; a retry gives the same"
        )
        raise UsageError(msg) from error


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    if path.is_dir():
        root = path.resolve()

        def from_folder(name: str) -> IO[bytes]:
            place = (root / name).resolve()
            if not place.is_relative_to(root):
                msg = f"{name!r} lies outside"
                raise ValueError(msg)
            return place.open("rb")

        yield from_folder
        return
    with tarfile.open(path) as archive:

        def from_archive(name: str) -> IO[bytes]:
            file = archive.extractfile(name)
            if file is None:
                raise KeyError(name)
            return file

        yield from_archive


def _read(source: Callable[[str], IO[bytes]], blobs: Blobs) -> tuple[dict[str, Any], list[Blob]]:
    try:
        (image,) = _json(source, "manifest.json")
    except (FileNotFoundError, KeyError):
        return _read_layout(source, blobs)
    config = _json(source, image["Config"])
    layers = []
    for name, diff in zip(image["Layers"], config["rootfs"]["diff_ids"], strict=True):
        with source(name) as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            layers.append(blobs.add(file, f"{TAR}+gzip" if zipped else TAR, expected=None if zipped else diff))
    return config, layers


def _read_layout(source: Callable[[str], IO[bytes]], blobs: Blobs) -> tuple[dict[str, Any], list[Blob]]:
    index = _json(source, "index.json")
    while "manifests" in index:  # an image built for several platforms is an index in an index
        images = [each for each in index["manifests"] if each.get("platform", {}).get("os") != "unknown"]
        (image,) = images  # what is for no platform are attestations
        index = _json(source, _place(image["digest"]))
    layers = []
    for layer in index["layers"]:
        with source(_place(layer["digest"])) as file:
            media_type = MEDIA_TYPES.get(layer["mediaType"], layer["mediaType"])
            layers.append(blobs.add(file, media_type, expected=layer["digest"]))
    return _json(source, _place(index["config"]["digest"])), layers


def _json(source: Callable[[str], IO[bytes]], name: str) -> Any:
    with source(name) as file:
        return json.load(file)


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _components(layer: Path) -> Iterator[Component]:
    with tarfile.open(layer) as archive:
        for member in archive:
            distribution = member.name.endswith(".dist-info/METADATA")
            if not distribution and member.name.removeprefix("./") != "var/lib/dpkg/status":
                continue
            file = archive.extractfile(member)
            text = file.read().decode(errors="replace") if file else ""
            if distribution:
                yield library(Parser().parsestr(text))
            else:
                yield from system_packages(text)
