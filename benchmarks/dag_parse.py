"""Parse 100 models against 100 hand-written sets of DAGs with the same tasks.

Prints the ratio of medians over interleaved repeats, each in a fresh interpreter; imports of the two are inside.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS, REPEATS = 100, 5

OURS = """
from continuous_training.provider.dags import build_dags
assert len(build_dags({models!r})) == {count}
"""

# What somebody would write without this package: the same tasks, the same schedules, the standard operators.
BY_HAND = """
import json, pathlib
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, BaseSensorOperator, CronTriggerTimetable, Param
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
import yaml
dags = []
for path in sorted(pathlib.Path({models!r}).glob("*.yaml")):
    model = yaml.safe_load(path.read_text())
    name = model["model"]
    asset = Asset(name=f"{{name}}/retrain", uri=f"x-hand://{{name}}/retrain")
    schedule = AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 3 * * MON", timezone="America/New_York"), assets=[asset])
    params = {{"reason": Param("", type="string"), "trials": Param(None, type=["null", "integer"]), "as_of": Param(None, type=["null", "string"]),
              "force": Param(False, type="boolean"), "dry_run": Param(False, type="boolean")}}
    with DAG(f"{{name}}.train", schedule=schedule, params=params, max_active_runs=1, catchup=False, tags=["ct", name]) as train:
        tasks = [BashOperator(task_id=step, bash_command=f"ct step {{step}}", env={{"CT_SPEC": json.dumps(model)}}, retries=2)
                 for step in ("plan", "collect", "validate", "prepare", "train", "evaluate", "promote", "deploy")]
        for earlier, later in zip(tasks, tasks[1:]):
            earlier >> later
    with DAG(f"{{name}}.watch", schedule="@continuous", max_active_runs=1, catchup=False, tags=["ct", name]) as watch:
        wait = FileSensor(task_id="wait", filepath="/data/ready", deferrable=True)
        plan, score = (BashOperator(task_id=step, bash_command=f"ct step {{step}}", env={{"CT_SPEC": json.dumps(model)}}) for step in ("plan", "score"))
        decide = BashOperator(task_id="decide", bash_command="ct step decide", outlets=[asset], env={{"CT_SPEC": json.dumps(model)}})
        wait >> plan >> score >> decide
    rollback_params = {{"version": Param(type="integer", minimum=1), "reason": Param(type="string", minLength=1)}}
    with DAG(f"{{name}}.rollback", schedule=None, params=rollback_params, max_active_runs=1, tags=["ct", name]) as rollback:
        BashOperator(task_id="roll_back", bash_command="ct step rollback", env={{"CT_SPEC": json.dumps(model)}}, retries=2)
    dags += [train, watch, rollback]
assert len(dags) == {count}
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        (Path(folder) / "expectations").symlink_to(ROOT / "include" / "expectations")
        text = (ROOT / "include" / "models" / "flight_delays.yaml").read_text()
        for number in range(MODELS):
            name = f"flight_delays_{number:03d}"
            (models / f"{name}.yaml").write_text(text.replace("model: flight_delays", f"model: {name}"))
        codes = {"ours": OURS, "by_hand": BY_HAND}
        seconds: dict[str, list[float]] = {name: [] for name in codes}
        for _ in range(REPEATS):
            for name, code in codes.items():
                seconds[name].append(_seconds(code.format(models=str(models), count=3 * MODELS), folder))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["ours"] / medians["by_hand"]
    print(json.dumps({"benchmark": "dag_parse", "models": MODELS, "seconds": seconds, "ratio": round(ratio, 3)}))
    print(
        f"DAG parse, {MODELS} models: {medians['ours']:.2f} s against {medians['by_hand']:.2f} s by hand = {ratio:.2f}x"
    )


def _seconds(code: str, home: str) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={"AIRFLOW_HOME": home, "PATH": "/usr/bin:/bin"},
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
