"""Time evidently's data drift report on Parquet files; `drift_scoring.py --evidently` runs this in evidently's environment.

It needs no more than evidently, which is not installed beside this package: `python evidently_drift.py REFERENCE CURRENT
TURNS`. Columns named `category_...` are categories. Reading the files is not timed; the report also counts what evidently
draws, which cannot be left out. JSON goes to standard output.
"""

import json
import sys
import time
import tracemalloc
from importlib.metadata import version

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """Print the best seconds, the peak bytes, the p-values and the version."""
    reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
    categorical = [name for name in current.columns if name.startswith("category_")]
    definition = DataDefinition(
        numerical_columns=[name for name in current.columns if name not in categorical], categorical_columns=categorical
    )
    report = Report([DataDriftPreset(num_method="ks", cat_method="chisquare")])

    def run() -> dict[str, float]:
        sets = (Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference))
        metrics = report.run(*sets).dict()["metrics"]
        return {m["config"]["column"]: float(m["value"]) for m in metrics if "column" in m.get("config", {})}

    seconds = []
    for _ in range(int(sys.argv[3])):
        start = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    run()
    figures = {"seconds": min(seconds), "peak_bytes": tracemalloc.get_traced_memory()[1], "p_values": found}
    print(json.dumps(figures | {"version": version("evidently")}))


if __name__ == "__main__":
    main()
