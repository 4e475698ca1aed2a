"""The simulated HorizontalPodAutoscaler decides as the published algorithm does."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "autoscaling.py"


@pytest.fixture(scope="module")
def simulation():
    specification = importlib.util.spec_from_file_location("autoscaling", FILE)
    module = importlib.util.module_from_spec(specification)
    sys.modules["autoscaling"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["autoscaling"]


@pytest.fixture
def scaler(simulation):
    return simulation.Autoscaler(simulation.shipped())


def test_the_settings_are_those_that_are_shipped(scaler):
    assert (scaler.spec["minReplicas"], scaler.spec["maxReplicas"]) == (2, 10)


@pytest.mark.parametrize(
    ("used", "wanted"),
    [
        ([0.60] * 4, 4),
        ([0.65] * 4, 4),  # within the tolerance of a tenth
        ([0.67] * 4, 5),  # ceil(4 * 0.67 / 0.6)
        ([1.00] * 3, 5),
        ([1.00] * 8, 10),  # never more than max
    ],
)
def test_pods_are_wanted_in_proportion_to_what_they_use(scaler, used, wanted):
    assert scaler.decide(0, used, 0) == wanted


def test_pods_that_start_count_as_idle_when_more_are_wanted(scaler):
    assert scaler.decide(0, [1.0] * 3, 2) == 5


def test_fewer_pods_are_wanted_only_after_five_minutes_and_by_half_a_minute_at_most(scaler):
    assert scaler.decide(0, [0.6] * 8, 0) == 8
    assert scaler.decide(285, [0.0] * 8, 0) == 8
    assert scaler.decide(315, [0.0] * 8, 0) == 4
    assert scaler.decide(330, [0.0] * 4, 0) == 4
    assert scaler.decide(390, [0.0] * 4, 0) == 2
    assert scaler.decide(900, [0.0] * 2, 0) == 2


def test_more_pods_come_by_double_or_four_at_a_time_at_most(simulation):
    spec = simulation.shipped() | {"maxReplicas": 100, "minReplicas": 1}
    spec["metrics"][0]["resource"]["target"]["averageUtilization"] = 10
    assert simulation.Autoscaler(spec).decide(0, [1.0], 0) == 5
    assert simulation.Autoscaler(spec).decide(0, [1.0] * 8, 0) == 16


def test_a_steady_load_is_served_by_the_pods_it_needs(simulation, scaler):
    outcome = simulation.simulate(lambda _: 3.0, np.full(10, 0.05), 5.0, scaler, seconds=300)
    assert outcome.most == math.ceil(3.0 / 0.6)
    assert len(outcome.latencies) == pytest.approx(300 * 3.0 / 0.05, rel=0.05)
    assert outcome.latencies.min() == pytest.approx(0.05)


def test_too_few_pods_show_in_the_latencies_and_a_recovery_is_timed(simulation):
    fixed = simulation.shipped()
    fixed |= {"minReplicas": 2, "maxReplicas": 2}
    outcome = simulation.simulate(
        lambda t: 3.0 if 60 <= t < 120 else 0.5, np.full(10, 0.05), 5.0, simulation.Autoscaler(fixed), seconds=240
    )
    assert outcome.latencies.max() > 10
    assert 60 < simulation.recovery(outcome, 60) <= 120
