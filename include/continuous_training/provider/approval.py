"""Ask a person whether a challenger is promoted, with both models side by side; where nobody needs to be asked the run goes on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from continuous_training.core.errors import Permanent, Transient
from continuous_training.provider.hooks import ContinuousTrainingHook
from continuous_training.provider.operators import planned_run
from continuous_training.steps.approval import Answer, question, record_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow.sdk import Context

    from continuous_training.core.scores import Estimate
    from continuous_training.policies.approval import Approval
    from continuous_training.spec import ModelSpec
    from continuous_training.steps.approval import Question

APPROVE, REJECT = ApprovalOperator.APPROVE, ApprovalOperator.REJECT
WHY = "why"
"""Field of the answer's form. The training form has a `reason`, and Airflow would put that one's value into a field of its name."""
_MOST_SLICES = 30
_MOST_SHOWN = 300


class ApproveChallengerOperator(HITLOperator):
    """Wait for a person in Airflow's required actions; without an answer in time the champion stays.

    The answer is kept with the run, and the steps after it follow it: after a no they end as they do when the gate says no.

    Parameters
    ----------
    spec:
        The model.
    approval:
        When a person is asked, who may answer and how long is waited.
    run:
        The answer of the plan step.
    """

    template_fields: Sequence[str] = (*HITLOperator.template_fields, "run")

    def __init__(self, *, spec: ModelSpec, approval: Approval, run: Any, **kwargs: Any) -> None:
        kwargs.setdefault("retries", 2)
        super().__init__(
            subject=f"Promote the challenger of {spec.model}?",
            options=[APPROVE, REJECT],
            defaults=REJECT,
            response_timeout=approval.timeout,
            assigned_users=[{"id": name, "name": name} for name in approval.approvers] or None,
            **{**kwargs, "params": _form()},  # Airflow has put the DAG's own into them
        )
        self.spec = spec
        self.run = run

    def execute(self, context: Context) -> Any:
        """Ask, or go on at once where the gate promotes nothing or no rule wants a person."""
        with _told():
            asked = question(self.spec, planned_run(self.run), ContinuousTrainingHook().get_conn())
        if asked is None:
            self.log.info("nobody needs to approve")
            return {"asked": False}
        self.body = page(asked)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Keep the answer with the name of whoever gave it, and return it."""
        answer = _answer(super().execute_complete(context, event))
        with _told():
            record_answer(self.spec, planned_run(self.run), ContinuousTrainingHook().get_conn(), answer)
        self.log.info(answer.text)
        return {"asked": True, **answer.model_dump()}


def _form() -> dict[str, Param]:
    """Return the fields in which a person answers, beside the two buttons."""
    return {
        WHY: Param(
            "",
            type="string",
            maxLength=500,
            title="Reason",
            description="Why; kept in the ledger with your name.",
            source="task",
        )
    }


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Permanent as error:
        raise AirflowFailException(str(error)) from error
    except Transient as error:
        raise AirflowException(str(error)) from error


def _answer(told: Mapping[str, Any]) -> Answer:
    """Return what Airflow took as the answer; nobody is named where the time was over."""
    user = told["responded_by_user"]
    if user is None:
        return Answer(approved=False)
    by = user["id"] if user["name"] in {user["id"], ""} else f"{user['name']} ({user['id']})"
    why = str(told["params_input"].get(WHY) or "").strip()
    return Answer(approved=told["chosen_options"] == [APPROVE], by=by, reason=why)


def page(asked: Question) -> str:
    """Return what is shown to whoever approves, as Markdown.

    Everything that comes from data or people is shown as code, without the signs that could end it: it can be no markup and
    no link.
    """
    seen = asked.comparison
    better = "greater" if seen.greater_is_better else "smaller"
    parts = [
        f"**Why a person is asked:** {', '.join(map(code, asked.reasons))}",
        f"**Why it was trained:** {code(asked.reason)}",
        f"**What the gate says:** {asked.verdict.outcome.value}, {code(asked.verdict.text)}",
        f"Both on the same {seen.rows:,} hold-out rows; {better} is better. A difference above 0 is in the challenger's favour.",
        _table(("", "champion", "challenger", "difference"), _metrics(asked)),
        "**Rules of the gate**",
        _table(
            ("rule", "outcome", "number", "interval", "limit"),
            (
                (
                    code(rule.name),
                    rule.outcome.value,
                    _number(rule.value),
                    _interval(rule.low, rule.high),
                    _number(rule.limit),
                )
                for rule in asked.verdict.rules
            ),
        ),
    ]
    if seen.slices:
        worst = sorted(seen.slices, key=lambda part: (part.difference.value is None, part.difference.value))
        rows = ((code(f"{part.column}={part.value}"), f"{part.rows:,}", _estimate(part.difference)) for part in worst)
        parts += ["**Slices, the worst first**", _table(("slice", "rows", "difference"), list(rows)[:_MOST_SLICES])]
    return "\n\n".join(parts)


def code(text: str) -> str:
    r"""Return a text as one line of inline code, whatever is in it.

    >>> code("a|b `c`\n[x](http://y)")
    "`a¦b 'c' [x](http://y)`"
    """
    printable = "".join(sign if sign.isprintable() else " " for sign in text[:_MOST_SHOWN])
    return f"`{' '.join(printable.split()).replace('`', chr(39)).replace('|', '¦') or '-'}`"


def _metrics(asked: Question) -> Iterable[tuple[str, ...]]:
    seen = asked.comparison
    yield code(seen.metric), _estimate(seen.champion), _estimate(seen.challenger), _estimate(seen.difference)
    for name, (challenger, champion) in sorted(seen.metrics.items()):
        if name != seen.metric:
            yield code(name), _number(champion), _number(challenger), ""
    if seen.negative_flip_rate is not None:
        yield "newly wrong", "", f"{seen.negative_flip_rate:.2%} of the rows", ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _estimate(seen: Estimate | None) -> str:
    if seen is None:
        return "none"
    return f"{_number(seen.value)} {_interval(seen.low, seen.high)}".strip()


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"({low:.4g} to {high:.4g})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
