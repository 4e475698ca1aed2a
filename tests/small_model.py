"""A model that trains in seconds on generated rows, for tests of the whole pipeline."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from continuous_training.spec import ModelSpec

START = datetime(2024, 1, 1, tzinfo=UTC)
A_DAY = 50
"""Rows a day."""

A_MOMENT = timedelta(seconds=1)


def document(model: str = "m", **changes: Any) -> dict[str, Any]:
    """Return the content of the model file; `changes` replace whole top-level keys.

    Windows end every ten days, a training takes forty days (2,000 rows), and labels are a day late.
    """
    return {
        "model": model,
        "task": {"kind": "classification", "label": "late", "event_time": "at", "label_delay": "1 day"},
        "features": {"numeric": ["wind"], "categorical": ["carrier"]},
        "source": {"kind": "parquet", "path": "{data}/rows"},
        "window": {"reference": "40 days", "current": "10 days", "every": "10 days", "anchor": "2024-01-01T00:00:00Z"},
        "trainer": {"kind": "lightgbm", "rounds": 20, "tuning": {"trials": 0}},
        "drift": [{"kind": "psi", "columns": ["wind"], "threshold": 1.0}],
        "retraining": {"kind": "signals"},
        "promotion": {"metric": "roc_auc", "rows": 100, "resamples": 100},
        "deployment": {"kind": "none"},
        **changes,
    }


def spec(model: str = "m", **changes: Any) -> ModelSpec:
    """Return the model that `document` describes."""
    return ModelSpec.model_validate(document(model, **changes))


def land(home: Path, *, days: int, drift_after: int = 10_000) -> None:
    """Write the rows of the first `days` days below a deployment's home; the wind is another from day `drift_after` on."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(1)
    rows = days * A_DAY
    at = pd.date_range(START, periods=rows, freq=timedelta(days=1) / A_DAY)
    wind = rng.normal(size=rows) + 4.0 * (np.arange(rows) >= drift_after * A_DAY)
    late = (wind + rng.normal(scale=0.5, size=rows) > 0).astype(int)
    frame = pd.DataFrame({"at": at, "wind": wind, "carrier": rng.choice(["a", "b"], rows), "late": late})
    folder = home / "data" / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "rows.parquet", index=False)
