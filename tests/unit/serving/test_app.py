"""The application of one release, asked without a network."""

import asyncio
import json
import re
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from continuous_training.core.task import Task
from continuous_training.serving.age import Age
from continuous_training.serving.app import Answered, ModelApp
from continuous_training.serving.arrow import MEDIA_TYPE
from continuous_training.serving.meter import Board, Meter
from continuous_training.trainers import LightGBM, Sklearn
from continuous_training.trainers.bundle import load_bundle, score_bounds
from served_model import FEATURES, make_rows, records, release, stream, train

ROWS = make_rows(seed=3)
RECORDS = records(ROWS)
ROUTES = {
    ("POST", "/invocations"),
    ("GET", "/ping"),
    ("GET", "/version"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    *(
        (method, f"/v2/models/flights{version}{end}")
        for version in ("", "/versions/7")
        for method, end in (("GET", ""), ("GET", "/ready"), ("POST", "/infer"), ("POST", "/what-if"))
    ),
}


@pytest.fixture(scope="module")
def bundle(trained):
    return load_bundle(trained[0])


@pytest.fixture(scope="module")
def app(bundle):
    made = ModelApp(release(7), bundle, ["localhost"])
    made.ready = True
    return made


def test_the_name_of_a_server_is_the_same_in_capitals(bundle):
    made = ModelApp(release(7), bundle, ["Models.Example", "*.In.Example"])
    for name, status in (("models.example", 200), ("MODELS.example:80", 200), ("a.in.example", 200), ("example", 400)):
        assert asked(made, "GET", "/version", headers={"host": name}).status_code == status


def asked(app, method, path, **options):
    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


def invoke(app, rows=RECORDS[:1], headers=None, **params):
    told = {"params": params} if params else {}
    return asked(app, "POST", "/invocations", json={"dataframe_records": rows, **told}, headers=headers)


def tensors(rows):
    types = {"distance": "FP64", "wind": "FP32", "carrier": "BYTES"}
    return [
        {"name": name, "shape": [len(rows)], "datatype": kind, "data": [row[name] for row in rows]}
        for name, kind in types.items()
    ]


def infer(app, rows=RECORDS[:1], path="/v2/models/flights/infer", **told):
    return asked(app, "POST", path, json={"inputs": tensors(rows), **told})


def test_these_routes_are_public_and_no_others(app):
    offered = asked(app, "GET", "/").json()["message"].partition("; use ")[2].split(", ")
    assert {tuple(route.split(" ")) for route in offered} == ROUTES
    for method, path in ROUTES:
        assert asked(app, method, path).status_code == (415 if method == "POST" else 200)
        other = asked(app, "POST" if method == "GET" else "GET", path)
        assert (other.status_code, other.headers["allow"]) == (405, method)


def test_training_rows_get_the_same_predictions_in_every_form(app, bundle):
    frame = ROWS.assign(
        carrier=ROWS["carrier"].where(ROWS.index % 7 > 0, None), wind=ROWS["wind"].where(ROWS.index % 5 > 0)
    )
    frame.loc[frame.index % 11 == 0, "carrier"] = "never seen"
    rows = records(frame)
    expected = pytest.approx(bundle.answer({name: frame[name] for name in FEATURES.columns}), rel=0, abs=1e-9)
    assert invoke(app, rows).json()["predictions"] == expected
    [output] = infer(app, rows).json()["outputs"]
    assert output["data"] == expected
    headers = {"content-type": MEDIA_TYPE.decode()}
    for category in (frame["carrier"], frame["carrier"].astype("category"), frame["carrier"].astype("string")):
        answer = asked(app, "POST", "/invocations", content=stream(frame.assign(carrier=category)), headers=headers)
        assert answer.headers["content-type"] == MEDIA_TYPE.decode()
        assert pa.ipc.open_stream(answer.content).read_all()["predictions"].to_pylist() == expected
    singles = [invoke(app, [row]).json()["predictions"][0] for row in rows[:60]]
    assert singles == pytest.approx(
        bundle.answer({name: frame[name][:60] for name in FEATURES.columns}), rel=0, abs=1e-9
    )


@pytest.fixture(scope="module")
def strict(bundle):
    return ModelApp(release(7), bundle, ["localhost"], strict=True)


def in_arrow(app, frame):
    headers = {"content-type": MEDIA_TYPE.decode()}
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return asked(app, "POST", "/invocations", content=sink.getvalue().to_pybytes(), headers=headers)


def in_every_form(app, frame):
    """Ask for the rows of a frame in each form that there is, one row and several."""
    rows = json.loads(frame.to_json(orient="records"))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    types = {"distance": "FP64", "wind": "FP64", "weight": "FP64", "carrier": "BYTES"}
    inputs = [
        {"name": name, "shape": [len(rows)], "datatype": types[name], "data": values}
        for name, values in columns.items()
    ]
    split = {"columns": [*columns], "data": [[*row.values()] for row in rows]}
    bodies = [{"dataframe_records": rows}, {"instances": rows}, {"inputs": columns}, {"dataframe_split": split}]
    answers = [asked(app, "POST", "/invocations", json=body) for body in bodies]
    return [*answers, asked(app, "POST", "/v2/models/flights/infer", json={"inputs": inputs}), in_arrow(app, frame)]


def said(answer):
    told = answer.json()
    return told.get("message") or told["error"]


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_a_strict_server_refuses_columns_and_categories_of_no_training_in_every_form(strict, app, rows):
    known = ROWS[[*FEATURES.columns]].head(rows).assign(carrier="UA")
    extra = known.assign(weight=1.0)
    unknown = known.assign(carrier=["UA"] * (rows - 1) + ["never seen"])
    assert {answer.status_code for frame in (extra, unknown) for answer in in_every_form(app, frame)} == {200}
    assert {answer.status_code for answer in in_every_form(strict, known)} == {200}
    for answer in in_every_form(strict, extra):
        assert (answer.status_code, said(answer).partition(":")[0].split(" ")[0]) == (400, "weight")
    for answer in in_every_form(strict, unknown):
        assert answer.status_code == 400
        assert f"column 'carrier' holds 'never seen' (str) in row {rows - 1}" in said(answer)
        assert "allowed: AA, B6, UA, and null" in said(answer)


def test_a_strict_server_takes_nulls_and_values_without_names_and_names_the_row_with_more(strict):
    nulls = [dict.fromkeys(FEATURES.columns), RECORDS[0]]
    assert invoke(strict, nulls).status_code == 200
    assert asked(strict, "POST", "/invocations", json={"instances": [[1.0, 2.0, "UA"]]}).status_code == 200
    assert said(invoke(strict, [RECORDS[0], {**RECORDS[1], "x": 1}])).startswith("x in row 1: no column of the model")
    missing = invoke(strict, [{"distance": 1.0, "carrier": "UA"}])
    assert (missing.status_code, "'wind' is missing" in said(missing)) == (400, True)


def test_a_strict_server_still_answers_its_golden_rows(strict):
    golden = {"ct-request-id": "golden-rows"}
    assert invoke(strict, [{**RECORDS[0], "carrier": "rare"}], golden).status_code == 200


def test_a_model_tells_of_itself_as_the_protocol_wants(app):
    assert asked(app, "GET", "/v2").json() == {"name": "continuous-training", "version": "0.1.0", "extensions": []}
    told = asked(app, "GET", "/v2/models/flights/versions/7").json()
    assert told == {
        "name": "flights",
        "versions": ["7"],
        "platform": "continuous-training_lightgbm",
        "inputs": [
            {"name": "distance", "datatype": "FP64", "shape": [-1]},
            {"name": "wind", "datatype": "FP64", "shape": [-1]},
            {"name": "carrier", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "predictions", "datatype": "FP64", "shape": [-1]}],
    }
    assert asked(app, "GET", "/v2/models/flights/ready").json() == {"name": "flights", "ready": True}


@pytest.mark.parametrize(
    "path", ["/v2/models/other/infer", "/v2/models/flights/versions/8/infer", "/v2/repository/index"]
)
def test_another_model_or_version_is_an_error_as_the_protocol_wants(app, path):
    answer = infer(app, path=path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}
    assert "/v2/models/flights/versions/7/infer" in answer.json()["error"]


def test_an_inference_gives_back_its_id_and_the_outputs_it_asked_for(app, bundle):
    answer = infer(app, RECORDS[:3], id="my request", path="/v2/models/flights/versions/7/infer")
    told = answer.json()
    assert (told["model_name"], told["model_version"], told["id"]) == ("flights", "7", "my request")
    assert told["outputs"][0]["shape"] == [3]
    assert uuid.UUID(answer.headers["ct-request-id"]).version == 7  # no header can carry a space back
    answer = infer(app, id="r-1", parameters={"contributions": True}, outputs=[{"name": "base"}])
    assert answer.headers["ct-request-id"] == "r-1"
    assert [output["name"] for output in answer.json()["outputs"]] == ["base"]


def test_the_id_in_the_header_names_the_request_and_one_that_cannot_is_refused(app):
    assert invoke(app, headers={"ct-request-id": "abc-1"}).headers["ct-request-id"] == "abc-1"
    made = [invoke(app).headers["ct-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    assert made[0][:13] <= made[1][:13]  # the millisecond
    for wrong in ("a b", "x" * 101, ""):
        answer = invoke(app, headers={"ct-request-id": wrong})
        assert (answer.status_code, "ct-request-id must be" in answer.text) == (400, True)
        assert uuid.UUID(answer.headers["ct-request-id"])


def test_contributions_add_up_to_the_raw_score_in_both_forms(app):
    told = invoke(app, RECORDS[:4], contributions=True).json()
    contributions = told["contributions"]
    assert contributions["columns"] == list(FEATURES.columns)
    raw = np.sum(contributions["data"], axis=1) + contributions["base"]
    assert told["predictions"] == pytest.approx(1 / (1 + np.exp(-raw)), abs=1e-9)
    outputs = {o["name"]: o for o in infer(app, RECORDS[:4], parameters={"contributions": True}).json()["outputs"]}
    assert outputs["contributions"]["shape"] == [4, 3]
    assert outputs["contributions"]["data"] == [value for row in contributions["data"] for value in row]
    assert outputs["base"]["data"] == contributions["base"]
    assert "contributions" not in invoke(app, contributions=False).json()


def test_reasons_are_told_in_words_in_both_forms(app):
    rows = [{"distance": 1400.0, "wind": None, "carrier": 'x" raises it\u202e'}, *RECORDS[:40]]
    told = invoke(app, rows, reasons=True).json()
    assert set(told) == {"predictions", "reasons"}
    assert len(told["reasons"]) == 41
    assert "distance = 1400 raises the score by" in told["reasons"][0]
    assert 'carrier = "x\\" raises it\\u202e"' in told["reasons"][0]
    both = invoke(app, rows[:1], reasons=True, contributions=True).json()
    assert both["reasons"] == told["reasons"][:1]
    assert both["contributions"]["columns"] == list(FEATURES.columns)
    [predictions, reasons] = infer(app, rows[:2], parameters={"reasons": True}).json()["outputs"]
    assert (predictions["name"], predictions["data"]) == ("predictions", told["predictions"][:2])
    assert reasons == {"name": "reasons", "shape": [2], "datatype": "BYTES", "data": told["reasons"][:2]}
    refused = infer(app, rows[:1], parameters={"contributions": True}, outputs=[{"name": "reasons"}])
    assert refused.status_code == 400
    assert invoke(app, RECORDS * 3, reasons=True).status_code == 413
    assert "reasons" not in invoke(app, reasons=False).json()
    assert invoke(app, [], reasons=True).json() == {"predictions": []}


def test_a_model_that_cannot_say_what_moved_it_says_so(tmp_path):
    folder = train(tmp_path / "linear", 3, Sklearn(estimator="LogisticRegression"))
    app = ModelApp(release(7), load_bundle(folder), ["localhost"])
    assert invoke(app).status_code == 200
    answer = invoke(app, contributions=True)
    assert answer.status_code == 400
    assert "trainer sklearn does not tell what moved its predictions" in answer.json()["message"]


def test_too_many_contributions_at_once_are_refused(app):
    answer = invoke(app, RECORDS * 3, contributions=True)
    assert answer.status_code == 413
    assert "1,200 rows" in answer.json()["message"]


def test_several_classes_and_values_are_answered_in_every_form(tmp_path):
    for task, size in (
        (Task(kind="classification", label="carrier", event_time="at"), 3),
        (Task(kind="regression", label="distance", event_time="at"), 0),
    ):
        folder = train(tmp_path / task.kind, 3, LightGBM(rounds=5), task)
        bundle = load_bundle(folder)
        app = ModelApp(release(7), bundle, ["localhost"])
        rows = ROWS.head(40)
        expected = bundle.answer({name: rows[name] for name in FEATURES.columns})
        for count in (1, 40):
            assert np.array(invoke(app, RECORDS[:count]).json()["predictions"]) == pytest.approx(
                np.array(expected[:count])
            )
        [output] = infer(app, RECORDS[:40]).json()["outputs"]
        assert output["shape"] == ([40, size] if size else [40])
        assert output["data"] == pytest.approx(np.ravel(expected))
        answer = asked(app, "POST", "/invocations", content=stream(rows), headers={"content-type": MEDIA_TYPE.decode()})
        told = pa.ipc.open_stream(answer.content).read_all()["predictions"].to_pylist()
        assert np.array(told) == pytest.approx(np.array(expected))
        contributions = invoke(app, RECORDS[:2], contributions=True).json()["contributions"]
        assert np.shape(contributions["data"]) == ((2, 3, 3) if size else (2, 3))
        assert np.shape(contributions["base"]) == ((2, 3) if size else (2,))
        [reason] = invoke(app, RECORDS[:1], reasons=True).json()["reasons"]
        likeliest = bundle.manifest.classes[int(np.argmax(expected[0]))] if size else None
        assert reason.startswith(f"class {likeliest}: ") == bool(size)


@pytest.mark.parametrize("later", [False, True])
def test_what_is_answered_is_recorded_before_it_is_sent(bundle, later):
    told, sent = [], []

    def note(answered):
        told.append((answered, list(sent)))

    async def note_later(answered):
        await asyncio.sleep(0)
        note(answered)

    app = ModelApp(release(7), bundle, ["localhost"], note_later if later else note)

    async def watched(scope, receive, send):
        async def noticed(message):
            sent.append(message["type"])
            await send(message)

        await app(scope, receive, noticed)

    answer = invoke(watched, headers={"ct-request-id": "r-9"})
    [(answered, before)] = told
    assert answered == Answered(
        "r-9", {name: [RECORDS[0][name]] for name in FEATURES.columns}, answer.json()["predictions"], "7"
    )
    assert before == []
    invoke(watched, [{}])
    invoke(watched, headers={"ct-request-id": "golden-rows"})
    assert len(told) == 1
    asked(watched, "POST", "/invocations", content=stream(ROWS), headers={"content-type": MEDIA_TYPE.decode()})
    columns = told[1][0].columns
    json.dumps(columns, allow_nan=False)
    assert columns["carrier"] == [row["carrier"] for row in RECORDS]
    assert [wind is None for wind in columns["wind"]] == [row["wind"] is None for row in RECORDS]


def test_what_cannot_be_recorded_is_not_answered(bundle, caplog):
    def full(_):
        msg = "no space left"
        raise OSError(msg)

    answer = invoke(ModelApp(release(7), bundle, ["localhost"], full))
    assert (answer.status_code, "predictions" in answer.text) == (500, False)
    assert "no space left" in caplog.text


def test_a_stale_model_flags_its_answers_or_gives_none(bundle):
    cutoff = datetime.now(UTC) - timedelta(days=40)
    for maximum, past, status, flag in (
        ("30 days", "flag", 200, "true"),
        ("30 days", "refuse", 503, "true"),
        ("50 days", "refuse", 200, None),
        (None, "refuse", 200, None),
    ):
        app = ModelApp(release(7), bundle, ["localhost"], age=Age(data_cutoff=cutoff, maximum=maximum, past=past))
        app.ready = True
        answer = invoke(app)
        assert (answer.status_code, answer.headers.get("ct-stale")) == (status, flag)
        assert asked(app, "GET", "/v2/health/ready").status_code == status
        assert asked(app, "GET", "/v2/health/live").status_code == 200
        assert status == 200 or "past its maximum age" in answer.json()["message"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_not_unpacked(app, coding):
    answer = invoke(app, headers={"content-encoding": coding})
    assert answer.status_code == 415
    assert "compressed bodies are not read" in answer.json()["message"]


def test_many_large_bodies_at_once_are_told_to_come_again(bundle, monkeypatch):
    monkeypatch.setattr("continuous_training.serving.app._MAX_HELD", 100)
    app = ModelApp(release(7), bundle, ["localhost"])
    answer = invoke(app, RECORDS[:10])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert {invoke(app, []).status_code for _ in range(20)} == {200}  # what was refused or answered is not held


def test_each_request_is_counted_once_under_its_route(bundle):
    board, bounds = Board(), score_bounds(bundle.manifest, bundle.golden)
    app = ModelApp(release(7), bundle, ["localhost"], meter=Meter(board.block(), bounds))
    invoke(app, RECORDS[:100])
    invoke(app)
    infer(app)
    invoke(app, [{}])
    for question in ({"row": RECORDS[0], "threshold": 0.5}, {}):
        asked(app, "POST", "/v2/models/flights/what-if", json=question)
    asked(app, "GET", "/nowhere")
    asked(app, "GET", "/ping")
    assert board.total("requests") == [2, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert board.total("refusals") == [2, 1, 0, 0, 0, 0, 0]
    assert board.total("rows") == [102]
    assert board.total("in_flight") == [0]
    expected = bundle.answer({name: ROWS[name][:100] for name in FEATURES.columns})
    expected += [expected[0]] * 2
    assert board.total("scores") == np.histogram(expected, [-np.inf, *np.nextafter(bounds, 2), np.inf])[0].tolist()
    assert sum(board.total("score_sum")) == pytest.approx(sum(expected))


def test_a_refusal_names_the_column_and_the_row(app):
    for answer in (
        invoke(app, [RECORDS[0], {**RECORDS[1], "wind": "strong"}]),
        infer(app, [RECORDS[0], {**RECORDS[1], "wind": "strong"}]),
    ):
        assert answer.status_code == 400
        assert re.search(r"wind.*row 1", json.dumps(answer.json()))


def test_missing_values_of_pandas_are_no_times_or_texts_to_a_stream(app):
    frame = ROWS.head(3).assign(wind=pd.to_datetime("2024-01-01"))
    answer = asked(app, "POST", "/invocations", content=stream(frame), headers={"content-type": MEDIA_TYPE.decode()})
    assert answer.status_code == 400
    assert "column 'wind'" in answer.json()["message"]
