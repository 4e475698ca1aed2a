"""The code MLflow runs to answer with a registered version: it loads the bundle, and nothing pickled."""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from continuous_training.trainers.bundle import load_bundle


class BundleModel(PythonModel):  # type: ignore[misc]
    """Answer as the served champion does: probability of the second class, probabilities, or values."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that was logged with the model."""
        self._bundle = load_bundle(Path(context.artifacts["bundle"]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> list[Any]:  # noqa: ARG002 - MLflow's signature
        """Return one answer for each row."""
        return self._bundle.answer(model_input)


set_model(BundleModel())
