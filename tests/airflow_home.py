"""A home of Airflow for this process, thrown away when it ends: import this before anything that imports Airflow."""

import atexit
import os
import shutil
import tempfile

HOME = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = HOME
