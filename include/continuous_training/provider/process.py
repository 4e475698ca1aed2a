"""Start `ct step` beside the worker, stream what it says into the task log, and read its answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from continuous_training.core.errors import Transient
from continuous_training.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk.types import Logger

    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec

# A step process is not Airflow: it gets neither its configuration nor its connections.
_AIRFLOW = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_", "_AIRFLOW", "__AIRFLOW")
_CONTROL_ONLY = ("CT_LEDGER", "MLFLOW_TRACKING")


class StepProcess:
    """One `ct step` process and its process group."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, step: str, environment: Mapping[str, str], log: Logger) -> dict[str, Any]:
        """Run the step to its end and return its result.

        Raises
        ------
        AirflowFailException
            The step failed in a way that a retry repeats.
        AirflowException
            A dependency was down or the process was killed: Airflow may retry.
        """
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "continuous_training.cli", "step", step],
                env={**environment, "CT_RESULT": str(result)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            assert self._process.stdout is not None
            with self._process.stdout as lines:
                last = follow(lines, log)
            code = self._process.wait()
            self._process = None
            if code == 0:
                answer: dict[str, Any] = json.loads(result.read_text())
                return answer
        if code < 0 or code == Transient.exit_code:
            killed = f"killed by {signal.Signals(-code).name}" if code < 0 else last
            raise AirflowException(f"step {step} did not finish: {killed or f'exit code {code}'}")
        raise AirflowFailException(last or f"step {step} ended with exit code {code}; its log is above")

    def stop(self) -> None:
        """End the process and everything it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # it may just have ended
                os.killpg(self._process.pid, signal.SIGTERM)


def follow(lines: Iterable[str], log: Logger) -> str:
    """Write what a step says into the task's log and return its last message to people."""
    last = ""
    for line in lines:
        text = line.rstrip()
        log.info("%s", text)
        if text.startswith("ct: "):
            last = text.removeprefix("ct: ")
    return last


def step_environment(
    step: str, spec: ModelSpec, settings: Settings, *, registry: Mapping[str, str], source: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of one step process: the ledger and the registry's credentials for control steps only.

    Parameters
    ----------
    registry:
        Credentials of the registry.
    source:
        The connection of the source; leave it empty for steps that do not read it.
    """
    work = step in STEPS and STEPS[step].plane == "work"
    private = _AIRFLOW + _CONTROL_ONLY if work else _AIRFLOW
    told = settings.to_environment() | {
        "CT_SPEC": spec.model_dump_json(),
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONUNBUFFERED": "1",
    }
    kept = {name: value for name, value in {**os.environ, **told}.items() if not name.startswith(private)}
    return {**kept, **({} if work else registry), **source}
