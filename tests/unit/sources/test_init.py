import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from continuous_training.sources import SQL, AnySource, Parquet

HEAVY = ("numpy", "pandas", "pyarrow", "fsspec", "sqlalchemy", "airflow")


def test_the_kind_chooses_the_source() -> None:
    adapter: TypeAdapter[AnySource] = TypeAdapter(AnySource)
    assert adapter.validate_python({"kind": "parquet", "path": "{data}/flights"}) == Parquet(path="{data}/flights")
    assert adapter.validate_python({"kind": "sql", "conn_id": "shop", "table": "x"}) == SQL(conn_id="shop", table="x")
    with pytest.raises(ValidationError, match=r"'parquet', 'sql'"):
        adapter.validate_python({"kind": "csv", "path": "x"})


def test_sources_are_described_without_loading_what_reads_them() -> None:
    code = f"import sys, continuous_training.sources; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_every_field_of_a_source_is_described_for_its_users() -> None:
    for source in (Parquet, SQL):
        undescribed = [name for name, field in source.model_fields.items() if name != "kind" and not field.description]
        assert not undescribed
