"""Continuous training as Airflow sees it: operators, sensors, triggers, hooks, links and ready-made DAGs."""
