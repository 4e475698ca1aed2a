"""Worlds in which it is known what changed: the part of that cause is the change, and the others are nothing."""

from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from pydantic import ValidationError

from continuous_training.causes import Asked, Causes, Rows
from continuous_training.core.causes import Cause, CauseCard, in_words
from continuous_training.core.task import Features
from continuous_training.core.window import Window
from continuous_training.metrics import BUILT_IN

WINDOW = Window(start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 8, tzinfo=UTC))
FEATURES = Features(numeric=("a", "b", "c", "idle"), categorical=("kind",))
USED = np.array([1.5, -1.0, 0.8, 0.0, 0.4])
TURNED = np.array([-0.5, 1.0, 0.8, 0.0, 0.4])
CHANGES = {
    "nothing": {},
    "c": {"shift": 1.0},
    "label": {"prior": 0.7},
    "relation": {"truth": TURNED},
    "kind": {"kinds": (0.15, 0.15, 0.7)},
}
"""What is changed, by the name of the only part that there should be."""


def chance(x, weights=USED):
    return 1 / (1 + np.exp(0.5 - np.nan_to_num(x) @ weights))


def predict(x):
    return np.column_stack([1 - chance(x), chance(x)])


def world(rng, rows, shift=0.0, truth=USED, prior=None, kinds=(0.6, 0.2, 0.2)):
    """Return rows of a world; `a` and `b` go together, so what moves one moves the other."""
    drawn = rows if prior is None else 5 * rows
    x = rng.normal(size=(drawn, 5))
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
    x[:, 2] += shift
    x[:, 3] += 3 * shift
    x[:, 4] = rng.choice(3, drawn, p=kinds)
    y = (rng.random(drawn) < chance(x, truth)).astype(float)
    if prior is not None:
        first = round(prior * rows)
        chosen = np.concatenate([np.flatnonzero(y == 1)[:first], np.flatnonzero(y == 0)[: rows - first]])
        chosen = rng.permutation(chosen)
        x, y = x[chosen], y[chosen]
    return Rows(x, y, predict(x))


def told(reference, current, metric="log_loss", causes=None, seed=7):
    asked = Asked(BUILT_IN[metric], WINDOW, 0.95, seed)
    return (causes or Causes()).explain(reference, current, FEATURES, predict, asked)


def card(change, seed, metric="log_loss", rows=2500):
    rng = np.random.default_rng(seed)
    return told(world(rng, rows), world(rng, rows, **CHANGES[change]), metric)


@cache
def truth(change):
    """Return by how much the log loss changes, of many more rows than a card is made of."""
    rng = np.random.default_rng(4242)
    loss = []
    for given in ({}, CHANGES[change]):
        rows = world(rng, 200_000, **given)
        loss.append(-np.log(np.where(rows.y == 1, rows.prediction[:, 1], rows.prediction[:, 0])).mean())
    return loss[1] - loss[0]


def by_name(found):
    return {cause.name: cause for cause in found.causes}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_explains_the_change_and_nothing_else_does(change):
    covered = others = 0
    for seed in range(700, 706):
        parts = by_name(card(change, seed))
        assert "idle" not in parts  # it moved too, and the model does not use it
        expected = dict.fromkeys(parts, 0.0) | ({} if change == "nothing" else {change: truth(change)})
        for name, value in expected.items():
            inside = parts[name].low <= value <= parts[name].high
            covered += inside and name == change
            others += not inside and name != change
        if change not in {"nothing", "c", "kind"}:  # these change the loss by less than its noise
            assert max(parts.values(), key=lambda cause: abs(cause.value)).name == change
            assert parts[change].shown
    assert covered >= 5 or change == "nothing"
    assert others <= 2


def test_two_causes_have_their_parts():
    rng = np.random.default_rng(811)
    found = by_name(told(world(rng, 5000), world(rng, 5000, truth=TURNED, prior=0.7), "log_loss"))
    assert found["relation"].low > 0.2
    assert found["label"].shown


def test_a_shift_of_the_label_leaves_the_order_of_rows_as_it_was():
    parts = by_name(card("label", 900, "roc_auc"))
    assert parts["label"].value == pytest.approx(0, abs=1e-9)
    assert not parts["label"].shown


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "f1"])
@pytest.mark.parametrize("change", ["c", "label"])
def test_the_parts_add_up_to_the_change(change, metric):
    found = card(change, 901, metric)
    assert sum(cause.value for cause in found.causes) == pytest.approx(found.after - found.before, abs=1e-12)
    assert found.low < found.after - found.before < found.high
    assert [abs(cause.value) for cause in found.causes] == sorted((abs(c.value) for c in found.causes), reverse=True)


def test_the_same_rows_give_the_same_card():
    assert card("c", 902) == card("c", 902)


def test_a_regression_is_told_apart_too():
    rng = np.random.default_rng(903)

    def values(rows, shift, slope):
        x = rng.normal(size=(rows, 5))
        x[:, 0] += shift
        y = slope * x[:, 0] ** 2 + x[:, 1] + rng.normal(size=rows)
        return Rows(x, y, value(x))

    def value(x):
        return np.abs(x[:, 0]) + x[:, 1]

    def explained(shift, slope):
        found = Causes().explain(
            values(4000, 0, 0.6), values(4000, shift, slope), FEATURES, value, Asked(BUILT_IN["mae"], WINDOW, 0.95, 7)
        )
        return by_name(found)

    moved, turned = explained(1.0, 0.6), explained(0.0, 1.6)
    assert moved["a"].shown
    assert abs(moved["a"].value) > 3 * abs(moved["relation"].value)
    assert turned.keys() <= {"relation", "label"}
    assert turned["relation"].shown


def test_a_refitted_model_that_serves_has_a_part_that_is_measured():
    rng = np.random.default_rng(904)
    reference, current = world(rng, 2000), world(rng, 2000, truth=TURNED)
    better = chance(current.x, TURNED)
    found = told(reference, current._replace(served=np.column_stack([1 - better, better])))
    assert by_name(found)["refit"].value < -0.1
    assert sum(cause.value for cause in found.causes) == pytest.approx(found.after - found.before, abs=1e-12)


def test_groups_have_one_part_and_many_features_share_one():
    rng = np.random.default_rng(905)
    reference, current = world(rng, 3000), world(rng, 3000, shift=0.7)
    grouped = told(reference, current, causes=Causes(groups={"weather": ("c", "a")}))
    assert "weather" in by_name(grouped)
    assert "c" not in by_name(grouped)
    far = told(reference, world(rng, 3000, shift=9.0), causes=Causes(groups={"weather": ("a", "c")}))
    assert far.inseparable[0] == "weather"  # as a whole, though `a` alone has not moved that far
    wide = Features(numeric=tuple(f"f{n}" for n in range(12)))

    def rows(shift):
        x = rng.normal(size=(2000, 12)) + shift
        y = (rng.random(2000) < 0.5).astype(float)
        return Rows(x, y, wide_predict(x))

    def wide_predict(x):
        p = 1 / (1 + np.exp(-x.sum(axis=1) / 4))
        return np.column_stack([1 - p, p])

    found = Causes().explain(rows(0), rows(0.3), wide, wide_predict, Asked(BUILT_IN["log_loss"], WINDOW, 0.95, 7))
    assert "6 other features" in by_name(found)
    assert sum(cause.kind == "features" for cause in found.causes) == 7
    assert len(found.causes) <= 10


@pytest.mark.parametrize(("name", "change"), [("c", {"shift": 9.0}), ("kind", {"kinds": (0.0, 0.0, 1.0)})])
def test_a_feature_without_overlap_is_not_told_from_the_relation_nor_is_the_label(name, change):
    rng = np.random.default_rng(906)
    found = told(world(rng, 1000, kinds=(0.5, 0.5, 0.0)), world(rng, 1000, **change))
    assert found.inseparable[0] in {"c", "kind"}  # the kind is another one in both worlds
    assert name in found.inseparable
    assert "label" not in by_name(found)
    [rest] = [cause for cause in found.causes if cause.kind == "inseparable"]
    assert rest.name == f"relation, {', '.join(found.inseparable[:-1])} or {found.inseparable[-1]}"
    assert rest.value == pytest.approx(found.after - found.before, abs=0.02)
    assert sum(cause.value for cause in found.causes) == pytest.approx(found.after - found.before, abs=1e-12)


def test_bad_rows_give_a_card_that_says_why_there_are_no_parts():
    rng = np.random.default_rng(907)
    good = world(rng, 1000)
    unlabelled = good._replace(y=np.where(np.arange(1000) < 900, np.nan, good.y))
    assert told(good, unlabelled).note == "100 rows with a label are too few, 300 are needed"
    none = Rows(good.x[:0], good.y[:0], good.prediction[:0])
    assert told(good, none).note == "0 rows with a label are too few, 300 are needed"
    same = good._replace(y=np.zeros(1000))
    assert told(good, same, "roc_auc").note == "roc_auc is not defined on the hold-out or on the window"
    empty = told(good, good._replace(x=np.full_like(good.x, np.nan)))
    assert {*empty.inseparable} >= {"a", "b", "c", "kind"}
    assert [cause.name for cause in empty.causes] == ["relation, kind, a, b or 1 more"]


def test_a_wrong_group_is_refused_by_its_name():
    with pytest.raises(ValueError, match=r"causes\.groups: wnd is not a feature"):
        Causes(groups={"weather": ("wnd",)}).check(FEATURES)
    with pytest.raises(ValueError, match="c is named more than once"):
        Causes(groups={"one": ("c",), "two": ("c",)}).check(FEATURES)
    with pytest.raises(ValueError, match="c is the name of a feature"):
        Causes(groups={"c": ("a",)}).check(FEATURES)
    with pytest.raises(ValidationError):
        Causes(when="sometimes")


def test_a_card_is_told_in_a_sentence():
    shown = Cause(metric="roc_auc", name="relation", kind="relation", value=-0.031, low=-0.04, high=-0.02)
    unsure = Cause(metric="roc_auc", name="wind", kind="features", value=0.001, low=-0.01, high=0.01)
    found = CauseCard(metric="roc_auc", window=WINDOW, before=0.72, after=0.69, causes=(shown, unsure))
    assert found.sentence == "roc_auc fell by 0.03 (0.72 to 0.69): relation -0.031 (-0.04 to -0.02)"
    assert in_words([unsure]) == "no single cause is shown"
