"""`ct outcomes`: tell what became known of predictions."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.cli.models import load_model
from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.prediction_log import log_folder
from continuous_training.settings import Settings

if TYPE_CHECKING:
    import argparse


def outcomes(options: argparse.Namespace) -> int:
    """Append the outcomes in a file to the model's prediction log."""
    from continuous_training.sources import _predictions

    settings = Settings.from_environment()
    spec = load_model(options.model, settings)
    rows = _rows(options.file)
    folder = log_folder(Path(settings.home), spec.model)
    added = _predictions.add_outcomes(folder, rows, datetime.now(UTC))
    _predictions.compact(folder)  # outcomes come now and then, and so does time for this
    print(f"{added} outcomes of {spec.model} were added", file=sys.stderr)
    return 0


def _rows(file: str) -> list[dict[str, Any]]:
    import pandas as pd

    try:
        if file.endswith(".csv"):
            frame = pd.read_csv(file, dtype={"id": str, "kind": str, "time": str})
        elif file.endswith(".parquet"):
            frame = pd.read_parquet(file)
        else:
            text = sys.stdin.read() if file == "-" else Path(file).read_text()
            return [json.loads(line) for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"cannot read {file} ({error}); name a file that is there; a retry gives the same") from error
    except ValueError as error:
        raise DataInvalid(
            f"{file} cannot be read ({error}); write CSV, Parquet or one JSON object a line. Nothing was added; a retry gives the same."
        ) from error
    rows: list[dict[str, Any]] = frame.to_dict("records")
    return rows
