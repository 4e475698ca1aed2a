"""The model file: one YAML file describes one model, and this is all it can say."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from continuous_training import spec_errors, strict_yaml, suites
from continuous_training._spec_problems import problems_of
from continuous_training.causes import Causes
from continuous_training.core.data_check import Suite
from continuous_training.core.digest import digest
from continuous_training.core.errors import SpecError
from continuous_training.core.frozen import Frozen
from continuous_training.core.quality import ESTIMATED, METRICS, MetricName
from continuous_training.core.task import Features, Task
from continuous_training.core.windows import Windows
from continuous_training.deployers import AnyDeployer, Local
from continuous_training.detectors import AnyDetector
from continuous_training.metrics import BUILT_IN, AnyMetric, Metric
from continuous_training.policies import AnyRetrainingPolicy, SignalPolicy
from continuous_training.policies.fairness import FairnessPolicy
from continuous_training.policies.feedback import FeedbackRule
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
    "description", "runner", "airflow", "deployment", "rollout", "retraining", "performance", "feedback", "triage", "metrics",
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
        pattern=MODEL_NAME,
        description="Name of the model; its DAGs are <model>.train, <model>.watch and <model>.rollback.",
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
    fairness: FairnessPolicy | None = Field(
        None,
        description="Sensitive columns, and limits for how differently groups of people may be treated: each is a rule of the "
        "promotion gate and one signal.",
    )
    feedback: tuple[FeedbackRule, ...] = Field(
        (), description="Limits for what people tell of predictions; each is one signal."
    )
    retraining: AnyRetrainingPolicy = Field(
        default_factory=SignalPolicy,
        description="When the model is retrained. Without a kind it is signals; in a model file that names no detector, no "
        "rule, no limit and no schedule it is regret, which needs none.",
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
            or data.get("feedback")
            or _limits(data.get("fairness"))
        ):
            return data
        return data | {"retraining": {"kind": "regret", **given}}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.cleaning.check(self.features)
        self.causes.check(self.features)
        self.trainer.check(self.task.kind)
        problems = problems_of(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def beside(self) -> tuple[str, ...]:
        """Return the sensitive columns that are no features: they are read with the rows, and kept from the model."""
        return tuple(
            name for name in (self.fairness.sensitive if self.fairness else ()) if name not in self.features.columns
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Return what is read of each row beside the task's columns: the features, then what no model gets."""
        return (*self.features.columns, *self.beside)

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
    def group_metric(self) -> Metric:
        """Return the metric that groups of people are measured with."""
        limit = self.fairness.worst_group if self.fairness else None
        return self.metric(limit.metric if limit else self.promotion.metric)

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

        Of the declared metrics only those that the promotion gate names can.
        """
        told = self.model_dump(mode="json", exclude={*_NOT_OF_THE_MODEL})
        named = {self.promotion.metric, self.group_metric.name}
        judged_by = [metric.model_dump(mode="json") for metric in self.metrics if metric.name in named]
        return digest(told | {"metrics": judged_by} if judged_by else told)


def _limits(fairness: Any) -> bool:
    return isinstance(fairness, dict) and not {"worst_group", "demographic_parity", "equalised_odds"}.isdisjoint(
        fairness
    )


def load_spec(path: Path) -> ModelSpec:
    """Return the model that the YAML file `path` describes, with the suite it names read in.

    Suites are files in the folder `expectations` beside the folder of the model file.

    Raises
    ------
    SpecError
        The file cannot be read or is wrong; the message has file, line, key and the allowed values.
    """
    if path.suffix != ".yaml":
        msg = f"{path.name}: a model file ends in .yaml; rename it {path.stem}.yaml. {strict_yaml.WHAT_NEXT}"
        raise SpecError(msg)
    document = strict_yaml.read(path)
    try:
        spec = ModelSpec.model_validate(document.data)
    except ValidationError as error:
        raise spec_errors.explain_validation(
            error, document, ModelSpec
        ) from None  # pydantic's own text shows values whole
    if spec.model != path.stem:
        other = f" or the model {path.stem}" if re.match(MODEL_NAME, path.stem) else ""
        msg = (
            f"{document.where(('model',))}: model: the name {spec.model!r} differs from the file's; name the file {spec.model}.yaml"
            f"{other}. Nothing was run; a retry gives the same."
        )
        raise SpecError(msg)
    if isinstance(spec.expectations, str):
        suite = _suite(path.absolute().parent.parent / "expectations" / spec.expectations, spec, document)
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


def _suite(file: Path, spec: ModelSpec, document: strict_yaml.Document) -> Suite:
    if not file.is_file():
        msg = (
            f"{document.where(('expectations',))}: expectations: there is no file {file}; correct the name, put the suite there, "
            f"or leave the key out. {strict_yaml.WHAT_NEXT}"
        )
        raise SpecError(msg)
    return suites.load_suite(file, (*spec.columns, *spec.task.columns))


def load_specs(folder: Path) -> tuple[dict[str, ModelSpec], dict[str, SpecError]]:
    """Return the models of a folder by name, and for each wrong file its error; a wrong file never hides the others."""
    specs: dict[str, ModelSpec] = {}
    errors: dict[str, SpecError] = {}
    for path in sorted(folder.glob("*.y*ml")):  # one that ends in .yml is refused, not silently passed over
        if path.stem in specs or path.suffix not in {".yaml", ".yml"}:
            continue
        try:
            specs[path.stem] = load_spec(path)
        except SpecError as error:
            errors.setdefault(path.stem, error)
    return specs, errors
