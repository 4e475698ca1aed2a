"""What Airflow is told about the provider is true."""

import importlib
import json
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from airflow.providers_manager import ProvidersManager
from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator
from airflow.sdk.module_loading import import_string
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from airflow.triggers.base import BaseTrigger

import continuous_training.provider
from continuous_training import __version__
from continuous_training.provider.info import get_provider_info

pytestmark = pytest.mark.provider

PACKAGE = "airflow-provider-continuous-training"
INFO = get_provider_info()
MODULES = "continuous_training.provider"


def schema(name: str) -> dict[str, Any]:
    return json.loads((files("airflow") / name).read_text())


def listed(kind: str) -> set[str]:
    return {module for entry in INFO[kind] for module in entry["python-modules"]}


def defining(base: type, *but_not: type) -> set[str]:
    """Return the modules of the package that define a public subclass of `base`."""
    folder = Path(continuous_training.provider.__file__).parent
    modules = [importlib.import_module(f"{MODULES}.{path.stem}") for path in folder.glob("[!_]*.py")]
    return {
        module.__name__
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base) and not issubclass(value, but_not)
        and value.__module__ == module.__name__ and not value.__name__.startswith("_")
    }  # fmt: skip


def test_the_provider_info_is_what_airflow_reads_at_run_time() -> None:
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_the_connection_types_and_the_configuration_are_what_airflow_asks_of_a_provider_file() -> None:
    whole = schema("provider.yaml.schema.json")
    for part in ("connection-types", "config", "integrations", "operators", "sensors", "hooks", "triggers"):
        jsonschema.validate(INFO[part], {**whole["properties"][part], "definitions": whole.get("definitions", {})})


def test_the_version_is_that_of_the_package() -> None:
    assert INFO["versions"] == [__version__]


def test_every_module_with_an_operator_a_sensor_a_hook_or_a_trigger_is_listed() -> None:
    assert listed("hooks") == defining(BaseHook)
    assert listed("triggers") == defining(BaseTrigger)
    assert listed("operators") | listed("sensors") == defining(BaseOperator)
    assert listed("sensors") >= defining(BaseSensorOperator)


def test_every_integration_that_is_referred_to_exists() -> None:
    names = {integration["integration-name"] for integration in INFO["integrations"]}
    for kind in ("operators", "sensors", "hooks", "triggers"):
        assert {entry["integration-name"] for entry in INFO[kind]} <= names


@pytest.mark.parametrize("declared", INFO["connection-types"], ids=lambda declared: declared["connection-type"])
def test_the_hook_of_a_connection_type_says_the_same_as_the_declaration(declared: dict[str, Any]) -> None:
    hook = import_string(declared["hook-class-name"])
    assert issubclass(hook, BaseHook)
    assert hook.conn_type == declared["connection-type"]
    assert hook.hook_name == declared["hook-name"]
    assert hook.default_conn_name == f"{hook.conn_type}_default"
    # Airflow makes the hook from the connection's id under this name when somebody clicks Test.
    assert getattr(hook(**{hook.conn_name_attr: "another"}), hook.conn_name_attr) == "another"


@pytest.mark.parametrize("name", INFO["extra-links"])
def test_every_extra_link_is_a_link(name: str) -> None:
    assert issubclass(import_string(name), BaseOperatorLink)


def test_every_operator_link_is_listed() -> None:
    modules = [importlib.import_module(name) for name in listed("operators") | listed("sensors")]
    used = {
        f"{type(link).__module__}.{type(link).__name__}"
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseOperator)
        for link in value.operator_extra_links
    }
    assert used == set(INFO["extra-links"])


def test_airflow_finds_the_provider_by_its_entry_point() -> None:
    (found,) = [point for point in entry_points(group="apache_airflow_provider") if point.value.startswith(MODULES)]
    assert found.load()() == INFO
    assert PACKAGE in ProvidersManager().providers


def test_airflow_offers_the_connection_types_and_their_fields() -> None:
    hooks = ProvidersManagerTaskRuntime().hooks
    assert {
        (hook.hook_name, hook.package_name, hook.connection_testable)
        for hook in map(hooks.get, ("mlflow", "continuous_training"))
    } == {
        ("MLflow", PACKAGE, True),
        ("Continuous Training", PACKAGE, True),
    }
    manager = ProvidersManager()
    behaviours = manager.field_behaviours
    assert behaviours["continuous_training"]["relabeling"] == {"host": "Artefact store URL", "password": "Ledger URL"}
    field = manager.connection_form_widgets["extra__mlflow__public_url"].field
    assert field["schema"]["title"].startswith("URL for people's browsers")
    jsonschema.Draft202012Validator.check_schema(field["schema"])


def test_airflow_knows_the_links_so_that_it_can_show_them() -> None:
    assert set(INFO["extra-links"]) <= set(ProvidersManager().extra_links_class_names)


def test_secrets_are_hidden_in_airflow_s_configuration_page() -> None:
    options = INFO["config"]["continuous_training"]["options"]
    assert {name for name, option in options.items() if option.get("sensitive")} == {"ledger", "alert_token"}


def test_the_info_can_be_written_as_yaml_without_python_objects() -> None:
    assert yaml.safe_load(yaml.safe_dump(INFO)) == INFO
