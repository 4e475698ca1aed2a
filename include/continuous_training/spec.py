"""The model file: one YAML file describes one model, and this is all it can say."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from continuous_training import spec_errors, strict_yaml, suites
from continuous_training.causes import Causes
from continuous_training.core.data_check import Suite
from continuous_training.core.digest import digest
from continuous_training.core.duration import format_duration
from continuous_training.core.errors import SpecError
from continuous_training.core.frozen import Frozen
from continuous_training.core.quality import ESTIMATED, GREATER_IS_BETTER, METRICS, MetricName
from continuous_training.core.task import Features, Task
from continuous_training.core.windows import LONGEST, Windows
from continuous_training.deployers import AnyDeployer, Local
from continuous_training.detectors import ATTRIBUTION_PREFIX, COMPUTED_COLUMNS, AnyDetector
from continuous_training.metrics import BUILT_IN, KINDS, AnyMetric, Metric
from continuous_training.policies import AnyRetrainingPolicy, SignalPolicy
from continuous_training.policies.estimation import estimate_signal
from continuous_training.policies.performance import PerformanceRule
from continuous_training.policies.promotion import PromotionPolicy
from continuous_training.policies.rollout import RolloutPolicy
from continuous_training.runners import Airflow, AnyRunner, Subprocess
from continuous_training.sources import AnySource
from continuous_training.trainers import AnyTrainer, Cleaning
from continuous_training.triage import Triage

SuiteFile = Annotated[str, Field(pattern=r"^[\w-]+\.yaml$")]
MOST_JSON_BYTES = 100_000  # Linux takes 128 KiB in one variable
_NOT_OF_THE_MODEL = (
    "description", "runner", "airflow", "deployment", "rollout", "retraining", "performance", "triage", "metrics",
    "causes",
)  # fmt: skip
MODEL_NAME = r"^[a-z][a-z0-9_]{0,62}$"


class Split(Frozen):
    """Shares of the reference window, in order of time: train, then tune, then hold-out (the rest)."""

    train: float = Field(0.70, gt=0, lt=1, description="Oldest rows: the model is fitted on them.")
    tune: float = Field(0.15, gt=0, lt=1, description="Next rows: parameters are chosen on them.")
    refit: bool = Field(
        default=True,
        description="Whether a challenger is fitted again once its parameters are chosen: on train and tune rows to be judged on "
        "the hold-out, and on all rows to serve. Without it, the newest rows are judged on and never learned from, and "
        "what serves is to the byte what was judged. The trainer ensemble is not fitted again.",
    )

    @model_validator(mode="after")
    def _leave_hold_out(self) -> Self:
        if self.train + self.tune > 0.99:  # noqa: PLR2004 - less than one row in a hundred judges nothing
            msg = f"the shares of train and tune must leave at least 0.01 for the hold-out; together they are {self.train + self.tune:g}"
            raise ValueError(msg)
        return self


class ModelSpec(Frozen):
    """One model: what it predicts, from which rows, when it is retrained, and when a challenger may replace it."""

    model: str = Field(
        pattern=MODEL_NAME, description="Name of the model; its DAGs are <model>.train and <model>.watch."
    )
    description: str = Field("", max_length=2000, description="Shown on the DAG page.")
    task: Task
    features: Features
    source: AnySource
    window: Windows
    cleaning: Cleaning = Field(default_factory=Cleaning)
    split: Split = Field(default_factory=Split)
    expectations: SuiteFile | Suite | None = Field(
        None,
        description="File in the expectations folder, or the suite itself; a failed critical check stops a run before training.",
    )
    min_rows: int = Field(1000, ge=50, description="A reference window with fewer labelled rows is not trained on.")
    trainer: AnyTrainer
    drift: tuple[AnyDetector, ...] = Field((), description="Detectors; each is one signal of the retraining policy.")
    metrics: tuple[AnyMetric, ...] = Field(
        (),
        description="Metrics beside the built-in ones. Promotion and performance rules may name them, and every challenger is "
        "measured with them.",
    )
    performance: tuple[PerformanceRule, ...] = Field((), description="Limits of quality; each is one signal.")
    causes: Causes = Field(
        default_factory=Causes, description="Why the quality changed, told of a window in which it did."
    )
    retraining: AnyRetrainingPolicy = Field(
        default_factory=SignalPolicy,
        description="When the model is retrained. Without a kind it is signals; in a model file that names no detector, no "
        "performance rule and no schedule it is regret, which needs none.",
    )
    triage: Triage | None = Field(
        default_factory=Triage,
        description="Checks that tell a broken window from a changed world; a broken one is quarantined and retrains nothing. "
        "null turns them off.",
    )
    promotion: PromotionPolicy
    rollout: RolloutPolicy | None = Field(
        None,
        description="How a challenger that passed the promotion gate meets real requests before it is the champion; without it "
        "promotion is full at once.",
    )
    deployment: AnyDeployer = Field(default_factory=Local)
    runner: AnyRunner = Field(default_factory=Subprocess)
    airflow: Airflow = Field(default_factory=Airflow)
    seed: int = Field(7, ge=0, le=2**31 - 1, description="Seed of everything random: search, sampling, bootstrap.")

    @model_validator(mode="before")
    @classmethod
    def _default_policy(cls, data: Any) -> Any:
        """Let a model file that says nothing of when to retrain be retrained when it pays."""
        given = data.get("retraining", {}) if isinstance(data, dict) else None
        if (
            not isinstance(given, dict)
            or {"kind", "schedule"} & given.keys()
            or data.get("drift")
            or data.get("performance")
        ):
            return data
        return data | {"retraining": {"kind": "regret", **given}}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.cleaning.check(self.features)
        self.causes.check(self.features)
        self.trainer.check(self.task.kind)
        problems = [
            *self._metric_problems(),
            *self._column_problems(),
            *self._signal_problems(),
            *self._season_problems(),
            *self._part_problems(),
            *self._rollout_problems(),
            *self._log_problems(),
        ]
        if self.deployment.in_pod and self.runner.kind != "kubernetes":
            problems.append("deployment.via: pod needs the runner kubernetes, whose pods it is like; or write via: api")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _metric_problems(self) -> list[str]:
        fitting = [*METRICS[self.task.kind], *(metric.name for metric in self.metrics)]
        named = {"promotion.metric": self.promotion.metric}
        named |= {f"performance[{number}].metric": rule.metric for number, rule in enumerate(self.performance)}
        problems = self._declaration_problems()
        problems += [
            f"{path}: {name} {f'does not fit {self.task.kind}' if name in GREATER_IS_BETTER else 'is not a metric'}; use one of "
            f"{', '.join(fitting)}{suites.did_you_mean(name.lower(), fitting)}"
            for path, name in named.items()
            if name not in fitting
        ]
        problems += [
            f"performance[{number}].line: {rule.metric} cannot be estimated without labels; use line provisional or final, or one "
            f"of {', '.join(ESTIMATED)}"
            for number, rule in enumerate(self.performance)
            if rule.line == "estimated" and rule.metric not in ESTIMATED
        ]
        if self.task.kind != "classification" and self.promotion.negative_flips is not None:
            problems.append(f"promotion.negative_flips: a {self.task.kind} has no right and wrong to flip; remove it")
        return problems

    def _declaration_problems(self) -> list[str]:
        kinds = [each.model_fields["kind"].default for each in KINDS if each.fits == self.task.kind]
        names = [metric.name for metric in self.metrics]
        problems = [
            f"metrics[{number}].kind: {metric.kind} does not fit {self.task.kind}; "
            + (f"use one of {', '.join(kinds)}" if kinds else "no kind does, so remove it")
            for number, metric in enumerate(self.metrics)
            if metric.fits != self.task.kind
        ]
        return problems + [
            f"metrics[{number}].name: {name} is the name of {'a built-in' if name in BUILT_IN else 'another'} metric; choose one "
            "of its own"
            for number, name in enumerate(names)
            if name in BUILT_IN or name in names[:number]
        ]

    def _signal_problems(self) -> list[str]:
        given = [each.name for each in (*self.drift, *self.performance) if each.name]
        problems = [
            f"two signals are named {name!r}; name each once"
            for name in sorted({n for n in given if given.count(n) > 1})
        ]
        if not isinstance(self.retraining, SignalPolicy):
            return problems
        known = {*(detector.known_as for detector in self.drift), *(rule.signal for rule in self.performance)}
        known |= {estimate_signal(metric) for metric in self.estimates}
        return problems + [
            f"retraining: no detector or performance rule is called {name!r}; the signals are {', '.join(sorted(known)) or 'none'}"
            for name in sorted(self.retraining.names - known)
        ]

    def _season_problems(self) -> list[str]:
        season = self.triage.season if self.triage else None
        if season is None or self.window.current <= season <= LONGEST:
            return []
        msg = (
            f"triage.season: {format_duration(season)} is not between the length of the current window, "
            f"{format_duration(self.window.current)}, and {format_duration(LONGEST)}"
        )
        return [msg]

    def _part_problems(self) -> list[str]:
        part = self.window.part
        if part is None:
            return []
        problems = []
        if self.task.group is not None:
            problems.append("window.part: a ranking's groups cannot be cut; remove it, its windows are read whole")
        if self.triage is not None and part % timedelta(days=1):
            told = format_duration(part)
            problems.append(
                f"window.part: {told} is not whole days, as triage judges them; write 1 day, or triage: null"
            )
        return problems

    def _rollout_problems(self) -> list[str]:
        if self.rollout is None:
            return []
        problems = [
            f"rollout.only: {name} is not a categorical feature"
            for name in self.rollout.only
            if name not in self.features.categorical
        ]
        if not self.deployment.rolls_out:
            problems.append(
                f"rollout: the deployment {self.deployment.kind} cannot serve two versions; use local, or kubernetes with via: api, or "
                "remove it"
            )
        quality = self.rollout.guards.quality
        if quality and getattr(self.deployment, "log", None) is None:
            problems.append("rollout.guards.quality: needs deployment.log, which outcomes are joined with")
        if quality and self.task.kind == "ranking":
            problems.append("rollout.guards.quality: a ranking has no loss of a single prediction; remove it")
        elif quality and (quality.scale is None) is (self.task.kind == "regression"):
            needed = "needs scale, the error that counts as 1" if quality.scale is None else "has no scale; remove it"
            problems.append(f"rollout.guards.quality: a {self.task.kind} {needed}")
        return problems

    def _log_problems(self) -> list[str]:
        known = set(self.features.columns)
        log = getattr(self.deployment, "log", None)
        named = {part: getattr(log, part, ()) for part in ("keep", "hash", "drop")}
        return [
            f"deployment.log.{part}: {name} is not a feature, and nothing else is written down"
            for part, names in named.items()
            for name in (() if names == "all" else names)
            if name not in known
        ]

    def _column_problems(self) -> list[str]:
        group = ", the group" if self.task.group else ""
        problems = [
            f"features.{kind}: {name} is the label{group} or the event time and cannot be a feature"
            for kind, names in (("numeric", self.features.numeric), ("categorical", self.features.categorical))
            for name in names
            if name in self.task.columns
        ]
        problems += [
            f"features.{kind}: {name} is the name of a column that is computed; rename the feature at the source"
            for kind, names in (("numeric", self.features.numeric), ("categorical", self.features.categorical))
            for name in names
            if name in COMPUTED_COLUMNS or name.startswith(ATTRIBUTION_PREFIX)
        ]
        known = {*self.features.columns, self.task.label, *COMPUTED_COLUMNS}
        for number, detector in enumerate(self.drift):
            columns = getattr(detector, "columns", "all")
            unknown = [] if columns == "all" else [name for name in columns if name not in known]
            problems += [
                f"drift[{number}].columns: {name} is not a feature, the label, {' or '.join(COMPUTED_COLUMNS)}"
                for name in unknown
            ]
        problems += [
            f"{part}[{number}].by: {each.by} is not a categorical feature"
            for part, given in (("drift", self.drift), ("performance", self.performance))
            for number, each in enumerate(given)
            if each.by is not None and each.by not in self.features.categorical
        ]
        problems += [
            f"promotion.slices: {name} is not a categorical feature"
            for name in self.promotion.slices
            if name not in self.features.categorical
        ]
        return problems

    @property
    def estimates(self) -> tuple[MetricName, ...]:
        """Return the metrics that rules want estimated, in the order of their names."""
        wanted = {rule.metric for rule in self.performance if rule.line == "estimated"}
        return tuple(sorted(name for name in ESTIMATED if name in wanted))

    @property
    def all_metrics(self) -> tuple[Metric, ...]:
        """Return the built-in metrics of this kind of task and the declared ones."""
        return (*(BUILT_IN[name] for name in METRICS[self.task.kind]), *self.metrics)

    def metric(self, name: str) -> Metric:
        """Return the metric that a rule or the promotion names."""
        return next(metric for metric in self.all_metrics if metric.name == name)

    @property
    def looks_early(self) -> bool:
        """Tell whether a window is looked at before its labels are known: a rule does not wait for them."""
        return any(rule.line != "final" for rule in self.performance)

    @property
    def look_delay(self) -> timedelta:
        """Return how long after its end a window is looked at."""
        return timedelta(0) if self.looks_early else self.task.label_delay

    @property
    def refits(self) -> bool:
        """Tell whether a challenger is fitted again on all rows once its parameters are chosen."""
        return self.split.refit and self.trainer.refits

    @property
    def digest(self) -> str:
        """Return the digest of everything that can change the trained model; how it is started and served cannot.

        Of the declared metrics only the one that promotion names can.
        """
        told = self.model_dump(mode="json", exclude={*_NOT_OF_THE_MODEL})
        judged_by = [metric.model_dump(mode="json") for metric in self.metrics if metric.name == self.promotion.metric]
        return digest(told | {"metrics": judged_by} if judged_by else told)


def load_spec(path: Path) -> ModelSpec:
    """Return the model that the YAML file `path` describes, with the suite it names read in.

    Suites are files in the folder `expectations` beside the folder of the model file.

    Raises
    ------
    SpecError
        The file cannot be read or is wrong; the message has file, line, key and the allowed values.
    """
    document = strict_yaml.read(path)
    try:
        spec = ModelSpec.model_validate(document.data)
    except ValidationError as error:
        raise spec_errors.explain_validation(
            error, document, ModelSpec
        ) from None  # pydantic's own text shows values whole
    if spec.model != path.stem:
        msg = (
            f"{document.where(('model',))}: model: the name {spec.model!r} differs from the file's; name the file {spec.model}.yaml "
            f"or the model {path.stem}. Nothing was run; a retry gives the same."
        )
        raise SpecError(msg)
    if isinstance(spec.expectations, str):
        columns = (*spec.features.columns, *spec.task.columns)
        suite = suites.load_suite(path.absolute().parent.parent / "expectations" / spec.expectations, columns)
        # The suite is part of the model: another suite is another specification, and a pod needs no second file.
        spec = spec.model_copy(update={"expectations": suite})
    size = len(spec.model_dump_json())
    if size > MOST_JSON_BYTES:
        msg = (
            f"{path.name}: the model with its suite takes {size:,} bytes as JSON, at most {MOST_JSON_BYTES:,} fit into the "
            "environment of a step; shorten its lists of columns or values. Nothing was run; a retry gives the same."
        )
        raise SpecError(msg)
    return spec


def load_specs(folder: Path) -> tuple[dict[str, ModelSpec], dict[str, SpecError]]:
    """Return the models of a folder by name, and for each wrong file its error; a wrong file never hides the others."""
    specs: dict[str, ModelSpec] = {}
    errors: dict[str, SpecError] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            specs[path.stem] = load_spec(path)
        except SpecError as error:
            errors[path.stem] = error
    return specs, errors
