"""What every kind of deployer must do."""

from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from continuous_training.core.errors import Conflict
from continuous_training.deployers import AnyDeployer, Local, Nowhere
from continuous_training.deployers.base import Deployer, Release
from served_model import MODEL, home, release, settings, trained  # noqa: F401 - fixtures

KINDS = get_args(get_args(AnyDeployer)[0])
ADAPTER = TypeAdapter(AnyDeployer)

IMAGE = {"image": "registry.example.com/serve@sha256:" + "0" * 64}
REQUIRED = {"kserve": IMAGE, "kubernetes": IMAGE}
HERE = [kind for kind in KINDS if kind in (Local, Nowhere)]  # the others need a cluster: tests/kubernetes

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@every_kind
def test_a_kind_is_chosen_by_its_name(kind):
    name = kind.model_fields["kind"].default
    deployer = ADAPTER.validate_python({"kind": name, **REQUIRED.get(name, {})})
    assert type(deployer) is kind
    assert isinstance(deployer, Deployer)
    assert ADAPTER.validate_json(ADAPTER.dump_json(deployer)) == deployer


@every_kind
def test_a_field_nobody_knows_is_refused(kind):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        kind(surprise=1, **REQUIRED.get(kind.model_fields["kind"].default, {}))


@every_kind
def test_every_field_is_described_for_its_users(kind):
    assert kind.__doc__
    assert all(field.description for name, field in kind.model_fields.items() if name != "kind")


@pytest.mark.parametrize("kind", HERE, ids=lambda kind: kind.__name__)
def test_deploying_twice_gives_the_same_url(kind, home):  # noqa: F811
    first = kind().deploy(release(1), home / "bundles" / "a", settings=settings(home))
    assert kind().deploy(release(1), home / "bundles" / "a", settings=settings(home)) == first
    assert (first == "") == (kind is Nowhere)


def test_what_serves_never_goes_back_to_an_older_decision(home):  # noqa: F811
    Local().deploy(release(2), home / "bundles" / "a", settings=settings(home))
    with pytest.raises(Conflict):
        Local().deploy(release(1, "b"), home / "bundles" / "b", settings=settings(home))


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "../x"},
        {"model": "a/b"},
        {"version": "1\r\nset-cookie: a"},
        {"version": "1 2"},
        {"version": ""},
        {"fence": 0},
    ],
)
def test_a_release_that_would_not_fit_a_path_or_a_header_is_refused(wrong):
    with pytest.raises(ValidationError):
        Release(**{"model": MODEL, "version": "1", "fence": 1, "bundle": "b", **wrong})
