"""What may import what, and what an import costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "alibi_detect", "great_expectations", "kubernetes", "lightgbm", "mlflow", "numpy", "optuna", "pandas", "pyarrow", "scipy", "skops",
    "sklearn",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return set(json.loads(output.splitlines()[-1]))


def test_the_layers_of_the_design_hold() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_reading_a_model_file_loads_no_heavy_library() -> None:
    loaded = loaded_by(
        "from pathlib import Path; from continuous_training.spec import load_spec; load_spec(Path('include/models/flight_delays.yaml'))"
    )
    assert not loaded & HEAVY


@pytest.mark.provider
def test_the_operators_load_no_heavy_library_beyond_what_airflow_itself_loads() -> None:
    loaded = loaded_by("import continuous_training.provider.operators, continuous_training.provider.sensors")
    assert not (loaded - loaded_by("import airflow.sdk")) & HEAVY


@pytest.mark.provider
def test_building_the_dags_of_subprocess_models_loads_no_heavy_library() -> None:
    loaded = loaded_by(
        "from continuous_training.provider.dags import build_dags; assert len(build_dags('include/models')) >= 2"
    )
    assert not (loaded - loaded_by("import airflow.sdk")) & HEAVY


def test_the_core_and_the_policies_load_nothing_but_pydantic() -> None:
    loaded = loaded_by("import continuous_training.policies.promotion, continuous_training.policies.retraining")
    assert not loaded & (HEAVY | {"sqlalchemy", "airflow", "fsspec", "yaml"})
