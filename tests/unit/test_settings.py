"""A deployment is described by its environment, and passes it on unchanged."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from continuous_training.core.errors import UsageError
from continuous_training.settings import Settings

CANARY = "hunter2-canary"
words = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=["Cs"]), min_size=1, max_size=20
)


@given(
    home=words,
    models=words,
    services=st.fixed_dictionaries(
        {}, optional={"CT_ARTEFACTS": words, "CT_LEDGER": words, "MLFLOW_TRACKING_URI": words}
    ),
    locations=st.dictionaries(words, words, max_size=3),
)
def test_what_is_passed_on_is_read_back(
    home: str, models: str, services: dict[str, str], locations: dict[str, str]
) -> None:
    environment = {"CT_HOME": f"/{home}", "CT_MODELS": f"/{models}", "CT_LOCATIONS": json.dumps(locations), **services}
    settings = Settings.from_environment(environment)
    assert Settings.from_environment(settings.to_environment()) == settings
    assert settings.locations | locations == settings.locations


def test_everything_else_follows_from_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert settings == Settings.from_environment(
        {"CT_HOME": str(tmp_path / ".ct"), "CT_MODELS": str(tmp_path / "include/models")}
    )
    assert settings.artefacts == f"{tmp_path}/.ct/artefacts"
    assert settings.ledger == f"sqlite:///{tmp_path}/.ct/ledger.db"
    assert settings.registry == f"sqlite:///{tmp_path}/.ct/mlflow.db"
    assert settings.locations == {"data": f"{tmp_path}/.ct/data", "predictions": f"{tmp_path}/.ct/predictions"}


def test_a_relative_home_is_fixed_where_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step may start in another folder."""
    monkeypatch.chdir(tmp_path)
    passed_on = Settings.from_environment({"CT_HOME": "here"}).to_environment()
    monkeypatch.chdir("/")
    assert Settings.from_environment(passed_on).home == str(tmp_path / "here")


def test_a_location_may_be_given_another_place_and_others_added() -> None:
    given = {"data": "s3://lake", "archive": "/old", "predictions": "/kept"}
    assert Settings.from_environment({"CT_LOCATIONS": json.dumps(given)}).locations == given


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "data=/srv",
        "[]",
        "null",
        '"/srv"',
        '[["data", "/srv"]]',
        '{"data": 3}',
        '{"data": null}',
        '{"data": {"url": "/"}}',
    ],
)
def test_locations_that_are_no_json_object_of_names_and_urls_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="CT_LOCATIONS is not a JSON object of names and URLs") as refusal:
        Settings.from_environment({"CT_LOCATIONS": text})
    assert '{"data": "/srv/data"}' in str(refusal.value)


def test_no_refusal_repeats_the_value() -> None:
    with pytest.raises(UsageError) as refusal:
        Settings.from_environment({"CT_LOCATIONS": json.dumps({"data": [CANARY]})})
    assert CANARY not in str(refusal.value)
    assert "data: " in str(refusal.value)


def test_the_ledger_is_not_shown_where_settings_are_printed() -> None:
    settings = Settings.from_environment({"CT_LEDGER": f"postgresql://ct:{CANARY}@db/ct"})
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings)
    assert CANARY in settings.ledger


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.from_environment({}).home = "/elsewhere"


def test_what_model_files_may_ask_for_is_passed_on() -> None:
    settings = Settings.from_environment({"CT_ALLOWED": '{"images": ["ours/*"], "digests": true}'})
    assert settings.allowed.images == ("ours/*",)
    assert Settings.from_environment(settings.to_environment()).allowed == settings.allowed


@pytest.mark.parametrize("wrong", ["no JSON", "[]", '{"pictures": ["a"]}', '{"images": "ours/*"}'])
def test_a_wrong_list_of_what_is_allowed_is_refused_and_never_taken_for_everything(wrong: str) -> None:
    with pytest.raises(UsageError, match="CT_ALLOWED is not a JSON object of names"):
        Settings.from_environment({"CT_ALLOWED": wrong})
