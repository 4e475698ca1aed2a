"""The command `ct`.

Exit codes: 0 ok, 1 error, 2 usage or a wrong model file, 3 the gate said no, 4 data invalid, 5 drift found, 6 conflict or
stale, 7 a dependency is down. Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from continuous_training.cli.arguments import end_of_window, moment, number, sentence
from continuous_training.core.errors import ContinuousTrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = (
    "doctor",
    "manifests",
    "metrics",
    "outcomes",
    "package",
    "replay",
    "report",
    "run",
    "scorecard",
    "serve",
    "status",
    "step",
)
"""Commands with a file of their own, which is loaded only for them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    # OpenMP's idle threads spin by default; beside a busy scheduler that makes LightGBM many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return _dispatch(options)
    except ContinuousTrainingError as error:
        print(f"ct: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("ct: interrupted; finished steps are kept, the same command goes on from there", file=sys.stderr)
        return 130


def _dispatch(options: argparse.Namespace) -> int:
    if options.command in FILES:
        module = import_module(f"continuous_training.cli.{options.command}")
        code: int = getattr(module, options.command)(options)
        return code
    if options.command in {"lint", "schema", "explain", "suggest-expectations"}:
        from continuous_training.cli import author

        return author.COMMANDS[options.command](options)
    from continuous_training.cli import operate

    return operate.COMMANDS[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ct", description="Continuous training: retrain when it pays, promote what is better."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _author_parsers(commands)
    _run_parser(commands)
    _replay_parser(commands)
    _scorecard_parser(commands)
    _report_parser(commands)
    _operate_parsers(commands)
    _package_parser(commands)
    _manifests_parser(commands)
    _metrics_parser(commands)
    _serve_parser(commands)
    _outcomes_parser(commands)

    step = commands.add_parser(
        "step", help="do one step of a run (what Airflow tasks and pods call; reads CT_SPEC and CT_RUN)"
    )
    step.add_argument("name")
    return parser


def _author_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = commands.add_parser("lint", help="check model files and say what is wrong, where, and what is allowed")
    lint.add_argument("path", nargs="?", help="a model file or a folder of them (default: the models folder)")
    lint.add_argument("--json", action="store_true", help="print what is right and wrong as JSON")

    commands.add_parser("schema", help="print the JSON schema of a model file, for editors")

    explain = commands.add_parser(
        "explain",
        help="say in words what a model file will do, why a run ran, or why a model was or was not retrained after a look",
    )
    explain.add_argument(
        "what", metavar="MODEL|RUN", help="a model, or a training run's key or its first 6 digits or more"
    )
    explain.add_argument(
        "--window",
        type=end_of_window,
        metavar="TIME",
        help="what was decided on the model's window that ends then, as ct history lists it, or that holds this moment; "
        "also START/END, as a watch logs it",
    )
    explain.add_argument("--json", action="store_true")

    suggest = commands.add_parser(
        "suggest-expectations", help="propose a Great Expectations suite from a window of data"
    )
    suggest.add_argument("model")
    suggest.add_argument("--as-of", type=moment, help="use the reference window as it was then (default: newest)")


def _run_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="do the whole of <model>.train or <model>.watch here, without Airflow")
    run.add_argument("what", choices=["train", "watch"])
    run.add_argument("model")
    run.add_argument("--as-of", type=moment, help="look from this moment (default: the newest complete window)")
    run.add_argument("--reason", type=sentence, default="", help="why, kept in the ledger")
    run.add_argument("--trials", type=number(0, 1000), help="tuning trials instead of the model file's")
    run.add_argument("--force", action="store_true", help="promote even when the gate is inconclusive")
    run.add_argument("--dry-run", action="store_true", help="do everything but promote and deploy")
    run.add_argument("--decide-only", action="store_true", help="watch: do not train when the answer is yes")
    run.add_argument("--json", action="store_true", help="print the result as JSON")


def _replay_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    replay = commands.add_parser("replay", help="try retraining policies on the model's own history, and write a page")
    replay.add_argument("model")
    replay.add_argument(
        "--from",
        dest="since",
        type=moment,
        help="end of the first training's rows (default: the earliest that gives a champion)",
    )
    replay.add_argument("--to", type=moment, help="end of the last window (default: the newest)")
    replay.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="FILE",
        help="YAML file with retraining, drift or performance in place of the model file's; may be repeated",
    )
    replay.add_argument("--proxy", action="store_true", help="train a fast learner instead of the model's trainer")
    replay.add_argument("--jobs", type=number(1, 256), default=1, help="processes at once (default: 1)")
    replay.add_argument("--out", help="file of the page (default: replay/MODEL.html in CT_HOME)")
    replay.add_argument("--json", action="store_true", help="print the report as JSON")


def _scorecard_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    card = commands.add_parser(
        "scorecard", help="say which retrainings were worth it, and which signals were good triggers"
    )
    card.add_argument("model")
    card.add_argument(
        "--suggest",
        metavar="FILE",
        help="write a policy file with better thresholds, found by a replay, and print what a replay of it brings",
    )
    card.add_argument("--from", dest="since", type=moment, help="with --suggest: as in replay")
    card.add_argument("--to", type=moment, help="with --suggest: as in replay")
    card.add_argument("--proxy", action="store_true", help="with --suggest: as in replay")
    card.add_argument("--jobs", type=number(1, 256), default=1, help="with --suggest: processes at once")
    card.add_argument("--json", action="store_true", help="print as JSON")


def _report_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = commands.add_parser("report", help="write the model card of a retraining, or the drift report of a window")
    report.add_argument("model")
    what = report.add_mutually_exclusive_group()
    what.add_argument(
        "--run", metavar="KEY", help="card of this run, by the first digits of its key (default: the champion's)"
    )
    what.add_argument("--drift", action="store_true", help="drift report of the newest window")
    what.add_argument(
        "--window", type=moment, metavar="END", help="drift report of the window that ends at this moment"
    )
    report.add_argument("--output", metavar="FILE", help="file of the page (default: one in reports/ in CT_HOME)")
    report.add_argument("--json", action="store_true", help="print what the page is made of as JSON")


def _operate_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser(
        "status", help="say how every model stands: champion, ages, open episodes, last decision"
    )
    status.add_argument("--json", action="store_true")

    doctor = commands.add_parser(
        "doctor", help="check versions, settings, connections, rights, the clock and licences (exit code 0, 1 or 7)"
    )
    doctor.add_argument("--json", action="store_true")

    history = commands.add_parser("history", help="list a model's decisions and champions, newest first")
    history.add_argument("model")
    history.add_argument("--limit", type=number(1, 10_000), default=20)
    history.add_argument("--json", action="store_true")

    rollback = commands.add_parser(
        "rollback", help="make an earlier champion the champion again, as a new step forward"
    )
    rollback.add_argument("model")
    rollback.add_argument("--to", type=int, help="version to go back to (default: the one before)")
    rollback.add_argument("--reason", type=sentence, required=True)

    rollout = commands.add_parser("rollout", help="say where a model's newest rollout stands, or end it")
    rollout.add_argument("model")
    rollout.add_argument("--stop", type=sentence, metavar="REASON", help="reject the challenger now")
    rollout.add_argument("--json", action="store_true")

    reconcile = commands.add_parser("reconcile", help="let MLflow and what serves show what the ledger says")
    reconcile.add_argument("model", nargs="?", help="default: every model")

    verify = commands.add_parser("verify", help="check the hash chain of the ledger")
    verify.add_argument("--json", action="store_true")


def _package_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    package = commands.add_parser(
        "package", help="write one version of a model, with its bill of materials, as an OCI image layout"
    )
    package.add_argument("model")
    package.add_argument("--version", metavar="N", help="a version that was champion (default: the champion)")
    package.add_argument("--output", metavar="DIR", help="folder to make (default: packages/MODEL-N in CT_HOME)")
    package.add_argument(
        "--base",
        metavar="FILE",
        help="image of the server to put the model on, from `docker save` or as an OCI image layout (default: none, "
        "which makes an artefact that ct serve takes)",
    )
    package.add_argument(
        "--private-key", metavar="FILE", help="sign with this key: PEM, on a NIST curve, without a password"
    )
    package.add_argument("--json", action="store_true", help="print what was written as JSON")


def _manifests_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    manifests = commands.add_parser(
        "manifests",
        help="print Kubernetes objects: those that serve a champion, or the namespaces and rights they need",
    )
    manifests.add_argument(
        "model", nargs="?", help="its champion's objects (default: namespaces, rights, quotas and network policies)"
    )
    manifests.add_argument("--output", metavar="DIR", help="write one file each, and a kustomization.yaml")
    manifests.add_argument("--namespace", help="with a model: in this namespace instead of the model file's")
    for plane, name, what in (
        ("work", "training", "work steps run"),
        ("serving", "serving", "champions answer"),
        ("airflow", "airflow", "Airflow runs"),
    ):
        manifests.add_argument(
            f"--{plane}", metavar="NAME", default=name, help=f"namespace where {what} (default: {name})"
        )
    manifests.add_argument(
        "--via",
        choices=["api", "pod"],
        default="api",
        help="who may deploy: Airflow's workers, or pods of the work's namespace (default: api)",
    )


def _metrics_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    metrics = commands.add_parser("metrics", help="print what the ledger says of every model, as Prometheus metrics")
    where = metrics.add_mutually_exclusive_group()
    where.add_argument(
        "--listen", metavar="HOST:PORT", help="answer Prometheus there; a port alone is one of the loopback address"
    )
    where.add_argument("--push", metavar="URL", help="push them once to this Pushgateway")


def _outcomes_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    outcomes = commands.add_parser("outcomes", help="tell what became known of predictions, for labels and rollouts")
    outcomes.add_argument("what", choices=["add"])
    outcomes.add_argument("model")
    outcomes.add_argument(
        "file", help="CSV, Parquet or lines of JSON (- reads those) with id and value, and where known kind and time"
    )


def _serve_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="answer requests with one bundle in the foreground, as in a container")
    serve.add_argument(
        "bundle",
        nargs="?",
        help="a model, whose champion is served, the folder of a bundle or package, or a digest in the artefact store (or "
        "CT_BUNDLE)",
    )
    serve.add_argument("--model", help="refuse a bundle of another model (or CT_MODEL)")
    serve.add_argument(
        "--version", help="sent with every answer (or CT_VERSION; default: the package's, or the digest's first digits)"
    )
    serve.add_argument("--fence", help="sent with every answer (or CT_FENCE; default: the package's, or 1)")
    serve.add_argument(
        "--public-key", metavar="FILE", help="serve only what its other half has signed (or CT_PUBLIC_KEY)"
    )
    serve.add_argument("--host", help="IPv4 address to listen on (default: 127.0.0.1)")
    serve.add_argument("--port", help="0 takes a free one (default: 8080)")
    serve.add_argument(
        "--allow-host",
        dest="hosts",
        action="append",
        metavar="NAME",
        help="a name to be called by beside 127.0.0.1 and localhost, such as the Service's; *.example.com allows every "
        "name below, * every name; may be repeated (or CT_HOSTS, with commas)",
    )
    serve.add_argument(
        "--plan",
        metavar="FILE",
        help="follow the plan of a rollout that is in this file while it is there (or CT_PLAN)",
    )
    serve.add_argument("--drain", help="seconds to go on answering after SIGTERM (default: 5)")
    _serve_limits(serve)


def _serve_limits(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--workers", help="processes that answer on the one port (or CT_WORKERS; default: 1)")
    serve.add_argument("--connections", help="most connections of one worker at once (default: 1000)")
    serve.add_argument("--patience", help="seconds a request may take to arrive (default: 10)")
    serve.add_argument(
        "--arrow", action="store_true", default=None, help="load pyarrow at the start, not with the first Arrow batch"
    )
    serve.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="refuse columns that are no features and categories that training has not seen (or CT_STRICT)",
    )
    serve.add_argument(
        "--admin-port", help="port of GET /metrics; 0 takes a free one (or CT_ADMIN_PORT; default: no such port)"
    )
    serve.add_argument("--admin-host", help="IPv4 address of the admin port (or CT_ADMIN_HOST; default: 127.0.0.1)")
    serve.add_argument(
        "--private-metrics",
        action="store_true",
        default=None,
        help="tell metrics only to whoever sends the token in CT_SERVE_TOKEN",
    )
    serve.add_argument(
        "--data-cutoff", metavar="MOMENT", help="end of the model's data (or CT_DATA_CUTOFF; default: the package's)"
    )
    serve.add_argument(
        "--max-age",
        metavar="DURATION",
        help="age of that from which the model is stale, such as '30 days' (or CT_MAX_AGE)",
    )
    serve.add_argument(
        "--past-max-age",
        choices=["flag", "refuse"],
        help="mark the answers of a stale model with ct-stale, or give none (or CT_PAST_MAX_AGE; default: flag)",
    )
