"""Write Grafana's dashboards into grafana/dashboards, from the list below: python docker/monitoring/dashboards.py."""

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT, ACROSS = 12, 8, 24
OF_MODEL = '{model=~"$model"}'
ANSWERING = 'model=~"$model", route=~"invocations|infer"'


class Panel(NamedTuple):
    """One panel: what it shows, the queries with the names of their lines, and its unit."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    help: str = ""


DASHBOARDS: dict[str, tuple[str, list[Panel]]] = {
    "models": (
        "Models",
        [
            Panel("Champions", {"{{model}} version {{version}}": f"ct_model_info{OF_MODEL}"}, kind="stat"),
            Panel("Time since promotion", {"{{model}}": f"ct_model_age_seconds{OF_MODEL}"}, "s", "stat"),
            Panel("Age of the champion's newest data", {"{{model}}": f"ct_model_data_age_seconds{OF_MODEL}"}, "s"),
            Panel(
                "Quality, with its interval and limits",
                {
                    "{{model}} {{metric}} {{line}}": f"ct_performance{OF_MODEL}",
                    "{{model}} {{metric}} {{line}} low": f"ct_performance_low{OF_MODEL}",
                    "{{model}} {{metric}} {{line}} high": f"ct_performance_high{OF_MODEL}",
                    "{{model}} {{metric}} {{side}} limit": f"ct_performance_limit{OF_MODEL}",
                },
                help="estimated: from predictions alone; provisional: with the labels known so far; final: with all of them.",
            ),
            Panel("Share of labels known", {"{{model}} {{line}}": f"ct_performance_matured{OF_MODEL}"}, "percentunit"),
        ],
    ),
    "drift": (
        "Drift",
        [
            Panel(
                "Largest effect of each detector",
                {"{{model}} {{detector}}": f"ct_drift_effect{OF_MODEL}"},
                help="On the detector's own scale, which does not grow with rows.",
            ),
            Panel(
                "Share of columns beyond the threshold",
                {
                    "{{model}} {{detector}}": f"ct_drift_exceeded{OF_MODEL} / (ct_drift_measured{OF_MODEL} > 0)",
                },
                "percentunit",
            ),
            Panel("Signals: 1 fired, 0 quiet, -1 inconclusive", {"{{model}} {{signal}}": f"ct_signal{OF_MODEL}"}),
            Panel("Open episodes", {"{{model}} {{kind}}": f"ct_episodes_open{OF_MODEL}"}),
            Panel("Faults in the newest window", {"{{model}}": f"ct_window_defects{OF_MODEL}"}),
            Panel("Rows of the newest window", {"{{model}}": f"ct_window_rows{OF_MODEL}"}),
        ],
    ),
    "rollout": (
        "Rollouts",
        [
            Panel("A challenger meets real requests", {"{{model}}": f"ct_rollout_active{OF_MODEL}"}, kind="stat"),
            Panel("Step of the newest rollout", {"{{model}}": f"ct_rollout_step{OF_MODEL}"}),
            Panel("Rollouts that ended", {"{{model}} {{answer}}": f"ct_rollouts_total{OF_MODEL}"}),
            Panel("Requests behind the newest verdict", {"{{model}} {{arm}}": f"ct_rollout_requests{OF_MODEL}"}),
            Panel("Those that failed", {"{{model}} {{arm}}": f"ct_rollout_errors{OF_MODEL}"}),
            Panel(
                "Requests per second by version",
                {"{{model}} {{version}}": f"ct:server_requests:rate5m{OF_MODEL}"},
                "reqps",
                help="Of the servers that Prometheus reads.",
            ),
            Panel(
                "Requests per second in the step",
                {"{{model}} {{arm}} version {{version}}": f"ct:router_requests:rate5m{OF_MODEL}"},
                "reqps",
                help="What the champion's servers count while a rollout goes on. In a shadow both have the same requests.",
            ),
            Panel(
                "Share of the entities",
                {"{{model}} {{arm}}": f"max by (model, arm) (ct_router_share{OF_MODEL})"},
                "percentunit",
                help="What the plan says: whose requests an arm answers, or is shown.",
            ),
            Panel(
                "Failed requests in the step",
                {"{{model}} {{arm}}": f"ct:router_errors:ratio5m{OF_MODEL}"},
                "percentunit",
            ),
            Panel(
                "Time to an answer in the step",
                {
                    f"{{{{model}}}} {{{{arm}}}} p{place}": f"histogram_quantile({place / 100}, sum by (model, arm, le) "
                    f"(rate(ct_router_request_duration_seconds_bucket{OF_MODEL}[5m])))"
                    for place in (50, 95, 99)
                },
                "s",
                help="Each by the clock of its own server.",
            ),
            Panel(
                "Answers of a shadow beside the champion's",
                {
                    f"{{{{model}}}} {what}": f"sum by (model) (rate(ct_router_{what}_total{OF_MODEL}[5m]))"
                    for what in ("compared", "differing", "dropped")
                },
                "reqps",
                help="dropped: copies that were not sent because the challenger was behind.",
            ),
            Panel(
                "Largest difference of two answers",
                {"{{model}}": f"max by (model) (ct_router_largest_difference{OF_MODEL})"},
            ),
        ],
    ),
    "pipeline": (
        "Pipeline",
        [
            Panel(
                "Retrainings by reason and outcome",
                {"{{model}} {{reason}} {{outcome}}": f"ct_retrainings_total{OF_MODEL}"},
            ),
            Panel(
                "Mean duration of a retraining",
                {
                    "{{model}} {{outcome}}": f"sum by (model, outcome) (ct_retraining_seconds_total{OF_MODEL}) / "
                    f"sum by (model, outcome) (ct_retrainings_total{OF_MODEL})"
                },
                "s",
            ),
            Panel("Decisions by answer", {"{{model}} {{answer}}": f"ct_decisions_total{OF_MODEL}"}),
            Panel("Promotions and rollbacks", {"{{model}} {{kind}}": f"ct_champions_total{OF_MODEL}"}),
            Panel(
                "Last window looked at",
                {"{{model}}": f"ct_window_end_timestamp_seconds{OF_MODEL} * 1000"},
                "dateTimeAsIso",
                "stat",
            ),
            Panel("Exporter", {"{{instance}}": 'up{job="continuous-training"}'}, kind="stat"),
        ],
    ),
    "server": (
        "Model server",
        [
            Panel("Requests per second", {"{{model}} {{version}}": f"ct:server_requests:rate5m{OF_MODEL}"}, "reqps"),
            Panel(
                "Failed requests",
                {"{{model}}": f"ct:server_errors:ratio5m{OF_MODEL} or (ct:server_requests:rate5m{OF_MODEL} * 0)"},
                "percentunit",
            ),
            Panel(
                "Time to an answer",
                {
                    f"{{{{model}}}} p{place}": f"histogram_quantile({place / 100}, sum by (model, le) "
                    f"(rate(ct_server_request_duration_seconds_bucket{{{ANSWERING}}}[5m])))"
                    for place in (50, 95, 99)
                },
                "s",
            ),
            Panel("Requests being answered", {"{{model}} {{version}}": f"ct_server_requests_in_flight{OF_MODEL}"}),
            Panel("Mean prediction", {"{{model}} {{version}}": f"ct:server_score:mean1h{OF_MODEL}"}),
            Panel(
                "Refusals",
                {"{{model}} {{reason}}": f"sum by (model, reason) (rate(ct_server_refusals_total{OF_MODEL}[5m]))"},
                "reqps",
            ),
        ],
    ),
}

ANNOTATIONS = {
    "Promotion": ("green", f'changes(ct_model_fence{OF_MODEL}[2m]) > 0 unless changes(ct_champions_total{{kind="rollback"}}[2m]) > 0'),
    "Rollback": ("red", 'changes(ct_champions_total{model=~"$model", kind="rollback"}[2m]) > 0'),
    "Retraining": ("blue", f"sum by (model) (changes(ct_retrainings_total{OF_MODEL}[2m])) > 0"),
}  # fmt: skip


def dashboard(uid: str, title: str, panels: list[Panel]) -> dict[str, Any]:
    """Return a dashboard in Grafana's JSON model."""
    return {
        "uid": f"ct-{uid}",
        "title": f"Continuous training: {title}",
        "tags": ["continuous-training"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-7d", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "model",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": {"query": "label_values(ct_model_fence, model)", "refId": "model"},
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                }
            ]
        },
        "annotations": {
            "list": [
                {
                    "name": name,
                    "datasource": SOURCE,
                    "enable": True,
                    "iconColor": colour,
                    "expr": query,
                    "step": "60s",
                    "titleFormat": f"{name} of {{{{model}}}}",
                }
                for name, (colour, query) in ANNOTATIONS.items()
            ]
        },
        "links": [{"type": "dashboards", "tags": ["continuous-training"], "title": "Continuous training"}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": number * WIDTH % ACROSS, "y": number * WIDTH // ACROSS * HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def written() -> dict[str, str]:
    """Return each file's name and text."""
    return {
        f"{uid}.json": json.dumps(dashboard(uid, title, panels), indent=1) + "\n"
        for uid, (title, panels) in DASHBOARDS.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in written().items():
        (FOLDER / name).write_text(text)
