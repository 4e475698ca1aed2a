"""Ask a server the golden rows of its bundle: what it answers over HTTP must be what training answered."""

import http.client
import json
import math
from pathlib import Path

from continuous_training.deployers.processes import STARTUP_SECONDS

LOOPBACK = "127.0.0.1"
GOLDEN_REQUEST = "golden-rows"
"""Id of the request with the golden rows: servers neither record it nor count its predictions."""

TOLERANCE = 1e-9
"""Largest difference, absolute or relative, between a golden answer and the same answer over HTTP."""


def golden_problem(bundle: Path, port: int, host: str = LOOPBACK) -> str:
    """Return what is wrong with the answers to the golden rows over HTTP; empty when nothing is."""
    connection = http.client.HTTPConnection(host, port, timeout=STARTUP_SECONDS)
    try:
        golden = json.loads((bundle / "golden.json").read_bytes())
        body = json.dumps({"dataframe_records": golden["rows"]})
        headers = {"Content-Type": "application/json", "ct-request-id": GOLDEN_REQUEST}
        connection.request("POST", "/invocations", body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != http.client.OK:
            return f"the golden rows were answered with HTTP {response.status}: {answer[:500].decode(errors='replace')}"
        predictions = json.loads(answer)["predictions"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        return f"the golden rows could not be asked ({type(error).__name__}: {error})"
    finally:
        connection.close()
    if not same(golden["predictions"], predictions):
        return f"the golden rows were answered {str(predictions)[:200]}, in training {str(golden['predictions'])[:200]}"
    return ""


def same(expected: object, answered: object) -> bool:
    """Tell whether two answers are the same: lists of the same length, numbers finite and within 1e-9.

    >>> same([0.25], [0.25 + 1e-12]), same([0.25], [0.2501]), same([[0.25]], [[float("nan")]])
    (True, False, False)
    """
    if isinstance(expected, list) and isinstance(answered, list):
        return len(expected) == len(answered) and all(map(same, expected, answered))
    return (
        isinstance(expected, int | float)
        and isinstance(answered, int | float)
        and math.isfinite(answered)
        and math.isclose(expected, answered, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    )
