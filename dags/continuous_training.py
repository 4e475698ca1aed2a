"""All DAGs of all model files in include/models (Airflow reads this file because it says dag)."""

from continuous_training.provider.dags import build_dags

globals().update(build_dags())
