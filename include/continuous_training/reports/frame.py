"""The frame of every page that is written for people: one HTML file that opens offline, prints, and runs no script.

Whatever comes from data or from a request goes through `text` and can neither run nor change the page.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from continuous_training.core.scores import Estimate

MOST_SHOWN = 80
"""Characters of a name on a page; the JSON has it whole."""
MOST_TOLD = 500
"""Characters of a text on a page."""

# Nothing may be fetched and no script may run, whatever a page says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --quiet: #59636e; --paper: #fff; --line: #d1d9e0; --axis: #8c959f;
  --wash: #f6f8fa; --one: #0969a8; --two: #bc4c00; --three: #4d7c0f; --four: #7e22ce; --five: #9a6700; --six: #be123c;
  --pass: #1a7f37; --fail: #cf222e; --inconclusive: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --quiet: #9198a1; --paper: #0d1117; --line: #30363d;
  --axis: #656c76; --wash: #151b23; --one: #58a6ff; --two: #f0883e; --three: #7ee787; --four: #d2a8ff; --five: #e3b341;
  --six: #ff7b9c; --pass: #3fb950; --fail: #f85149; --inconclusive: #d29922; } }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, "Segoe UI", sans-serif; max-width: 62rem; margin: 2.5rem auto; padding: 0 1.25rem;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; font-weight: 650; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .6rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); font-weight: 650; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; font-weight: 650; }
p { margin: .5rem 0; } .lead { font-size: 1.05rem; } .quiet { color: var(--quiet); }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding: .25rem 0 .5rem; }
th, td { padding: .32rem .75rem .32rem 0; text-align: right; vertical-align: top; font-weight: 400; }
th:first-child, td:first-child, .words td, .words th { text-align: left; } th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--quiet); border-bottom: 1px solid var(--axis); white-space: nowrap; }
tbody tr { border-bottom: 1px solid var(--line); } tbody th { min-width: 8rem; }
.nowrap { white-space: nowrap; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: .9rem 1.5rem; margin: 1.25rem 0;
  padding: 1rem 1.25rem; background: var(--wash); border-radius: 8px; }
dl.facts dt { color: var(--quiet); font-size: .85rem; } dl.facts dd { margin: 0; }
.badge { display: inline-block; border: 1px solid currentColor; border-radius: 99px; padding: 0 .6rem; font-size: .85rem;
  font-weight: 600; white-space: nowrap; }
.pass { color: var(--pass); } .fail { color: var(--fail); } .inconclusive { color: var(--inconclusive); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem 2.5rem; }
figure { margin: 0 0 .5rem; min-width: 0; } figure h3 { margin: .5rem 0 0; } figcaption { color: var(--quiet); font-size: .88rem; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, "Segoe UI", sans-serif; }
svg .quiet, svg text.quiet { fill: var(--quiet); } .axis { stroke: var(--axis); } .gridline { stroke: var(--line); }
.bar { height: .7rem; background: var(--one); border-radius: 2px; min-width: 1px; }
details { margin: .4rem 0; } summary { color: var(--quiet); cursor: pointer; font-size: .88rem; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; } ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
footer { margin: 3rem 0 1rem; color: var(--quiet); font-size: .85rem; border-top: 1px solid var(--line); padding-top: .75rem; }
@media print { :root { color-scheme: light; --ink: #000; --quiet: #444; --paper: #fff; --line: #ccc; --axis: #777; --wash: #f6f6f6;
  --one: #0969a8; --two: #bc4c00; --pass: #1a7f37; --fail: #cf222e; --inconclusive: #9a6700; }
  body { max-width: none; margin: 0; padding: 0; font-size: 10.5pt; } h2, h3 { break-after: avoid; } .scroll { overflow: visible; }
  figure, tr, dl.facts { break-inside: avoid; } details { display: none; } .grid { grid-template-columns: 1fr 1fr; gap: 1rem 1.5rem; }
  @page { margin: 16mm 14mm; } }
"""


def page(title: str, body: str) -> str:
    """Return a whole page with this title, which is plain text, and this body, which is HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><title>{text(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f"<body><main>{body}</main></body></html>\n"
    )


def text(value: object, most: int | None = None) -> str:
    r"""Return what a value says as text of a page, cut to `most` characters; what cannot be seen is shown as a sign.

    >>> text('<b>"\x00'), text("a long name", most=6)
    ('&lt;b&gt;&quot;\ufffd', 'a l...')
    """
    told = str(value)
    if most is not None and len(told) > most:
        told = f"{told[: max(most - 3, 1)]}..."
    return escape(plain(told))


def plain(told: str) -> str:
    r"""Return a text with a sign in place of each character that cannot be seen or that turns the direction of writing.

    >>> plain("a\tb\u202ec")
    'a b\ufffdc'
    """
    if told.isprintable():
        return told
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in told)


def name(value: object) -> str:
    """Return a name out of the data, cut where it is very long; lines break in it at underscores, and its direction of writing ends with it."""
    return f"<bdi>{text(value, MOST_SHOWN).replace('_', '_<wbr>')}</bdi>"


def number(value: float | None) -> str:
    """Return a number as HTML that people read.

    >>> number(0.66822), number(12345.0), number(-0.00123), number(None)
    ('0.6682', '12,345', '&minus;0.00123', '&ndash;')
    """
    if value is None:
        return "&ndash;"
    told = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004
    return told.replace("-", "&minus;", 1) if told.startswith("-") else told


def interval(estimate: Estimate | None) -> str:
    """Return a value with its interval as HTML."""
    if estimate is None or estimate.value is None:
        return number(None)
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    between = f"{number(estimate.low)} to {number(estimate.high)}"
    return f'{number(estimate.value)} <span class="quiet nowrap">{between}</span>'


def percent(share: float) -> str:
    """Return a share in per cent.

    >>> percent(0.0513), percent(1), percent(0.00559)
    ('5.1 %', '100 %', '0.56 %')
    """
    told = 100 * share
    return f"{told:.1f} %" if 1 <= told < 99.95 else f"{told:.2g} %" if told < 1 else f"{told:.0f} %"  # noqa: PLR2004


def section(title: str, body: str) -> str:
    """Return a part of a page under a heading; nothing when there is no body."""
    return f"<section><h2>{text(title)}</h2>{body}</section>\n" if body else ""


def paragraph(body: str, kind: str = "") -> str:
    """Return a paragraph of HTML."""
    return f'<p class="{kind}">{body}</p>' if kind else f"<p>{body}</p>"


def bullets(items: Iterable[str]) -> str:
    """Return a list of HTML items; nothing when there is none."""
    told = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{told}</ul>" if told else ""


def badge(outcome: str) -> str:
    """Return one of pass, fail and inconclusive, in words and colour."""
    return f'<span class="badge {text(outcome)}">{text(outcome)}</span>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names, which are plain text, with what is known of them, which is HTML."""
    told = "".join(f"<div><dt>{text(key)}</dt><dd>{value}</dd></div>" for key, value in pairs if value)
    return f'<dl class="facts">{told}</dl>'


class Table(NamedTuple):
    """Rows of HTML cells, the first of each names its row; `words` keeps them all to the left."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False
    most: int = 200

    def html(self) -> str:
        """Return the table, with a line that says how many rows it leaves out; nothing when it has none."""
        if not self.rows:
            return ""
        left_out = len(self.rows) - self.most
        note = f" The first {self.most:,} of {len(self.rows):,}; the JSON has them all." if left_out > 0 else ""
        head = "".join(f'<th scope="col">{text(each, MOST_SHOWN)}</th>' for each in self.head)
        body = "".join(
            f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
            for first, *cells in self.rows[: self.most]
        )
        kind = ' class="words"' if self.words else ""
        return (
            f'<div class="scroll"><table{kind}><caption>{text(self.caption, MOST_TOLD)}{note}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )
