"""A page says what its JSON says, whatever that is: nothing in it can run, fetch or break the page."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from continuous_training.core.task import Task
from continuous_training.reports import DriftReport, ModelCard, card_page, drift_page
from continuous_training.reports.chart import around, nice
from report_parts import card, report

TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "section", "span", "bdi", "wbr", "br", "dl", "div", "dt",
    "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary", "code", "ul", "li", "svg",
    "desc", "text", "line", "polyline", "polygon", "circle", "rect",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "scope", "style", "viewbox", "role", "aria-labelledby", "id", "x", "y",
    "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "width", "height", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray",
    "stroke-linejoin", "points", "text-anchor",
}  # fmt: skip
VOID = {"meta", "br", "wbr"}
HOSTILE = (
    "</title><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' onload='alert(1)",
    "</style><style>@import 'http://x'</style>",
    "</svg></desc></bdi>&lt;&#60;",
    "javascript:alert(1)",
    "\x00\x1f\u202egnp.exe\u2028 $\\frac{$",
    "]]><!--",
    "",
)


class Reader(HTMLParser):
    """Keeps every tag and attribute, and fails where tags are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for key, value in attrs:
            self.attributes.setdefault(key, set()).add(value or "")
            if key == "id":
                self.ids.append(value or "")
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(page: str) -> Reader:
    """Return what a page holds, once it is known to be harmless."""
    page.encode()
    found = Reader(page)
    assert found.tags <= TAGS
    assert set(found.attributes) <= ATTRIBUTES
    assert all(re.fullmatch(r"fill:var\(--\w+\)", style) for style in found.attributes.get("style", ()))
    assert len(found.ids) == len(set(found.ids))
    assert page.replace("\n", "").isprintable()
    assert "url(" not in page
    assert "@import" not in page.partition("</style>")[0]
    return found


def hostile(function):  # type: ignore[no-untyped-def]
    """Try every hostile text, and others."""
    for text in HOSTILE:
        function = example(name=text)(function)
    return settings(max_examples=20, deadline=None)(
        given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))(function)
    )


@hostile
def test_no_name_can_run_or_break_a_card(name: str) -> None:
    checked(card_page(card(name)))


@hostile
def test_no_name_can_run_or_break_a_drift_report(name: str) -> None:
    checked(drift_page(report(name)))


def test_a_card_shows_every_part_that_it_has() -> None:
    found = checked(card_page(card("wind")))
    for heading in (
        "Intended use", "Quality", "Promotion gate", "Slices", "Figures", "Where predictions come from", "What changed", "Limits",
        "Not in this card", "Lineage", "Licences",
    ):  # fmt: skip
        assert heading in found.text
    assert "a" * 64 in found.text
    assert "Groups" not in found.text


@pytest.mark.parametrize("kind", ["regression", "ranking"])
def test_a_card_without_classes_champion_or_figures_is_a_page_too(kind: str) -> None:
    task = Task(kind=kind, label="y", event_time="at", group="trip" if kind == "ranking" else None)
    nothing = {"champion": None, "figures": (), "confusion": None, "explanation": None, "changes": (), "reason": None}
    found = checked(card_page(card("wind", task=task, classes=(), **nothing)))
    assert "no champion yet" in found.text
    assert "What changed" not in found.text


def test_pages_are_the_same_for_the_same_json() -> None:
    for one, kind, page in ((card(), ModelCard, card_page), (report(), DriftReport, drift_page)):
        assert page(kind.model_validate_json(one.model_dump_json())) == page(one)


def test_the_columns_that_moved_most_come_first_and_only_they_are_drawn() -> None:
    page = drift_page(report("c", columns=100))
    found = checked(page)
    assert page.count("<svg") == 24
    assert "The 24 columns that moved most" in found.text
    assert page.index("<h3><bdi>c 99</bdi></h3>") < page.index("<h3><bdi>c 98</bdi></h3>")


@pytest.mark.parametrize("name", ["column", '"' * 5000])
def test_two_thousand_columns_make_a_page_under_two_megabytes(name: str) -> None:
    for page in (drift_page(report(name, columns=2000)), card_page(card(name, features=2000))):
        assert len(page.encode()) < 2_000_000


def test_a_drift_report_of_nothing_is_a_page() -> None:
    empty = report().model_copy(update={"columns": (), "scores": ()})
    assert "No detector measured this window" in checked(drift_page(empty)).text


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_axes_hold_whatever_they_are_to_show(one: float, other: float) -> None:
    low, high = around([one, other])
    assert low <= min(one, other) <= max(one, other) <= high
    assert len(nice((low, high))) <= 7
