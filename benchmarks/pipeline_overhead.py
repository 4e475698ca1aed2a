"""All work steps of one retraining at a million rows against a bare pandas and LightGBM script doing the same work.

The bare script reads the same Parquet files, checks the same handful of expectations with pandas, encodes, splits by time,
trains with the same parameters and rounds, predicts the hold-out with champion and challenger and bootstraps the
difference of their AUC. It does not prepare what the triage of later windows compares with; that is a figure of its own,
"with triage", as model files have it unless they say `triage: null`. All run in this process after one warm-up, so that
imports and process starts are excluded.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from continuous_training.core.run import ChampionRef, Run
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps import run_step

ROWS, NUMERIC, CATEGORICAL, ROUNDS, RESAMPLES, REPEATS = 1_000_000, 15, 5, 200, 100, 3
START, DAYS = datetime(2024, 1, 1, tzinfo=UTC), 100
WORK = ("collect", "validate", "prepare", "train", "evaluate")
NUMERIC_NAMES = [f"n{number}" for number in range(NUMERIC)]
CATEGORICAL_NAMES = [f"c{number}" for number in range(CATEGORICAL)]
SPEC = {
    "model": "bench",
    "task": {"kind": "classification", "label": "y", "event_time": "t", "label_delay": "0 days"},
    "features": {"numeric": NUMERIC_NAMES, "categorical": CATEGORICAL_NAMES},
    "source": {"kind": "parquet", "path": "{data}/rows"},
    "window": {"reference": f"{DAYS} days", "current": "1 day", "every": "1 day", "anchor": "2024-01-01T00:00:00Z"},
    "cleaning": {"drop_duplicates": False},
    "expectations": {
        "critical": [
            {"expect_column_values_to_not_be_null": {"column": name}}
            for name in (*NUMERIC_NAMES[:5], *CATEGORICAL_NAMES)
        ]
    },
    "trainer": {
        "kind": "lightgbm",
        "rounds": ROUNDS,
        "patience": ROUNDS,
        "parameters": {"num_leaves": 31, "learning_rate": 0.1},
    },
    # The bare script fits once, as a challenger without refit does, and knows no triage.
    "split": {"refit": False},
    "triage": None,
    "promotion": {"metric": "roc_auc", "resamples": RESAMPLES},
}


def write_rows(folder: Path) -> None:
    """Write the rows as one Parquet file for each day."""
    random = np.random.default_rng(7)
    numbers = random.normal(size=(ROWS, NUMERIC))
    codes = random.integers(0, 30, size=(ROWS, CATEGORICAL))
    signal = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + (codes[:, 0] % 7 - 3) / 2
    rows = pd.DataFrame(numbers, columns=NUMERIC_NAMES)
    for number, name in enumerate(CATEGORICAL_NAMES):
        rows[name] = np.char.add("value", codes[:, number].astype(str))
    rows["y"] = (signal + random.normal(size=ROWS) > 0).astype("float64")
    rows["t"] = pd.Timestamp(START) + pd.to_timedelta(np.sort(random.uniform(0, DAYS * 86400, ROWS)), unit="s")
    for day, part in rows.groupby(rows["t"].dt.strftime("%Y-%m-%d")):
        (folder / f"date={day}").mkdir(parents=True)
        part.to_parquet(folder / f"date={day}" / "part.parquet", index=False)


def ours(spec: ModelSpec, data: Path, home: Path, champion: ChampionRef | None, key: str) -> tuple[float, ChampionRef]:
    """Run the work steps and return the seconds, and the challenger as a champion to compare with."""
    settings = Settings.from_environment({"CT_HOME": str(home), "CT_LOCATIONS": json.dumps({"data": str(data)})})
    end = START + timedelta(days=DAYS)
    run = Run(
        model="bench",
        kind="train",
        key=key,
        as_of=end,
        window=spec.window.reference_window(end),
        spec_digest=spec.digest,
        champion=champion,
    )
    began = time.perf_counter()
    results = {name: run_step(name, spec, run, settings) for name in WORK}
    seconds = time.perf_counter() - began
    bundle = results["train"].outputs["bundle"]
    return seconds, ChampionRef(fence=1, version="1", run_key=key, bundle=bundle, data_cutoff=end)


def bare(data: Path, champion: lgb.Booster | None) -> tuple[float, lgb.Booster]:
    """Do the same work with pandas and LightGBM and return the seconds and the model."""
    began = time.perf_counter()
    rows = pd.read_parquet(data / "rows").drop(columns=["date"]).sort_values("t", kind="stable")
    assert all(rows[name].notna().all() for name in (*NUMERIC_NAMES[:5], *CATEGORICAL_NAMES))
    first, second = int(ROWS * 0.7), int(ROWS * 0.85)
    for name in CATEGORICAL_NAMES:
        rows[name] = pd.Categorical(rows[name], categories=sorted(rows[name].iloc[:first].unique()))
    x, y = rows[NUMERIC_NAMES + CATEGORICAL_NAMES], rows["y"]
    train = lgb.Dataset(x.iloc[:first], y.iloc[:first], categorical_feature=CATEGORICAL_NAMES)
    tune = lgb.Dataset(x.iloc[first:second], y.iloc[first:second], reference=train)
    parameters = {
        "objective": "binary", "metric": "binary_logloss", "num_leaves": 31, "learning_rate": 0.1, "num_threads": 2, "seed": 7, "verbose": -1,
        "deterministic": True, "force_row_wise": True,
    }  # fmt: skip
    model = lgb.train(
        parameters, train, ROUNDS, valid_sets=[tune], callbacks=[lgb.early_stopping(ROUNDS, verbose=False)]
    )
    truth = y.iloc[second:].to_numpy()
    predicted = model.predict(x.iloc[second:])
    other = champion.predict(x.iloc[second:]) if champion is not None else predicted
    random = np.random.default_rng(7)
    differences = []
    for _ in range(RESAMPLES):
        sample = random.integers(0, len(truth), len(truth))
        differences.append(
            roc_auc_score(truth[sample], predicted[sample]) - roc_auc_score(truth[sample], other[sample])
        )
    np.quantile(differences, [0.025, 0.975])
    return time.perf_counter() - began, model


def main() -> None:
    """Measure and print."""
    spec = ModelSpec.model_validate(SPEC)
    triaged = ModelSpec.model_validate({name: value for name, value in SPEC.items() if name != "triage"})
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_rows(data / "rows")
        _, champion = ours(triaged, data, Path(folder) / "warm", None, "0" * 64)
        _, model = bare(data, None)
        (Path(folder) / "warm").rename(Path(folder) / "home")
        seconds: dict[str, list[float]] = {"ours": [], "with triage": [], "bare": []}
        for repeat in range(REPEATS):
            seconds["ours"].append(ours(spec, data, Path(folder) / "home", champion, f"{repeat + 1:064x}")[0])
            seconds["with triage"].append(
                ours(triaged, data, Path(folder) / "home", champion, f"{repeat + 16:064x}")[0]
            )
            seconds["bare"].append(bare(data, model)[0])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: round(medians[name] / medians["bare"], 3) for name in ("ours", "with triage")}
    print(json.dumps({"benchmark": "pipeline_overhead", "rows": ROWS, "seconds": seconds, "ratios": ratios}))
    for name, ratio in ratios.items():
        print(f"{name}: {ROWS:,} rows in {medians[name]:.1f} s against {medians['bare']:.1f} s bare = {ratio:.2f}x")


if __name__ == "__main__":
    main()
