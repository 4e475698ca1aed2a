"""The prediction log as rows to learn from."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from continuous_training.cli import main
from continuous_training.core.errors import DataInvalid, SourceUnavailable
from continuous_training.core.prediction_log import SHADOW, LogPolicy
from continuous_training.core.window import Window
from continuous_training.serving.app import Answered
from continuous_training.serving.predictions import REASON, PredictionLog, Reason
from continuous_training.sources import Predictions
from continuous_training.sources._predictions import add_outcomes
from served_model import MODEL, TASK, release

NOW = datetime(2013, 3, 1, tzinfo=UTC)
WINDOW = Window(start=NOW, end=NOW + timedelta(days=1))
DELAYED = TASK.model_copy(update={"label_delay": timedelta(hours=1)})


@pytest.fixture
def log(tmp_path):
    moments = iter(NOW + timedelta(minutes=number) for number in range(1000))
    log = PredictionLog(
        tmp_path / MODEL, release(3), LogPolicy(drop=("wind",)), clock=lambda: next(moments).timestamp()
    )
    yield log
    log.close()


def write(log, *names, reason="champion"):
    token = REASON.set(Reason(reason))
    for name in names:
        log.record(Answered(name, {"distance": [900.5], "wind": [1.0], "carrier": [f"of {name}"]}, [0.5], "3"))
    REASON.reset(token)


def read(tmp_path, columns=("distance", "carrier"), as_of=NOW + timedelta(days=9), window=WINDOW, task=TASK):
    source = Predictions(path=f"{{predictions}}/{MODEL}")
    return source.read(window, task=task, columns=columns, as_of=as_of, locations={"predictions": str(tmp_path)})


def test_rows_have_the_columns_the_moment_and_the_last_known_outcome(log, tmp_path):
    write(log, "a", "b", "c")
    add_outcomes(tmp_path / MODEL, [{"id": "a", "value": True}, {"id": "b", "value": False}], NOW)
    rows = read(tmp_path)
    assert list(rows.columns) == ["distance", "carrier", "at", "late"]
    assert list(rows["late"]) == [True, False, None]
    assert list(rows["carrier"]) == ["of a", "of b", "of c"]
    assert rows["at"].dtype == "datetime64[ns, UTC]"
    assert rows["at"][1] == NOW + timedelta(minutes=1)


def test_history_is_seen_as_it_was(log, tmp_path):
    write(log, "a")
    add_outcomes(tmp_path / MODEL, [{"id": "a", "value": 1, "time": NOW + timedelta(hours=2)}], NOW)
    assert read(tmp_path, as_of=NOW + timedelta(hours=1))["late"].isna().all()
    assert list(read(tmp_path, as_of=NOW + timedelta(hours=2))["late"]) == [1]
    young = read(tmp_path, as_of=NOW + timedelta(minutes=59), task=DELAYED)
    assert young["late"].isna().all()


def test_what_only_a_shadow_answered_is_not_learned_from(log, tmp_path):
    write(log, "a")
    write(log, "a", "b", reason=SHADOW)
    assert list(read(tmp_path)["carrier"]) == ["of a"]


def test_a_dropped_column_is_named(log, tmp_path):
    write(log, "a")
    with pytest.raises(DataInvalid, match="no column 'wind'"):
        read(tmp_path, columns=["wind"])


def test_a_window_without_predictions_is_empty_and_a_log_that_is_not_there_is_an_error(log, tmp_path):
    write(log, "a")
    later = Window(start=NOW + timedelta(days=2), end=NOW + timedelta(days=3))
    assert list(read(tmp_path, window=later).columns) == ["distance", "carrier", "at", "late"]
    with pytest.raises(SourceUnavailable, match="no prediction log"):
        read(tmp_path / "nowhere")


def test_the_watermark_is_the_newest_prediction(log, tmp_path):
    source, locations = Predictions(path=str(tmp_path / MODEL)), {}
    assert source.watermark(task=TASK, locations=locations) is None
    write(log, "a", "b")
    assert source.watermark(task=TASK, locations=locations) == NOW + timedelta(minutes=1)


@pytest.mark.parametrize("path", ["{data}x", "../up", "{{predictions}}"])
def test_a_path_that_names_more_than_locations_is_refused(path):
    with pytest.raises(ValidationError):
        Predictions(path=path)


@pytest.mark.parametrize("name", ["known.csv", "known.jsonl"])
def test_outcomes_are_added_from_a_file(log, tmp_path, name, monkeypatch, capsys):
    monkeypatch.setenv("CT_HOME", str(tmp_path / "home"))
    file = tmp_path / name
    file.write_text('id,value\n"12",0.5\n' if name.endswith("csv") else '{"id": "12", "value": 0.5}\n')
    assert main(["outcomes", "add", "flight_delays", str(file)]) == 0
    assert "1 outcomes of flight_delays were added" in capsys.readouterr().err
    assert len([*(tmp_path / "home" / "predictions" / "flight_delays" / "outcomes").glob("*.parquet")]) == 1
    file.write_text("id\n12\n" if name.endswith("csv") else "{")
    assert main(["outcomes", "add", "flight_delays", str(file)]) == 4
    assert main(["outcomes", "add", "flight_delays", str(tmp_path / "nowhere.csv")]) == 2
