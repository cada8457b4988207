"""The report's sections about samples coming in and being kept."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.tables import spread, table
from benchmarks.targets import OURS, ratios

CALM_CORES: Final = 0.2
"""What others may use before the figures are called disturbed."""


def ingest(told: Mapping[str, Any]) -> str:
    """Beside the peers, shape by shape."""
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


def organizations(told: Mapping[str, Any]) -> str:
    """Few with many series, and many with few."""
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


def flood(told: Mapping[str, Any]) -> str:
    """What the others notice of it."""
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


def durability(told: Mapping[str, Any]) -> str:
    """What a kill costs."""
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
