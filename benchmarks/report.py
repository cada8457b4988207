"""results/report.md from the results of all parts: what was to be reached, and what was."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import sections_of_ingest, sections_of_use
from benchmarks.tables import spread, table
from benchmarks.targets import TARGETS, Results

SECTIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], str] | None]] = {
    "ingest": sections_of_ingest.ingest,
    "durability": sections_of_ingest.durability,
    "organizations": sections_of_ingest.organizations,
    "flood": sections_of_ingest.flood,
    "storage": None,
    "rollups": None,
    "queries": sections_of_use.queries,
    "alerting": sections_of_use.alerting,
    "rules": sections_of_use.rules,
    "statements": sections_of_use.statements,
    "backlog": sections_of_use.backlog,
    "soak": sections_of_use.soak,
    "live": sections_of_use.live,
    "users": sections_of_use.users,
}
"""By part, in the order in which they run; what has none is shown as it was printed."""
PARTS: Final = tuple(SECTIONS)
_HEAD: Final = """\
# Benchmarks

Median [lowest..highest] of the rounds. Ratios are of whole runs within one round, the sender on
the same cores. What to trust and what not: [docs/benchmarks.md](../../docs/benchmarks.md).
"""


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """By part; a part that never ran is not there."""
    return {
        part: json.loads((folder / f"{part}.json").read_text())
        for part in PARTS
        if (folder / f"{part}.json").exists()
    }


def write_report(folder: Path) -> Path:
    """Anew from whatever results there are."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.md"
    page.write_text(report(read_results(folder)))
    return page


def report(results: Results) -> str:
    """The page."""
    parts = [_HEAD]
    if any(told.get("options", {}).get("quick") for told in results.values()):
        parts.append("**Toy sizes (`--quick`): it works, and no figure or verdict means more.**\n")
    parts.append(_targets(results))
    parts += [
        section(results[part])
        for part, section in SECTIONS.items()
        if section is not None and part in results
    ]
    parts += [_printed(part, told) for part, told in results.items() if "printed" in told]
    parts.append(_conditions(results))
    return "\n".join(parts)


def _targets(results: Results) -> str:
    rows = []
    for target in TARGETS:
        told = results.get(target.part)
        values = target.find(told) if told is not None else []
        figures = f"{spread(values)}{target.unit}" if values else "not measured"
        goals = (target.goal(target.bar), target.goal(target.stretch))
        rows.append((target.what, *goals, figures, target.verdict(values)))
    return table(("what", "bar", "stretch", "measured", "verdict"), rows)


def _printed(part: str, told: Mapping[str, Any]) -> str:
    return f"## {part.capitalize()}\n\n```\n{told['printed'].strip()}\n```\n"


def _conditions(results: Results) -> str:
    lines = ["## Conditions\n"]
    for part, told in results.items():
        machine = {"processor": "unknown", "python": "unknown"} | told["machine"]
        load = machine.get("load_before", machine.get("load_average", "unknown"))
        lines.append(
            f"- {part}: {told['measured_at']}, `{told['command']}`, {machine['cpus']} CPUs "
            f"({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
            f"Python {machine['python']}, load {load}."
        )
        if product := told.get("product"):
            lines.append(f"  - wedsync-apm {product['version']}, commit {product['commit']}")
        if settings := told.get("postgresql"):
            shown = ", ".join(f"{name} {value}" for name, value in settings.items())
            lines.append(f"  - PostgreSQL: {shown}")
        lines += [f"  - {setting}" for setting in told.get("options", {}).get("setting", ())]
        for name, version in told.get("versions", {}).items():
            lines.append(f"  - {name} {version}: {told['what'][name]}")
        for name, why in told.get("not_measured", {}).items():
            lines.append(f"  - {name}: not measured, {why}")
    return "\n".join(lines) + "\n"
