"""A fleet of 500 models: what its DAG file costs to parse, and what its DAGs cost one scheduler.

Prints parse time and peak memory of one DAG file with all models, and the size of a serialised DAG. Then a real scheduler
loop runs on a real metadata database (SQLite here; `--database URL` names another, empty one) with every watch DAG on: how
long until each model waits for its next window, and how long one loop takes from then on. Nothing needs a worker: the wait
is handed to the triggerer by the scheduler itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 150

PARSE = """
import json, resource, statistics, time
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from airflow.serialization.serialized_objects import DagSerialization
from continuous_training.provider.dags import build_dags
imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
dags = build_dags({models!r})
seconds = time.perf_counter() - began
assert len(dags) == 3 * {count}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sizes = [len(json.dumps(DagSerialization.to_dict(dag))) for dag in dags.values()]
print(json.dumps({{"dags": len(dags), "parse_seconds": seconds, "imports_mb": imported / 1024, "dags_mb": (peak - imported) / 1024,
                  "serialised_kb_median": statistics.median(sizes) / 1024, "serialised_kb_max": max(sizes) / 1024}}))
"""

SCHEDULE = """
import json, statistics, time
import sqlalchemy as sa
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.executors.base_executor import BaseExecutor
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session

class Nobody(BaseExecutor):
    "Takes tasks and does none."
    def sync(self): pass
    def end(self): pass
    def terminate(self): pass
    def _process_workloads(self, workloads): self.queued_tasks.clear()

def states():
    with create_session() as session:
        found = session.execute(sa.select(TaskInstance.state, sa.func.count()).where(TaskInstance.task_id == "wait").group_by(TaskInstance.state))
        return {{str(state): number for state, number in found}}

began = time.perf_counter()
with create_session() as session:
    session.merge(DagBundleModel(name="dags-folder"))
sync_bag_to_db(DagBag({folder!r}), "dags-folder", None)
synced = time.perf_counter() - began
with create_session() as session:
    session.execute(sa.update(DagModel).where(DagModel.dag_id.endswith(".watch")).values(is_paused=False))
scheduler = SchedulerJobRunner(Job(), executors=[Nobody()])

def loop():
    began = time.perf_counter()
    with create_session() as session:
        scheduler._do_scheduling(session)
        session.expunge_all()
    for executor in scheduler.executors:
        executor.heartbeat()
    return time.perf_counter() - began

started, loops = time.perf_counter(), []
while states().get("deferred", 0) < {count} and time.perf_counter() - started < {most}:
    loops.append(loop())
settled = time.perf_counter() - started
idle = [loop() for _ in range(20)]
print(json.dumps({{"sync_seconds": synced, "waits": states(), "settled_seconds": settled, "loops": len(loops), "loop_median": statistics.median(loops),
                  "loop_max": max(loops), "idle_loop_median": statistics.median(idle)}}))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--database", help="SQLAlchemy URL of an empty metadata database (default: a SQLite file)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        models, dags = home / "models", home / "dags"
        models.mkdir()
        dags.mkdir()
        (home / "expectations").symlink_to(ROOT / "include" / "expectations")
        text = (ROOT / "include" / "models" / "flight_delays.yaml").read_text()
        for number in range(options.models):
            each = f"flight_delays_{number:03d}"
            (models / f"{each}.yaml").write_text(text.replace("model: flight_delays", f"model: {each}"))
        (dags / "fleet.py").write_text((ROOT / "dags" / "continuous_training.py").read_text())
        database = options.database or f"sqlite:///{home / 'airflow.db'}"
        told = {"models": str(models), "count": options.models, "folder": str(dags), "most": MOST_SECONDS}
        parsed = _run([sys.executable, "-c", PARSE.format(**told)], home, database)
        _run([sys.executable, "-m", "airflow", "db", "migrate"], home, database)
        scheduled = _run([sys.executable, "-c", SCHEDULE.format(**told)], home, database)
    kind = database.partition(":")[0]
    print(json.dumps({"benchmark": "fleet", "models": options.models, "database": kind, **parsed, **scheduled}))
    print(
        f"{options.models} models: {parsed['parse_seconds']:.1f} s and {parsed['dags_mb']:.0f} MB to parse one DAG file, "
        f"{parsed['serialised_kb_median']:.0f} kB a serialised DAG"
    )
    print(
        f"one scheduler on {kind}: {scheduled['waits'].get('deferred', 0)} models wait after {scheduled['settled_seconds']:.0f} s and "
        f"{scheduled['loops']} loops of {scheduled['loop_median'] * 1000:.0f} ms; then {scheduled['idle_loop_median'] * 1000:.0f} ms a loop"
    )


def _run(command: list[str], home: Path, database: str) -> dict:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "CT_HOME": str(home / "ct"),
            "CT_MODELS": str(home / "models"),
            "PATH": "/usr/bin:/bin",
        },
    )
    if done.returncode:
        sys.exit(f"{command[:3]} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(found[-1]) if found else {}


if __name__ == "__main__":
    main()
