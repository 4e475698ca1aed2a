"""A model card and a drift report made by hand, with names of one's choice."""

from datetime import UTC, datetime
from typing import Any

from continuous_training.core.comparison import Comparison, SliceComparison
from continuous_training.core.decisions import GateVerdict, Outcome, RetrainingReason, Rule
from continuous_training.core.run import ChampionRef
from continuous_training.core.scores import DriftScore, Estimate
from continuous_training.core.task import Features, Task
from continuous_training.core.window import Window
from continuous_training.reports import Distribution, DriftColumn, DriftReport, ModelCard
from continuous_training.reports import card as parts

WINDOW = Window(start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 2, 10, tzinfo=UTC))
KEY = "a" * 64


def card(name: str = "wind", features: int = 2, **changes: Any) -> ModelCard:
    """Return a card in which every text that data, a model file or a person may choose is `name`."""
    found = Estimate(metric="roc_auc", value=0.7, low=0.6, high=0.8, rows=100, note=name)
    rule = Rule(
        name=f"slice {name}={name}", outcome=Outcome.FAIL, text=name, value=-0.1, low=-0.2, high=0.1, limit=-0.02
    )
    one = parts.Importance(feature=name, share=0.5, champion=0.25)
    lines = (parts.Series(name=name, x=(0, 0.5, 1), y=(0, 0.7, 1), low=(0, 0.6, 1), high=(0, 0.8, 1)),)
    figure = {"title": name, "text": name, "x_label": name, "y_label": name, "series": lines, "diagonal": name}
    told: dict[str, Any] = {
        "model": "m",
        "description": name,
        "task": Task(kind="classification", label=name or "y", event_time=name or "at"),
        "features": Features(numeric=tuple(f"{name}{n}" for n in range(features)), categorical=(f"c{name}",)),
        "classes": (name, f"{name}2", f"{name}3"),
        "trainer": name,
        "parameters": {name: name},
        "reason": RetrainingReason(kind="manual", text=name[:500], episode=name[:200]),
        "as_of": WINDOW.end,
        "window": WINDOW,
        "rows": parts.Rows(read=100, labelled=90, train=60, tune=10, hold_out=20, hold_out_from=WINDOW.start),
        "champion": ChampionRef(fence=1, version=name, run_key=KEY, bundle=KEY, data_cutoff=WINDOW.start),
        "comparison": Comparison(
            metric=name,
            rows=20,
            challenger=found,
            champion=found,
            difference=found,
            slices=(SliceComparison(column=name, value=name, rows=20, difference=found),),
            negative_flip_rate=0.1,
            metrics={name: (0.7, None)},
        ),
        "verdict": GateVerdict(outcome=Outcome.FAIL, text=name, rules=(rule,)),
        "figures": (
            parts.Figure(name="roc", **figure, marks=(parts.Mark(x=0.5, text=name),)),
            parts.Figure(name="ndcg", **figure, style="bars", ticks=(name, name, name)),
        ),
        "confusion": ((1, 2, 3), (4, 5, 6), (7, 8, 9)),
        "explanation": parts.Explanation(
            method=name,
            rows=20,
            features=(one,),
            slices=(parts.SliceImportance(column=name, value=name, rows=20, features=(one,)),),
            interactions=(parts.Interaction(features=(name, name), strength=0.1, share=0.2),),
            shift=0.1,
        ),
        "changes": (parts.Change(what=name, before=name, after=name),),
        "lineage": parts.Lineage(run_key=KEY, spec=name, rows=KEY, bundle=KEY, judged=KEY, seed=7, libraries=(name,)),
        "licences": (parts.Licence(library=name, licence=name),),
        "limits": (name,),
        "left_out": (parts.LeftOut(part=name, why=name),),
    }
    return ModelCard(**told | changes)


def report(name: str = "wind", columns: int = 2) -> DriftReport:
    """Return a report whose columns, numeric and categorical in turn, and their categories are called `name`."""

    def column(number: int) -> DriftColumn:
        numeric = {"edges": tuple(n / 7 for n in range(21)), "shares": (0.05,) * 20}
        categorical = {"categories": (*(f"{n} {name}" for n in range(20)), "(other)"), "shares": (0.05,) * 20 + (0.0,)}
        both = Distribution(rows=100, missing=0.1, **(categorical if number % 2 else numeric))
        moved = both.model_copy(update={"missing": number / columns, "shares": both.shares[::-1]})
        new = tuple(f"{name} {n}" for n in range(20)) if number % 2 else ()
        kind = "categorical" if number % 2 else "numeric"
        return DriftColumn(
            name=f"{name} {number}", kind=kind, reference=both, current=moved, outside=0.1, new_categories=new
        )

    scores = tuple(
        DriftScore(
            detector=name, column=f"{name} {number}", slice=name, statistic=0.1 * number, measure="statistic", threshold=0.1,
            reference_rows=100, current_rows=100, note=name,
        )
        for number in range(columns)
    )  # fmt: skip
    return DriftReport(
        model="m", window=WINDOW, reference=WINDOW, as_of=WINDOW.end, champion=name, rows=100,
        columns=tuple(map(column, range(columns))), scores=scores,
    )  # fmt: skip
