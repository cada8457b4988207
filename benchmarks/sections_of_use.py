"""The report's sections about what people and rules ask, and what reaches whom."""

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.tables import spread, table


def queries(told: Mapping[str, Any]) -> str:
    """Dashboards and single series."""
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


def statements(told: Mapping[str, Any]) -> str:
    """The typical SQL statements."""
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


def rules(told: Mapping[str, Any]) -> str:
    """Judged in memory."""
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


def alerting(told: Mapping[str, Any]) -> str:
    """From a sample to a webhook."""
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


def backlog(told: Mapping[str, Any]) -> str:
    """An emergency behind many messages."""
    seconds = sorted(told["seconds"])
    return (
        "## An emergency behind a backlog\n\n"
        f"{told['due_before']:,} messages of low priority due over {told['options']['vendors']:,} "
        f"vendors, {told['due_after']:,} left after {len(seconds)} emergencies: accepted after "
        f"{statistics.median(seconds):.2f} s, the slowest after {seconds[-1]:.2f} s.\n"
    )


def soak(told: Mapping[str, Any]) -> str:
    """Wedding days on which things are killed."""
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


def live(told: Mapping[str, Any]) -> str:
    """Events over live connections."""
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


def users(told: Mapping[str, Any]) -> str:
    """People on the pages, busier from step to step."""
    options = told["options"]
    rows = [
        [
            f"{step['think_seconds']:g}",
            *(f"{step[name]:,.0f}" for name in ("per_second", "p50_ms", "p95_ms", "p99_ms")),
            str(sum(step["faults"].values())),
            f"{step['samples_per_second']:,}",
            ", ".join(f"{part} {cores:.2f}" for part, cores in _busiest(step)),
        ]
        for step in told["steps"]
    ]
    head = ("s between two pages", "requests/s", "p50 ms", "p95 ms", "p99 ms", "faults")
    return (
        f"## {options['users']:,} people on the pages\n\n"
        "Each with a connection and an organization of his own, Today, incidents, dashboards and "
        f"acknowledgements, {options['samples_per_second']:,} samples/s sent beside.\n\n"
        + table((*head, "samples/s", "cores, the busiest"), rows)
    )


def _busiest(step: Mapping[str, Any]) -> list[tuple[str, float]]:
    return sorted(step["cores_by_part"].items(), key=lambda one: -one[1])[:4]
