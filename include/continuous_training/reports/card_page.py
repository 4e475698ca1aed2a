"""The page of a model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from continuous_training.core.duration import format_duration
from continuous_training.reports.chart import Chart, around, label, nice, tick
from continuous_training.reports.drawing import drawn
from continuous_training.reports.explanation_page import explanation
from continuous_training.reports.frame import (
    MOST_TOLD,
    Table,
    badge,
    bullets,
    facts,
    interval,
    name,
    number,
    page,
    paragraph,
    percent,
    section,
    text,
)
from continuous_training.reports.groups_page import groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from continuous_training.core.comparison import SliceComparison
    from continuous_training.core.decisions import Rule
    from continuous_training.reports.card import ModelCard

_MOST_NAMES = 100
_DIGEST = 16
_MOST_SLICES = 40


def card_page(card: ModelCard) -> str:
    """Return one HTML file that shows a card: under 2 MB whatever its names are, and without anything to fetch."""
    verdict = card.verdict
    body = (
        f"<h1>Model card of {text(card.model)}</h1>"
        + (paragraph(text(card.description), "lead") if card.description else "")
        + paragraph(f"{badge(verdict.outcome.value)} {text(verdict.text, MOST_TOLD)}")
        + facts(_facts(card))
        + section("Intended use", _use(card))
        + section("Quality", _quality(card))
        + section("Promotion gate", _gate(card.verdict.rules))
        + section("Slices", _slices(card))
        + section("Groups of people", groups(card.comparison))
        + section("Figures", _figures(card) + _confusion(card))
        + section("Where predictions come from", explanation(card.explanation) if card.explanation else "")
        + section("What changed", _changes(card))
        + section("Limits", bullets([text(limit, MOST_TOLD) for limit in card.limits]))
        + section(
            "Not in this card", bullets([f"{name(each.part)}: {text(each.why, MOST_TOLD)}." for each in card.left_out])
        )
        + section("Lineage", _lineage(card))
        + section("Licences", _licences(card))
    )
    return page(f"Model card of {card.model}, {card.window.end:%Y-%m-%d}", body)


def _facts(card: ModelCard) -> list[tuple[str, str]]:
    rows, reason, champion = card.rows, card.reason, card.champion
    return [
        ("Trained because", f"{text(reason.kind)}: {text(reason.text, MOST_TOLD)}" if reason else ""),
        ("Data", f"{card.window.start:%Y-%m-%d} to {card.window.end:%Y-%m-%d}"),
        ("Rows", f"{rows.train:,} train, {rows.tune:,} tune, {rows.hold_out:,} hold-out"),
        ("Hold-out from", f"{rows.hold_out_from:%Y-%m-%d %H:%MZ}"),
        ("Trainer", name(card.trainer)),
        (
            "Compared with",
            f"version {text(champion.version, 40)}, data to <span class='nowrap'>{champion.data_cutoff:%Y-%m-%d}</span>"
            if champion
            else "no champion yet",
        ),
        ("Seen from", f"{card.as_of:%Y-%m-%d %H:%MZ}"),
        ("Run", f"<code>{text(card.lineage.run_key[:12])}</code>"),
    ]


def _use(card: ModelCard) -> str:
    task = card.task
    delay = f", which becomes known {text(format_duration(task.label_delay))} later" if task.label_delay else ""
    asked = {
        "classification": f"the class of {name(task.label)}",
        "regression": f"the value of {name(task.label)}",
        "ranking": f"the order of the rows of each {name(task.group)} by {name(task.label)}",
    }[task.kind]
    classes = ", ".join(name(each) for each in card.classes[:_MOST_NAMES])
    told = [f"It predicts {asked}{delay} ({task.kind}). The time of a row is {name(task.event_time)}."]
    told += [f"Classes: {classes}."] if classes else []
    for kind, names in (("Numbers", card.features.numeric), ("Categories", card.features.categorical)):
        if names:
            more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            told.append(f"{kind} it is asked with: {', '.join(map(name, names[:_MOST_NAMES]))}{more}.")
    told.append(
        "It answers for rows like those it was trained on; for others, and for other questions, nothing was shown."
    )
    return "".join(map(paragraph, told))


def _quality(card: ModelCard) -> str:
    comparison = card.comparison
    better = "higher" if comparison.greater_is_better else "lower"
    first = (
        f"{name(comparison.metric)} (decides, {better} is better)",
        interval(comparison.challenger),
        interval(comparison.champion),
    )
    rows: list[Sequence[str]] = [first]
    rows += [
        (name(metric), number(challenger), number(champion))
        for metric, (challenger, champion) in comparison.metrics.items()
        if metric != comparison.metric
    ]
    told = f"On the same {comparison.rows:,} hold-out rows, with the interval of the metric that decides."
    if comparison.against == "judged":
        told += " The champion is measured as it was before it learned from hold-out rows of its own."
    parts = [Table(told, ("metric", "challenger", "champion"), rows).html()]
    if comparison.difference is not None:
        gain = interval(comparison.difference)
        parts.append(paragraph(f"Challenger minus champion, above 0 better: {gain} in {name(comparison.metric)}."))
    if comparison.negative_flip_rate is not None:
        flips = percent(comparison.negative_flip_rate)
        parts.append(
            paragraph(f"Negative flips: the champion is right and the challenger wrong in {flips} of the rows.")
        )
    return "".join(parts)


def _gate(rules: Sequence[Rule]) -> str:
    rows = [
        (
            name(rule.name),
            badge(rule.outcome.value),
            _rule_number(rule),
            f'<span class="nowrap">{number(rule.limit)}</span>' if rule.limit is not None else "",
            text(rule.text, 400),
        )
        for rule in rules
    ]
    return Table(
        "Every rule with the number it saw.", ("rule", "", "value", "limit", "in words"), rows, words=True
    ).html()


def _rule_number(rule: Rule) -> str:
    between = (
        ""
        if rule.low is None or rule.high is None
        else f"<br><span class='quiet'>{number(rule.low)} to {number(rule.high)}</span>"
    )
    return f"<span class='nowrap'>{number(rule.value)}{between}</span>"


def _slices(card: ModelCard) -> str:
    """Return each slice with the interval of its difference, drawn on one axis."""
    slices = card.comparison.slices[:_MOST_SLICES]
    known = [part for part in slices if part.difference.value is not None]
    if not known:
        return ""
    chart = _axis(known)
    base = chart.height - chart.bottom
    parts = [
        f'<line class="axis" stroke-dasharray="4 4" x1="{chart.x(0):.1f}" x2="{chart.x(0):.1f}" y1="6" y2="{base:.1f}"/>'
    ]
    for place, part in enumerate(known):
        parts += _slice(chart, part, 18 + 22 * place)
    parts += [label(chart.x(value), base + 17, tick(value), anchor="middle") for value in nice(chart.across)]
    parts.append(
        label(
            (chart.x(chart.across[0]) + chart.x(chart.across[1])) / 2,
            chart.height - 8,
            f"{card.comparison.metric}: challenger minus champion, above 0 better",
            anchor="middle",
            quiet=True,
        )
    )
    picture = chart.svg(parts, "slices", "Slices", "The difference on each slice; the table of rules has the numbers.")
    left_out = len(card.comparison.slices) - len(known)
    note = (
        paragraph(f"{left_out:,} slices are not drawn: too many, or too few rows to measure.", "quiet")
        if left_out
        else ""
    )
    return f"<figure>{picture}</figure>{note}"


def _axis(known: Sequence[SliceComparison]) -> Chart:
    """Return a chart that all intervals fit into, and zero."""
    values = [
        value
        for part in known
        for value in (part.difference.value, part.difference.low, part.difference.high)
        if value is not None
    ]
    return Chart(
        around(values, include=0) if min(values) >= 0 or max(values) <= 0 else around(values),
        (0, 1),
        width=880,
        height=54 + 22 * len(known),
        left=260,
    )


def _slice(chart: Chart, part: SliceComparison, y: int) -> list[str]:
    """Draw one slice with its name, its interval and its difference."""
    seen, shown = part.difference, f"{part.column}={part.value}"
    parts = [label(248, y + 4, f"{shown[:28]} ({part.rows:,} rows)", anchor="end")]
    if seen.low is not None and seen.high is not None:
        parts.append(
            f'<line x1="{chart.x(seen.low):.1f}" x2="{chart.x(seen.high):.1f}" y1="{y}" y2="{y}" stroke="var(--one)" stroke-width="2"/>'
        )
    return [*parts, f'<circle cx="{chart.x(seen.value or 0):.1f}" cy="{y}" r="4" fill="var(--one)"/>']


def _figures(card: ModelCard) -> str:
    told = "".join(drawn(figure) for figure in card.figures)
    return f'<div class="grid">{told}</div>' if told else ""


def _confusion(card: ModelCard) -> str:
    if card.confusion is None:
        return ""
    named = [name(each) for each in card.classes]
    rows = [(truth, *(f"{count:,}" for count in counts)) for truth, counts in zip(named, card.confusion, strict=True)]
    head = ("truth \\ predicted", *(str(each)[:_DIGEST] for each in card.classes))
    return Table("Confusion matrix: rows by true class and by the most probable one.", head, rows).html()


def _changes(card: ModelCard) -> str:
    if card.champion is None:
        return ""
    rows = [(name(each.what), name(each.before), name(each.after)) for each in card.changes]
    table = Table("Against the champion.", ("what", "champion", "challenger"), rows, words=True).html()
    return table or paragraph("Nothing that is kept of how the two were made differs.")


def _lineage(card: ModelCard) -> str:
    lineage = card.lineage
    told = [
        ("run", lineage.run_key),
        ("model file", lineage.spec),
        ("rows", lineage.rows),
        ("bundle that would serve", lineage.bundle),
        ("bundle that was judged", lineage.judged),
        ("seed", str(lineage.seed)),
        ("libraries", ", ".join(lineage.libraries)),
        ("parameters", ", ".join(f"{key}={value}" for key, value in card.parameters.items())),
    ]
    rows = [(text(key), f"<code>{text(value, 2000)}</code>") for key, value in told if value]
    return Table(
        "The same rows, model file and seed make the same bundle.", ("", "digest or value"), rows, words=True
    ).html()


def _licences(card: ModelCard) -> str:
    rows = [(name(each.library), name(each.licence)) for each in card.licences]
    return Table(
        "Of what the model needs to predict, as each library's own metadata names it.",
        ("library", "licence"),
        rows,
        words=True,
    ).html()
