"""A package is the same bytes for the same content, says what is in it, and is refused when a byte of it was changed."""

import hashlib
import importlib.resources
import io
import json
import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from continuous_training.core.errors import ArtefactCorrupt, UsageError
from continuous_training.deployers.base import Release
from continuous_training.packages import Contents, open_package, read_release, verify, write_package
from continuous_training.packages.bill import NEEDED

ROOT = Path(__file__).resolve().parents[3]
CONTENTS = Contents(
    release=Release(model="flights", version="7", fence=9, bundle="ab" * 32),
    created=datetime(2024, 3, 1, tzinfo=UTC),
    facts={"spec": "cd" * 32, "code": "ef" * 32},
)


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, text in (("bundle.json", "{}"), ("golden.json", "[]"), ("model.txt", "tree\n" * 1000)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Return a private key, its public half, and the public half of another."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        (folder / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder / "mine", folder / "mine.pub", folder / "other.pub"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blob(layout, descriptor):
    return (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()


def manifest(layout):
    return json.loads(blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0]))


def tar(members):
    """Return a tar file with these members: bytes, or the target of a link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()


def docker_archive(path, *layers):
    """Write what `docker save` writes of an image with these layers."""
    digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "container": "trace of a build",
        "config": {"Env": ["A=b"], "User": "10001", "Entrypoint": ["ct", "serve"], "Labels": {"base": "yes"}},
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [{"created_by": "base"}],
    }
    named = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    image = [{"Config": "c.json", "RepoTags": ["serve:1"], "Layers": list(named)}]
    path.write_bytes(tar({"manifest.json": json.dumps(image).encode(), "c.json": json.dumps(config).encode(), **named}))
    return path


@pytest.fixture
def base(tmp_path):
    metadata = b"Metadata-Version: 2.4\nName: Some_Library\nVersion: 1.2\nLicense-Expression: BSD-3-Clause\n\ntext"
    status = b"Package: libgomp1\nStatus: install ok installed\nVersion: 12.2.0-14\nArchitecture: amd64\n"
    return docker_archive(
        tmp_path / "serve.tar",
        tar({"var/lib/dpkg/status": status}),
        tar({"opt/ct/lib/python3.11/site-packages/some_library-1.2.dist-info/METADATA": metadata}),
    )


def test_the_same_content_gives_the_same_bytes_and_a_changed_byte_another_digest(bundle, base, tmp_path):
    for kind in (None, base):
        written = [write_package(bundle, CONTENTS, tmp_path / f"{kind is None}{n}", base=kind) for n in range(2)]
        assert len(set(written)) == 1
        assert files(tmp_path / f"{kind is None}0") == files(tmp_path / f"{kind is None}1")
    (bundle / "golden.json").write_text("{}")
    assert write_package(bundle, CONTENTS, tmp_path / "changed", base=base) != written[0]


def test_an_artefact_says_what_it_is_and_opens_as_the_bundle(bundle, tmp_path):
    write_package(bundle, CONTENTS, tmp_path / "package")
    told = manifest(tmp_path / "package")
    assert blob(tmp_path / "package", told["layers"][0])[4:8] == bytes(4)  # gzip writes the time of day here by default
    assert told["artifactType"] == "application/vnd.continuous-training.model.v1"
    assert told["annotations"] == {
        "org.opencontainers.image.title": "flights",
        "org.opencontainers.image.version": "7",
        "org.opencontainers.image.created": "2024-03-01T00:00:00+00:00",
        "continuous-training.model": "flights",
        "continuous-training.fence": "9",
        "continuous-training.bundle": "ab" * 32,
        "continuous-training.spec": "cd" * 32,
        "continuous-training.code": "ef" * 32,
    }
    opened = open_package(tmp_path / "package", tmp_path / "home")
    assert {name: data for name, data in files(opened).items() if name in files(bundle)} == files(bundle)
    assert read_release(opened) == CONTENTS.release
    assert open_package(tmp_path / "package", tmp_path / "home") == opened


def test_on_a_base_it_is_that_image_with_the_model_on_top(bundle, base, tmp_path):
    write_package(bundle, CONTENTS, tmp_path / "image", base=base)
    told = manifest(tmp_path / "image")
    config = json.loads(blob(tmp_path / "image", told["config"]))
    assert config["config"]["Env"] == ["A=b", "CT_BUNDLE=/model"]
    assert config["config"]["Entrypoint"] == ["ct", "serve"]
    assert config["config"]["Labels"] == {"base": "yes", **told["annotations"]}
    assert "container" not in config
    assert len(config["rootfs"]["diff_ids"]) == len(told["layers"]) == len(config["history"]) + 1 == 3
    with tarfile.open(fileobj=io.BytesIO(blob(tmp_path / "image", told["layers"][-1]))) as layer:
        members = {member.name: member for member in layer}
    names = {"bundle.json", "golden.json", "model.txt", "release.json", "sbom.cdx.json"}
    assert members.keys() == {"model"} | {f"model/{name}" for name in names}
    assert {(one.uid, one.gid, one.mtime, one.mode & 0o777) for one in members.values()} == {
        (0, 0, 0, 0o755),
        (0, 0, 0, 0o644),
    }
    assert read_release(open_package(tmp_path / "image", tmp_path / "home")) == CONTENTS.release


@pytest.mark.parametrize("as_archive", [False, True])
def test_a_layout_is_a_base_too(bundle, base, tmp_path, as_archive):
    write_package(bundle, CONTENTS, tmp_path / "image", base=base)
    (tmp_path / "image" / "manifest.json").unlink()  # left with what OCI asks for
    again = tmp_path / "image"
    if as_archive:
        again = tmp_path / "image.tar"
        again.write_bytes(tar(files(tmp_path / "image")))
    write_package(bundle, CONTENTS, tmp_path / "second", base=again)
    assert manifest(tmp_path / "second")["layers"][:3] == [
        {name: value for name, value in layer.items() if name != "annotations"}
        for layer in manifest(tmp_path / "image")["layers"]
    ]


@pytest.mark.parametrize("on_a_base", [False, True])
def test_its_bill_of_materials_is_valid_and_names_the_model_and_the_libraries(bundle, base, tmp_path, on_a_base):
    write_package(bundle, CONTENTS, tmp_path / "package", base=base if on_a_base else None)
    bill = json.loads((open_package(tmp_path / "package", tmp_path / "home") / "sbom.cdx.json").read_text())
    resources = importlib.resources.files("cyclonedx.schema") / "_res"
    schemas = {
        name: json.loads((resources / f"{name}.SNAPSHOT.schema.json").read_text())
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    registry = Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", Resource.from_contents(schema))
        for name, schema in schemas.items()
    )
    assert not list(Draft7Validator(schemas["bom-1.6"], registry=registry).iter_errors(bill))
    model, *libraries = bill["components"]
    assert (model["type"], model["version"], model["hashes"][0]["content"]) == (
        "machine-learning-model",
        "7",
        "ab" * 32,
    )
    files_of_it = {part["name"]: part["hashes"][0]["content"] for part in model["components"]}
    assert files_of_it == {name: hashlib.sha256(data).hexdigest() for name, data in files(bundle).items()}
    if on_a_base:
        assert [part["purl"] for part in libraries] == [
            "pkg:deb/debian/libgomp1@12.2.0-14?arch=amd64",
            "pkg:pypi/some-library@1.2",
        ]
        assert libraries[1]["licenses"] == [{"expression": "BSD-3-Clause"}]
    else:
        pins = (ROOT / "docker" / "serve.txt").read_text()
        assert set(NEEDED) <= {part["name"] for part in libraries}
        assert not [part["name"] for part in libraries if f"\n{part['name']}==" not in f"\n{pins}"]


def test_a_signature_holds_for_what_was_signed_with_that_key_and_for_nothing_else(bundle, tmp_path, keys):
    private, public, other = keys
    write_package(bundle, CONTENTS, tmp_path / "signed", private_key=private)
    opened = open_package(tmp_path / "signed", tmp_path / "home")
    moved = shutil.copytree(opened, tmp_path / "moved")
    verify(moved, public)
    with pytest.raises(ArtefactCorrupt, match="another key signed them"):
        verify(moved, other)
    (moved / "more.txt").write_text("")
    with pytest.raises(ArtefactCorrupt, match=r"more\.txt"):
        verify(moved, public)
    (moved / "more.txt").unlink()
    (moved / "golden.json").write_text("{}")
    with pytest.raises(ArtefactCorrupt, match=r"golden\.json"):
        verify(moved, public)
    write_package(bundle, CONTENTS, tmp_path / "unsigned")
    with pytest.raises(ArtefactCorrupt, match=r"has no model\.sig"):
        verify(open_package(tmp_path / "unsigned", tmp_path / "home"), public)


def test_only_a_key_on_a_curve_signs_and_nothing_is_left_of_the_attempt(bundle, tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    (tmp_path / "rsa").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "text").write_text("no key")
    for name in ("rsa", "text", "absent"):
        with pytest.raises(UsageError, match="holds no private key that can be used"):
            write_package(bundle, CONTENTS, tmp_path / "package", private_key=tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "rsa", "text"}


def test_a_package_with_a_changed_byte_anywhere_is_refused(bundle, tmp_path):
    write_package(bundle, CONTENTS, tmp_path / "whole")
    used = [path for path in files(tmp_path / "whole") if path.startswith("blobs/") and "44136fa3" not in path]
    assert len(used) == 2
    for name in used:
        changed = shutil.copytree(tmp_path / "whole", tmp_path / "changed")
        data = bytearray((changed / name).read_bytes())
        data[len(data) // 2] ^= 1
        (changed / name).write_bytes(data)
        with pytest.raises(ArtefactCorrupt, match=r"(was|were) changed"):
            open_package(changed, tmp_path / "home")
        shutil.rmtree(changed)


@pytest.mark.parametrize(
    "members",
    [{"model/../../escaped": b""}, {"/model/absolute": b""}, {"model/link": "/etc/passwd"}, {"other/file": b""}],
)
def test_a_layer_that_reaches_outside_its_folder_is_refused(tmp_path, members):
    layout = tmp_path / "package"
    (layout / "blobs" / "sha256").mkdir(parents=True)

    def put(data):
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs" / "sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}"}

    layer = {**put(tar(members)), "annotations": {"continuous-training.layer": "model"}}
    (layout / "index.json").write_text(json.dumps({"manifests": [put(json.dumps({"layers": [layer]}).encode())]}))
    with pytest.raises(ArtefactCorrupt, match="has no place in a package"):
        open_package(layout, tmp_path / "home")
    assert not (tmp_path / "escaped").exists()


def test_a_base_that_cannot_be_used_is_refused_and_nothing_is_left(bundle, base, tmp_path):
    changed = tmp_path / "changed.tar"
    changed.write_bytes(base.read_bytes().replace(b"12.2.0-14", b"12.2.0-15"))
    (tmp_path / "empty").mkdir()
    for path, said in ((changed, "has the digest"), (tmp_path / "empty", "index.json"), (tmp_path / "no", "No such")):
        with pytest.raises(UsageError, match=said):
            write_package(bundle, CONTENTS, tmp_path / "package", base=path)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "serve.tar", "changed.tar", "empty"}


def test_an_existing_folder_is_left_alone(bundle, tmp_path):
    (tmp_path / "package").mkdir()
    with pytest.raises(UsageError, match="exists; name another folder"):
        write_package(bundle, CONTENTS, tmp_path / "package")
