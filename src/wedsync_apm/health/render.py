"""The report as Markdown, as a page of HTML that stands alone, and as JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from wedsync_apm.health.model import Line, Outcome, Report

WORDS: Final = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "FAILED",
    Outcome.UNKNOWN: "not known",
}
MOST_ROWS: Final = 200


def as_json(report: Report) -> str:
    """Everything, the statements and rows included."""
    return json.dumps(report.as_dict(), indent=2, ensure_ascii=False, default=_text)


def as_plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as JSON can say them."""
    plain: list[dict[str, Any]] = json.loads(json.dumps([dict(row) for row in rows], default=_text))
    return plain


def as_markdown(report: Report) -> str:
    """A table of all lines, then each line's rows, then the statements."""
    counts = report.counts
    out = [
        "# Health report",
        "",
        f"**{report.verdict}**: {counts[Outcome.PASSED]} passed, {counts[Outcome.FAILED]} failed, "
        f"{counts[Outcome.UNKNOWN]} not known.",
        "",
        f"Measured {_text(report.taken_at)} on the database `{report.database}`, PostgreSQL "
        f"{report.server_version}, by wedsync-apm {report.product_version}. "
        "Produced by `wedsync-apm health-report`.",
        "",
        "| # | Area | What | Expected | Outcome | Measured | Took |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, line in enumerate(report.lines, start=1):
        measured = f"{line.value}: {line.reason}" if line.reason else line.value
        cells = (
            str(number),
            line.area,
            line.title,
            line.expected,
            WORDS[line.outcome],
            measured,
            f"{line.duration_ms:.1f} ms",
        )
        out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    for line in report.lines:
        if line.rows:
            out += ["", f"## {line.title}", "", *_markdown_rows(line.rows)]
    out += ["", "## Statements", ""]
    for number, line in enumerate(report.lines, start=1):
        out += [
            f"{number}. {line.title}, asked at {_text(line.measured_at)}",
            "",
            "```sql",
            line.statement,
            "```",
            "",
        ]
    return "\n".join(out).rstrip() + "\n"


def as_html(report: Report) -> str:
    """One file without anything from outside; readable in light and dark and on paper."""
    counts = report.counts
    rows = "\n".join(_html_line(n, line) for n, line in enumerate(report.lines, start=1))
    return f"""<!doctype html>
<html lang="en-GB">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Health report: {escape(report.verdict)}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; }}
td {{ border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }}
pre {{ overflow-x: auto; font-size: .8rem; }}
.failed, .unknown {{ font-weight: 700; }}
details table {{ font-size: .85rem; }}
</style>
<h1>Health report: {escape(report.verdict)}</h1>
<p>{counts[Outcome.PASSED]} passed, {counts[Outcome.FAILED]} failed,
{counts[Outcome.UNKNOWN]} not known.
Measured {_text(report.taken_at)} on the database {escape(report.database)},
PostgreSQL {escape(report.server_version)}, by wedsync-apm {escape(report.product_version)}.</p>
<table>
<thead><tr><th>Area<th>What<th>Outcome<th>Measured<th>Took</thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""


def _html_line(number: int, line: Line) -> str:
    reason = f"<br><strong>{escape(line.reason)}</strong>" if line.reason else ""
    inner = f"<p>Expected: {escape(line.expected)}. Asked at {_text(line.measured_at)}.</p>"
    inner += f"<pre>{escape(line.statement)}</pre>{_html_rows(line.rows)}"
    return (
        f"<tr><td>{escape(line.area)}<td>{escape(line.title)}"
        f'<td class="{line.outcome}">{WORDS[line.outcome]}'
        f"<td>{escape(line.value)}{reason}<details><summary>Statement {number}</summary>{inner}"
        f"</details><td>{line.duration_ms:.1f} ms</tr>"
    )


def _html_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}" for name in rows[0])
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(_text(value))}" for value in row.values())
        for row in rows[:MOST_ROWS]
    )
    return f"<table><thead><tr>{head}</thead><tbody>{body}</tbody></table>{_rest(rows)}"


def _markdown_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows[:MOST_ROWS]:
        cells = (_text(value).replace("|", "\\|") for value in row.values())
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, *([f"\n{_rest(rows)}"] if _rest(rows) else [])]


def _rest(rows: Sequence[Mapping[str, Any]]) -> str:
    more = len(rows) - MOST_ROWS
    return f"and {more} more; the JSON has them all" if more > 0 else ""


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)
