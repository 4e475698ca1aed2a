"""The deployment says what model files may name."""

import pytest

import small_model
from continuous_training.allowed import Allowed
from continuous_training.core.errors import SpecError

DIGEST = "registry.example.com/ct@sha256:" + "0" * 64
RUNNER = {
    "kind": "kubernetes", "image": DIGEST, "namespace": "training", "service_account": "worker", "secret": "store",
    "volumes": [{"claim": "lake", "path": "/lake"}], "priority_class": "batch", "queue": "nightly",
}  # fmt: skip


def check(allowed: Allowed, **runner: object) -> None:
    allowed.check("m: runner", small_model.spec(runner=RUNNER | runner).runner.asked())


def test_everything_is_allowed_where_the_deployment_says_nothing() -> None:
    check(Allowed())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("images", DIGEST), ("namespaces", "training"), ("service_accounts", "worker"), ("secrets", "store"), ("claims", "lake"),
        ("priority_classes", "batch"), ("queues", "nightly"),
    ],
)  # fmt: skip
def test_a_name_that_no_pattern_matches_is_refused_and_one_that_a_pattern_matches_is_not(kind: str, name: str) -> None:
    with pytest.raises(SpecError, match=f"m: runner: {kind}: '{name}' is not allowed; this deployment allows other"):
        check(Allowed(**{kind: ("other",)}))
    with pytest.raises(SpecError, match="this deployment allows none"):
        check(Allowed(**{kind: ()}))
    check(Allowed(**{kind: ("other", f"{name[:3]}*")}))


def test_an_image_by_tag_is_refused_where_digests_are_asked_for() -> None:
    check(Allowed(digests=True))
    with pytest.raises(SpecError, match=r"write \.\.\.@sha256:"):
        check(Allowed(digests=True), image="registry.example.com/ct:latest")
