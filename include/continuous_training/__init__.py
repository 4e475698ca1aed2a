"""Continuous training on Airflow: retrain when it pays, promote only what is shown to be better."""

__version__ = "0.1.0"
