"""The bill of materials of a package: CycloneDX 1.6, the same bytes for the same content.

Source: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import re
import uuid
from email.parser import Parser
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from email.message import Message

    from continuous_training.deployers.base import Release

BILL = "sbom.cdx.json"
NEEDED = (
    "lightgbm", "numpy", "scikit-learn", "scipy", "threadpoolctl", "skops", "pydantic", "uvicorn", "uvloop", "httptools", "msgspec",
    "prometheus-client",
)  # fmt: skip
"""Distributions that a server imports to answer; what they need in turn is found in their metadata."""

LONGEST_LICENCE = 100
Component = dict[str, Any]


def bill(release: Release, files: Mapping[str, str], facts: Mapping[str, str], parts: Iterable[Component]) -> Component:
    """Return the document.

    Parameters
    ----------
    release
        The model; its digest is that of the bundle.
    files
        SHA-256 of each file of the bundle, by name.
    facts
        What else is known of the model.
    parts
        The libraries beside it, as `library`, `installed` or `system_packages` tell them.
    """
    reference = f"model/{release.model}@{release.version}"
    model = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": release.model,
        "version": release.version,
        "hashes": [{"alg": "SHA-256", "content": release.bundle}],
        "properties": [{"name": name, "value": value} for name, value in sorted(facts.items())],
        "components": [
            {
                "type": "file",
                "bom-ref": f"{reference}#{name}",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for name, digest in sorted(files.items())
        ],
    }
    libraries = {part["purl"]: part for part in parts}
    found = [libraries[name] for name in sorted(libraries)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{release.bundle} {sorted(libraries)}')}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": "package", "name": f"{release.model}"}},
        "components": [model, *found],
        "dependencies": [{"ref": reference, "dependsOn": sorted(libraries)}],
    }


def library(about: Message) -> Component:
    r"""Return the component that a distribution's `METADATA` describes.

    >>> library(Parser().parsestr("Name: A_b\nVersion: 1.0+x\nLicense-Expression: MIT\n"))["purl"]
    'pkg:pypi/a-b@1.0%2Bx'
    """
    name, version = re.sub("[-_.]+", "-", about["Name"]).lower(), about["Version"]
    purl = f"pkg:pypi/{name}@{quote(version, safe='')}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    licences = _licences(about)
    return component | ({"licenses": licences} if licences else {})


def _licences(about: Message) -> list[Component]:
    expression = about["License-Expression"]
    if expression:
        return [{"expression": expression}]
    stated = (about["License"] or "").strip()
    if stated and "\n" not in stated and len(stated) <= LONGEST_LICENCE and stated.upper() != "UNKNOWN":
        return [{"license": {"name": stated}}]
    classifiers = [each.split(" :: ") for each in about.get_all("Classifier", [])]
    return [{"license": {"name": each[-1]}} for each in classifiers if each[0] == "License"]


def installed(names: Iterable[str] = NEEDED) -> list[Component]:
    """Return the components of the distributions `names` that are installed here, and of all they need."""
    waiting, seen, found = list(names), set[str](), []
    while waiting:
        name = re.split(r"[^\w.-]", waiting.pop(), maxsplit=1)[0]
        if name.lower() in seen:
            continue
        seen.add(name.lower())
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # its marker excludes this platform
            continue
        found.append(library(Parser().parsestr(distribution.read_text("METADATA") or "")))
        waiting += [each for each in distribution.requires or () if "extra ==" not in each]
    return found


def system_packages(status: str) -> list[Component]:
    r"""Return the components that dpkg's status file lists.

    >>> system_packages("Package: a\nStatus: install ok installed\nVersion: 1:2-3\nArchitecture: all\n")[0]["purl"]
    'pkg:deb/debian/a@1%3A2-3?arch=all'
    """
    found = []
    for block in filter(str.strip, status.split("\n\n")):
        about = Parser().parsestr(block)
        if "installed" in (about["Status"] or "").split():
            name, version = about["Package"], about["Version"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={about['Architecture']}"
            found.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return found
