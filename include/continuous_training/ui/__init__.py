"""Pages in Airflow's own web interface: what every model does, and why."""
