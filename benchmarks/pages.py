"""How long the pages in Airflow wait for their data, with 500 models and 10,000 decisions of 20 scores each.

The peer is Airflow's own list of DAGs, `GET /api/v2/dags?limit=25`, from the same application in the same process.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx
import yaml

MODELS, LOOKS, COLUMNS, REPEATS = 500, 20, 20, 40
START = datetime(2024, 1, 1, tzinfo=UTC)
PATHS = {
    "models, first page": "/continuous-training/pages/models",
    "models, last page": "/continuous-training/pages/models?offset=475",
    "drift of one model": "/continuous-training/pages/dags/m0001.train/drift",
    "champions of one model": "/continuous-training/pages/dags/m0001.train/champions",
    "Airflow's list of DAGs": "/api/v2/dags?limit=25",
}


def fill(home: Path) -> None:
    """Write the models, their decisions and one champion each."""
    from continuous_training.core.decisions import Evidence, RetrainingDecision
    from continuous_training.core.scores import DriftScore, Estimate, PerformanceScore
    from continuous_training.core.window import Window
    from continuous_training.ledger import Ledger

    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    (home / "models").mkdir()
    source = yaml.safe_load((Path(__file__).parents[1] / "include" / "models" / "flight_delays.yaml").read_text())
    for number in range(MODELS):
        model = f"m{number:04}"
        (home / "models" / f"{model}.yaml").write_text(yaml.safe_dump(source | {"model": model, "expectations": None}))
        ledger.promote(
            model, run_key=f"{number:064x}", bundle="b" * 64, data_cutoff=START, fence_seen=0, reason="first", verdict=None, now=START,
        )  # fmt: skip
        for look in range(LOOKS):
            window = Window(start=START + timedelta(days=7 * look), end=START + timedelta(days=7 * look + 7))
            drift = tuple(
                DriftScore(
                    detector="ks", column=f"column {column}", statistic=0.01 * column, measure="statistic", threshold=0.1,
                    reference_rows=10_000, current_rows=1_000,
                )
                for column in range(COLUMNS)
            )  # fmt: skip
            line = PerformanceScore(
                estimate=Estimate(metric="roc_auc", value=0.7, low=0.68, high=0.72, rows=1000), matured=1.0, below=0.6
            )
            told = {"model": model, "window": window, "as_of": window.end}
            evidence = Evidence(**told, rows=1000, drift=drift, performance=(line,))
            decision = RetrainingDecision(**told, answer="no", why="column 19: ks 0.19 above 0.1; but once only")
            ledger.record_decision(decision, evidence, now=window.end)


def measure() -> dict[str, tuple[float, float]]:
    """Return the median and the worst of the times of each path, in milliseconds."""
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.db import initdb
    from airflow.utils.session import create_session

    initdb()
    with create_session() as session:
        session.add(DagBundleModel(name="bench"))
        session.flush()
        for number in range(MODELS):
            for kind in ("train", "watch", "rollback"):
                session.add(
                    DagModel(
                        dag_id=f"m{number:04}.{kind}", bundle_name="bench", is_stale=False, fileloc="/dags/models.py"
                    )
                )
    app = create_app(apps="core")
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="bench", role="VIEWER"))

    async def ask() -> dict[str, tuple[float, float]]:
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": f"Bearer {token}"}
        found: dict[str, list[float]] = {name: [] for name in PATHS}
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow", headers=headers) as client:
            for repeat in range(REPEATS + 1):
                for name, path in PATHS.items():
                    began = time.perf_counter()
                    (await client.get(path)).raise_for_status()
                    if repeat:  # the first fills caches
                        found[name].append((time.perf_counter() - began) * 1000)
        return {name: (statistics.median(times), max(times)) for name, times in found.items()}

    return anyio.run(ask)


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        os.environ |= {
            "AIRFLOW_HOME": str(home / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "false", "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64,
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "CT_HOME": str(home), "CT_MODELS": str(home / "models"),
        }  # fmt: skip
        fill(home)
        times = measure()
    peer = times["Airflow's list of DAGs"][0]
    print(f"{MODELS} models, {MODELS * LOOKS:,} decisions of {COLUMNS} scores")
    for name, (median, worst) in times.items():
        print(f"  {name:<24} median {median:6.1f} ms, worst {worst:6.1f} ms, {median / peer:4.2f} of Airflow's list")


if __name__ == "__main__":
    main()
