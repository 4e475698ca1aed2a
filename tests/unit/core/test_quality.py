"""Every metric fits one kind of task and has a better side."""

from continuous_training.core.quality import GREATER_IS_BETTER, METRICS


def test_every_metric_has_a_kind_of_task_and_a_better_side() -> None:
    listed = [metric for metrics in METRICS.values() for metric in metrics]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(GREATER_IS_BETTER)
