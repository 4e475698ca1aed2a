"""The code MLflow runs to answer with a registered version: it loads the bundle, and nothing pickled."""

from pathlib import Path

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from continuous_training.trainers.bundle import load_bundle


class BundleModel(PythonModel):  # type: ignore[misc]
    """Answer as the served champion does: probability of the second class, probabilities, or values."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that was logged with the model."""
        self._bundle = load_bundle(Path(context.artifacts["bundle"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002 - MLflow would read hints as a schema
        """Return one answer for each row."""
        return self._bundle.answer(model_input)


set_model(BundleModel())
