"""What is put back when a release does not serve: what served last, also when a deploy before was killed on its way."""

import json

from continuous_training.deployers.claims import _BEFORE, _last_served

IDENTITY = {"name": "m", "namespace": "serving"}
WANTED = [
    {"apiVersion": "apps/v1", "kind": kind, "metadata": {**IDENTITY, "annotations": {"continuous-training/fence": "4"}}, "spec": {}}
    for kind in ("Deployment", "NetworkPolicy")
]  # fmt: skip


def live(fence, note=None, **spec):
    """Return an object of the cluster that was applied with a fence."""
    told = {"continuous-training/fence": str(fence)} if fence else {}
    told |= {_BEFORE: json.dumps(note)} if note else {}
    return {"metadata": {**IDENTITY, "annotations": {**told, "somebody/else": "1"}}, "spec": spec}


def served(*before):
    return [each and each["spec"] for each in _last_served(list(zip(WANTED, before, strict=True)))]


def content(fence, **spec):
    return {"annotations": {"continuous-training/fence": str(fence)}, "spec": spec}


BROKEN_OFF = {"fence": 3, "objects": [content(2, image="good"), content(2, ports=[1])]}


def test_before_the_first_release_nothing_served():
    assert served(None, None) == [None, None]


def test_a_release_that_got_ready_is_what_served_and_keeps_its_number_of_pods_to_itself():
    assert served(live(2, image="good", replicas=7), live(2, ports=[1])) == [{"image": "good"}, {"ports": [1]}]


def test_of_a_rollout_that_was_broken_off_what_served_before_it_counts():
    assert served(live(3, image="half"), live(3, BROKEN_OFF, ports=[2])) == [{"image": "good"}, {"ports": [1]}]


def test_a_rollout_that_ended_before_it_claimed_anything_or_was_overtaken_is_forgotten():
    for fence in (2, 4):
        assert served(live(fence, image="stands"), live(3, BROKEN_OFF, ports=[1]))[0] == {"image": "stands"}


def test_a_first_release_that_was_broken_off_leaves_nothing_to_put_back():
    first = {"fence": 3, "objects": [None, None]}
    for carrier in (None, live(0, image="stub"), live(3, image="half")):
        assert served(carrier, live(3, first, ports=[1])) == [None, None]


def test_what_is_put_back_has_our_annotations_without_the_note_and_nobody_else_s():
    [_, policy] = _last_served(
        list(zip(WANTED, (live(2, image="good"), live(2, {"fence": 9}, ports=[1])), strict=True))
    )
    assert policy["metadata"]["annotations"] == {"continuous-training/fence": "2"}
