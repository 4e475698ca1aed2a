"""Say by exit code whether a service of the image is healthy: `health.py <url> [<part>]`, `health.py serving <home> <model> <port>`.

A part is one of those that Airflow's health page names; without one it is enough that the page answers.
"""

import json
import sys
import urllib.request
from pathlib import Path

LONGEST_SECONDS = 5


def page(url: str, part: str | None = None) -> bool:
    """Tell whether the page answers, and calls the part healthy."""
    with urllib.request.urlopen(url, timeout=LONGEST_SECONDS) as answer:  # noqa: S310 - written in the compose file
        return part is None or json.load(answer)[part]["status"] == "healthy"


def serving(home: str, model: str, port: str) -> bool:
    """Tell whether the newest champion answers; before the first one it is enough that somebody waits for it."""
    folder = Path(home) / "serving" / model
    if not (folder / "pointer.json").exists():
        return (folder / "status.json").exists()
    return json.loads((folder / "status.json").read_bytes())["state"] == "ready" and page(
        f"http://127.0.0.1:{port}/ping"
    )


if __name__ == "__main__":
    healthy = serving(*sys.argv[2:]) if sys.argv[1] == "serving" else page(*sys.argv[1:])
    sys.exit(0 if healthy else 1)
