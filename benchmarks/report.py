"""results/report.md from the results of all parts: what was to be reached, and what was."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.targets import OURS, TARGETS, Results, ratios

PARTS: Final = (
    *("ingest", "durability", "organizations", "flood", "storage"),
    *("rollups", "queries", "alerting", "rules", "statements", "backlog", "soak", "live"),
)
CALM_CORES: Final = 0.2
"""What others may use before the figures are called disturbed."""
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
    if "ingest" in results:
        parts.append(_ingest(results["ingest"]))
    if "organizations" in results:
        parts.append(_organizations(results["organizations"]))
    if "flood" in results:
        parts.append(_flood(results["flood"]))
    if "durability" in results:
        parts.append(_durability(results["durability"]))
    if "queries" in results:
        parts.append(_queries(results["queries"]))
    if "alerting" in results:
        parts.append(_alerting(results["alerting"]))
    if "rules" in results:
        parts.append(_rules(results["rules"]))
    if "statements" in results:
        parts.append(_statements(results["statements"]))
    if "backlog" in results:
        parts.append(_backlog(results["backlog"]))
    if "soak" in results:
        parts.append(_soak(results["soak"]))
    if "live" in results:
        parts.append(_live(results["live"]))
    parts += [_printed(part, told) for part, told in results.items() if "printed" in told]
    parts.append(_conditions(results))
    return "\n".join(parts)


def _backlog(told: Mapping[str, Any]) -> str:
    seconds = sorted(told["seconds"])
    return (
        "## An emergency behind a backlog\n\n"
        f"{told['due_before']:,} messages of low priority due over {told['options']['vendors']:,} "
        f"vendors, {told['due_after']:,} left after {len(seconds)} emergencies: accepted after "
        f"{statistics.median(seconds):.2f} s, the slowest after {seconds[-1]:.2f} s.\n"
    )


def _soak(told: Mapping[str, Any]) -> str:
    options, broken = told["options"], told["failures"]
    lines = [
        "## Soak\n",
        f"{options['vendors']:,} vendors, {told['conditions']} of them at a wedding with something "
        f"critical each, {told['kills']} processes killed and {len(told['faults'])} faults in "
        f"{options['seconds']:g} s. Time in which none of a receiver's channels worked is left "
        "out.\n",
        table(
            ("accepted s", "receipt s", "repeats", "lost", "sent after acknowledgement"),
            [
                [
                    spread(told["accepted_seconds"]),
                    spread(told["receipt_seconds"]),
                    str(told["repeats"]),
                    str(told["lost"]),
                    str(told["sent_after_acknowledgement"]),
                ]
            ],
        ),
    ]
    lines += [f"**Broken: {one}.**\n" for one in broken]
    return "\n".join(lines)


def _live(told: Mapping[str, Any]) -> str:
    options, figures = told["options"], told["figures"]
    phases = ("alone", "beside_broadcasts", "beside_never_reading")
    broadcasts, wandering = figures["broadcasts"], figures["wandering"]
    rows = [
        [phase.replace("_", " "), *(str(figures[phase][key]) for key in ("events", "p50_ms"))]
        + [str(figures[phase][key]) for key in ("p99_ms", "max_ms", "lost", "leaked")]
        for phase in phases
    ]
    return (
        "## Live connections\n\n"
        f"{options['connections']:,} connections, there after {figures['connected_in_s']:g} s, "
        f"{figures['kb_a_connection']:g} KB each; one for everybody reached the last after "
        f"{broadcasts['median_last_ms']:g} ms (median of {broadcasts['broadcasts']}). "
        f"{wandering['changes']:,} changes of access, {wandering['heard']:,} events heard beside "
        f"them, {wandering['leaked']} by others.\n\n"
        + table(("", "events", "p50 ms", "p99 ms", "most ms", "lost", "leaked"), rows)
    )


def spread(values: Sequence[float], shape: str = ".3g") -> str:
    """Median [lowest..highest]; the bare figure where there is but one."""
    if not values:
        return "not measured"
    middle = f"{statistics.median(values):{shape}}"
    if len(values) == 1:
        return middle
    return f"{middle} [{min(values):{shape}}..{max(values):{shape}}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(one)} |\n" for one in lines)


def _targets(results: Results) -> str:
    rows = []
    for target in TARGETS:
        told = results.get(target.part)
        values = target.find(told) if told is not None else []
        figures = f"{spread(values)}{target.unit}" if values else "not measured"
        goals = (target.goal(target.bar), target.goal(target.stretch))
        rows.append((target.what, *goals, figures, target.verdict(values)))
    return table(("what", "bar", "stretch", "measured", "verdict"), rows)


def _ingest(told: Mapping[str, Any]) -> str:
    runs, options = told["runs"], told["options"]
    lines = [
        "## Ingest\n",
        f"Remote write 1.0, {options['vendors']:,} organizations of 50 series with 10 labels, "
        f"{options['samples']:,} samples, {options['connections']} connections, closed loop. "
        "500x1: 500 series x 1 sample a body. The first pass makes the series. CPU is the "
        "server's whole process tree, memory its proportional set size with and without "
        "PostgreSQL. Stored is counted by queries, ours by SQL too.\n",
    ]
    for shape in dict.fromkeys(run["shape"] for run in runs):
        of_shape = [run for run in runs if run["shape"] == shape]
        servers = dict.fromkeys(run["server"] for run in of_shape)
        rows = [_ingest_row(server, shape, of_shape) for server in servers]
        lines += [f"### {shape}\n", table(_INGEST_HEAD, rows)]
        if own := [run for run in of_shape if run["server"] == OURS]:
            lines.append(f"Ours by part, us a sample: {_by_part(own)}.\n")
    if any(run["others_cores"] > CALM_CORES for run in runs):
        lines.append(
            "**The machine was not quiet** (others' cores): compare what is in one round, and do "
            "not quote rates or latencies.\n"
        )
    if shuffled := _shuffled(runs):
        lines.append(
            "With series in another order in each body, where our decoder's guess of the next "
            f"series fails, ours reaches {spread(shuffled)} of its own rate in the same round.\n"
        )
    return "\n".join(lines)


_INGEST_HEAD: Final = (
    *("server", "samples/s", "x VictoriaMetrics", "first pass/s", "steady/s", "CPU us/sample"),
    *("sender us/sample", "MB", "MB without PostgreSQL", "p50 ms", "p99 ms"),
    *("B/sample", "series B/sample", "stored = acknowledged", "others' cores"),
)


def _ingest_row(server: str, shape: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    own = [run for run in runs if run["server"] == server]

    def column(name: str, form: str = ".3g") -> str:
        values = [run[name] for run in own if run[name] is not None]
        return spread(values, form) if values else ""

    return [
        server,
        column("whole_per_second", ",.0f"),
        spread(ratios(runs, shape, "victoria-metrics", server)),
        column("first_per_second", ",.0f"),
        column("steady_per_second", ",.0f"),
        column("cpu_us", ".2f"),
        column("sender_cpu_us", ".3f"),
        column("peak_mb", ".0f"),
        column("peak_without_postgres_mb", ".0f"),
        column("p50_ms"),
        column("p99_ms"),
        column("bytes_per_sample"),
        column("series_bytes_per_sample"),
        _is_whole(own),
        column("others_cores", ".2f"),
    ]


def _is_whole(runs: Sequence[Mapping[str, Any]]) -> str:
    is_whole = all(
        run["stored"] == run["samples"] and run["stored_by_sql"] in {None, run["samples"]}
        for run in runs
    )
    return "yes" if is_whole else "NO"


def _by_part(runs: Sequence[Mapping[str, Any]]) -> str:
    names = dict.fromkeys(name for run in runs for name in run["cpu_us_by_part"])
    medians = {
        name: statistics.median(run["cpu_us_by_part"].get(name, 0.0) for run in runs)
        for name in names
    }
    return ", ".join(f"{name} {value:.2f}" for name, value in medians.items())


def _shuffled(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    rates: dict[str, dict[int, float]] = {"500x1": {}, "500x1 shuffled": {}}
    for run in runs:
        if run["server"] == OURS and run["shape"] in rates:
            rates[run["shape"]][run["round"]] = run["steady_per_second"]
    ordered, shuffled = rates.values()
    return [rate / ordered[n] for n, rate in shuffled.items() if n in ordered]


def _organizations(told: Mapping[str, Any]) -> str:
    rows = []
    for whole in told["wholes"]:
        own = [run for run in told["runs"] if run["organizations"] == whole["organizations"]]
        rows.append(
            (
                f"{whole['organizations']:,}",
                f"{whole['series']:,}",
                f"{whole['first_per_second']:,.0f}",
                spread([run["per_second"] for run in own], ",.0f"),
                spread([run["cpu_us"] for run in own], ".2f"),
                _is_whole([whole]),
                spread([run["others_cores"] for run in own], ".2f"),
            )
        )
    head = ("organizations", "series in all", "series made/s", "samples/s", "CPU us/sample")
    return "\n".join(
        (
            "## Many organizations\n",
            "The same number of series in all, 500 series x 1 sample a body, all series known.\n",
            table((*head, "stored = acknowledged", "others' cores"), rows),
        )
    )


def _flood(told: Mapping[str, Any]) -> str:
    rows = [
        (
            str(run["round"] + 1),
            f"{run['quiet_p50_ms']:.1f} / {run['quiet_p95_ms']:.1f}",
            f"{run['flooded_p50_ms']:.1f} / {run['flooded_p95_ms']:.1f}",
            f"{run['new_series_per_minute']:,.0f}",
            ", ".join(f"{count} x {status}" for status, count in run["statuses"].items()),
        )
        for run in told["runs"]
    ]
    head = ("round", "quiet: p50 / p95 ms", "flooded: p50 / p95 ms", "new series a minute")
    return "\n".join(
        (
            "## One organization invents series\n",
            f"The others' requests, {told['others_refused']} of which were refused; the flood made "
            f"{told['series_of_the_flood']:,} series.\n",
            table((*head, "the flood's answers"), rows),
        )
    )


def _durability(told: Mapping[str, Any]) -> str:
    rows = []
    for mode in dict.fromkeys(trial["mode"] for trial in told["trials"]):
        own = [trial for trial in told["trials"] if trial["mode"] == mode]
        rows.append(
            (
                mode,
                str(len(own)),
                f"{sum(trial['acknowledged'] for trial in own):,}",
                f"{sum(trial['acknowledged_later'] for trial in own):,}",
                str(sum(trial["lost"] for trial in own)),
                spread([trial["ms_after_an_answer"] for trial in own]),
                spread([trial["ready_seconds"] for trial in own]),
            )
        )
    head = ("kill -9 of", "times", "acknowledged", "of these while it broke", "lost")
    last = ("ms from an answer to the last kill", "s until ready again")
    return "\n".join(("## Durability\n", table((*head, *last), rows)))


def _queries(told: Mapping[str, Any]) -> str:
    rows = []
    kinds = dict.fromkeys((r["question"], r["server"], r["organizations"]) for r in told["runs"])
    for kind in sorted(kinds, key=lambda one: one[0]):
        own = [r for r in told["runs"] if (r["question"], r["server"], r["organizations"]) == kind]
        figures = [spread([run[name] for run in own]) for name in ("p50_ms", "p95_ms", "cpu_ms")]
        shares = [run["packed_share"] for run in own if run.get("packed_share") is not None]
        packed = f"{statistics.median(shares):.0%}" if shares else ""
        rows.append((kind[0], kind[1], f"{kind[2]:,}", packed, *figures))
    head = ("question", "server", "organizations", "packed", "p50 ms", "p95 ms", "CPU ms")
    return "\n".join(("## Reading\n", table(head, rows)))


def _alerting(told: Mapping[str, Any]) -> str:
    rows = []
    for server in dict.fromkeys(run["server"] for run in told["runs"]):
        own = [run for run in told["runs"] if run["server"] == server]
        came = sum(run["trials"] - run["missing"] for run in own)
        figures = [spread([run[name] for run in own]) for name in ("p50", "p95", "longest")]
        acknowledged = spread([run["acknowledged_ms"] for run in own])
        rows.append((server, f"{came} of {sum(run['trials'] for run in own)}", *figures))
        rows[-1] += (acknowledged,)
    head = ("server", "webhooks received", "p50 s", "p95 s", "longest s", "write acknowledged ms")
    return "\n".join(
        (
            "## From the acknowledged sample to the received webhook\n",
            f"{told['options']['rules']:,} rules; Prometheus judges each second, and Alertmanager "
            "waits for no group.\n",
            table(head, rows),
        )
    )


def _rules(told: Mapping[str, Any]) -> str:
    rows = []
    for rules in dict.fromkeys(run["rules"] for run in told["runs"]):
        own = [run for run in told["runs"] if run["rules"] == rules]
        counts = (f"{own[0][name]:,}" for name in ("rules", "units", "series"))
        names = ("whole_ms", "take_ms", "judge_ms", "full_ms", "longest_slice_ms", "memory_mb")
        rows.append((*counts, *(spread([run[name] for run in own]) for name in names)))
    head = ("rules", "verdicts", "series", "all judged anew ms", "of it taking in ms", "judging ms")
    last = ("once more without samples ms", "longest slice ms", "MB")
    return "\n".join(
        (
            "## Rules in memory\n",
            "Every series has a new sample; CPU of one thread"
            f"{'' if told['compiled'] else ', NOT compiled'}.\n",
            table((*head, *last), rows),
        )
    )


def _statements(told: Mapping[str, Any]) -> str:
    rows = [
        (
            run["statement"],
            *(f"{run[name]:,}" for name in ("partitions", "samples", "organizations")),
            *(f"{run[name]:.3g}" for name in ("rows", "first_ms", "p50_ms", "p95_ms")),
        )
        for run in told["runs"]
    ]
    head = ("statement", "partitions", "samples", "organizations", "rows", "first ms")
    return "\n".join(("## Statements\n", table((*head, "p50 ms", "p95 ms"), rows)))


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
