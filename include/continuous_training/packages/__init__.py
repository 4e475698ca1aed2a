"""A model with all that says what it is, as one OCI image layout: made by `ct package`, served by `ct serve`.

Its layer holds the folder `/model`: the bundle's files, `release.json` (which release it is), `sbom.cdx.json` (CycloneDX: what
is inside and what it needs) and, in a layer of its own, `model.sig` when it was signed. On top of the server's image that
makes an image which any engine loads and runs; without one it is an OCI artefact that the server's image can be given.
"""

from continuous_training.packages.layout import Contents, open_package, write_package
from continuous_training.packages.release import RELEASE, read_release
from continuous_training.packages.signature import sign, verify

__all__ = ["RELEASE", "Contents", "open_package", "read_release", "sign", "verify", "write_package"]
