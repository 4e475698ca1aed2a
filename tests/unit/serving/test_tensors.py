import json

import pytest

from continuous_training.core.errors import DataInvalid
from continuous_training.serving.asked import MAX_ROWS, TooManyRows
from continuous_training.serving.tensors import read_request

NAMES = ("distance", "carrier")
CARRIER = {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["UA", None]}


def tensor(**told):
    return {"name": "distance", "shape": [2], "datatype": "FP64", "data": [1, 2.5], **told}


def read(*inputs, **told):
    return read_request(json.dumps({"inputs": [*inputs], **told}).encode(), NAMES)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        *((name, [0, 100]) for name in ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")),
        *((name, [0.5, 3]) for name in ("FP16", "FP32", "FP64", "BF16")),
        ("BOOL", [True, False]),
        ("BYTES", ["5", ""]),
        ("INT64", [None, -(2**63)]),
    ],
)
@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_values_of_every_datatype_come_as_they_are(datatype, data, shape):
    given = [[value] for value in data] if len(shape) == 2 else data
    for written in (data, given):
        asked = read(tensor(datatype=datatype, data=written, shape=shape), CARRIER)
        assert asked.given == {"distance": data, "carrier": ["UA", None]}
        assert asked.rows == 2


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"datatype": "FP128"}, "distance has the datatype 'FP128'; allowed: BOOL"),
        ({"datatype": 5}, r"Expected `str`, got `int` - at `\$.inputs\[0\].datatype`"),
        ({"datatype": "INT8", "data": [1, 128]}, "distance holds a number in row 1 that INT8 cannot"),
        ({"datatype": "UINT64", "data": [-1, 1]}, "distance holds a number in row 0 that UINT64"),
        ({"datatype": "INT64", "data": [1, True]}, "distance holds true or false in row 1, which is no INT64"),
        ({"datatype": "INT64", "data": [1, 1.0]}, "distance holds a number in row 1, which is no INT64"),
        ({"datatype": "BYTES"}, "distance holds a number in row 0, which is no BYTES"),
        ({"data": [1, "2"]}, "distance holds a text in row 1, which is no FP64"),
        ({"data": [1, [2]]}, "distance holds a list in row 1"),
        ({"data": [[1, 2], [3, 4]]}, "distance holds a list in row 0"),
        ({"data": [[1], 2]}, None),
        ({"data": {}}, "Expected `array`, got `object`"),
        ({"shape": [3]}, r"distance has the shape \[3\] and 2 values; write \[2\]"),
        ({"shape": [1, 2]}, r"the shape \[1, 2\]"),
        ({"shape": []}, r"the shape \[\]"),
        ({"shape": [1], "data": [1]}, "carrier has 2 rows and distance has 1"),
        ({"name": "speed"}, "missing distance; write null"),
        ({"name": "carrier"}, "carrier is given more than once"),
        ({"name": None}, r"Expected `str`, got `null` - at `\$.inputs\[0\].name`"),
    ],
)
def test_a_tensor_that_is_wrong_is_refused_with_its_name_and_the_row(told, said):
    if said is None:
        assert read(tensor(**told), CARRIER).given["distance"] == [1, 2]
        return
    with pytest.raises(DataInvalid, match=said):
        read(tensor(**told), CARRIER)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "Expected `object`"),
        (b"{}", "required field `inputs`"),
        (b'{"inputs": 5}', "Expected `array`"),
        (b'{"inputs": [' + b"[" * 100_000, "no inference request|nested too deeply"),
        (b'{"inputs": [], "x": ' + b"[" * 100_000, "not JSON|nested too deeply"),
        (b'{"inputs": []}', "missing distance, carrier"),
        (b'{"inputs": [], "id": 5}', "Expected `str | null`"),
        (b'{"inputs": [], "id": "%s"}' % (b"x" * 257), "length <= 256"),
        (b'{"inputs": [], "parameters": []}', "Expected `object | null`"),
        (b'{"inputs": [], "parameters": {"binary_data_output": true}}', "parameters names binary_data_output"),
        (
            b'{"inputs": [{"name": "distance", "shape": [1], "datatype": "FP64", "data": [NaN]}]}',
            "write null for a missing",
        ),
        (b'{"inputs": [{"name": "\xff"}]}', "not JSON in UTF-8"),
    ],
)
def test_a_wrong_request_is_refused_with_what_is_wrong(body, said):
    with pytest.raises(DataInvalid, match=said):
        read_request(body, NAMES)


def test_an_output_that_there_is_not_is_refused():
    assert read(tensor(), CARRIER, outputs=[{"name": "predictions"}]).outputs == ("predictions",)
    with pytest.raises(DataInvalid, match="no output 'contributions'; allowed: predictions"):
        read(tensor(), CARRIER, outputs=[{"name": "contributions"}])


def test_one_row_more_than_allowed_is_refused():
    many = MAX_ROWS + 1
    with pytest.raises(TooManyRows, match="100,001 rows"):
        read(
            tensor(data=[0] * many, shape=[many]),
            tensor(name="carrier", datatype="INT8", data=[0] * many, shape=[many]),
        )
