"""The benchmarks' report says what was reached, and never takes silence for success."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.report import read_results, report, write_report
from benchmarks.run import save
from benchmarks.tables import spread
from benchmarks.targets import TARGETS, Target, ratios

FACTS: dict[str, Any] = {
    "measured_at": "2026-01-02T03:04:05+00:00",
    "command": "python -m benchmarks ingest",
    "machine": {"cpus": 2, "memory_gb": 24.0, "system": "Linux", "python": "3.11.7"},
    "options": {"vendors": 1000, "samples": 3_000_000, "connections": 8},
}


def run(server: str, number: int, rate: float, shape: str = "500x1") -> dict[str, Any]:
    is_ours = server == "wedsync-apm"
    return {
        "shape": shape,
        "server": server,
        "round": number,
        "samples": 1000,
        "stored": 1000,
        "stored_by_sql": 1000 if is_ours else None,
        "whole_per_second": rate,
        "first_per_second": rate / 2,
        "steady_per_second": rate * 2,
        "cpu_us": 2.0,
        "cpu_us_by_part": {"serve": 1.5, "postgres for apm_writer": 0.5},
        "steady_cpu_us": 1.9,
        "sender_cpu_us": 0.1,
        "peak_mb": 600.0,
        "peak_without_postgres_mb": 200.0,
        "p50_ms": 3.0,
        "p99_ms": 40.0,
        "others_cores": 0.05,
        "bytes_per_sample": 20.0 if is_ours else None,
        "series_bytes_per_sample": 9.0 if is_ours else None,
    }


def ingest(*runs: dict[str, Any]) -> dict[str, Any]:
    return {**FACTS, "runs": list(runs)}


def verdicts(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    rows = [line.split(" | ") for line in report(results).split("\n## ")[0].splitlines()]
    return {row[0].removeprefix("| "): row[-1].removesuffix(" |") for row in rows if len(row) == 5}


AT_LEAST = Target("ingest", "rate", 0.8, 1.5, lambda told: [], " x", is_least=True)
AT_MOST = Target("ingest", "bytes", 24, 16, lambda told: [])
NONE_LOST = Target("durability", "lost", 0, None, lambda told: [], is_worst=True)


@pytest.mark.parametrize(
    ("target", "values", "verdict"),
    [
        (AT_LEAST, [], "not measured"),
        (AT_LEAST, [0.79], "NOT reached"),
        (AT_LEAST, [0.8], "reached"),
        (AT_LEAST, [0.1, 0.9, 9.0], "reached"),
        (AT_LEAST, [1.5], "reached, stretch too"),
        (AT_MOST, [24.1], "NOT reached"),
        (AT_MOST, [24], "reached"),
        (AT_MOST, [16], "reached, stretch too"),
        (NONE_LOST, [0, 0, 0], "reached"),
        (NONE_LOST, [0, 0, 1], "NOT reached"),
        (NONE_LOST, [], "not measured"),
    ],
)
def test_a_verdict_is_of_the_median_or_of_the_worst(
    target: Target, values: list[float], verdict: str
) -> None:
    assert target.verdict(values) == verdict


def test_without_results_nothing_is_reached() -> None:
    found = verdicts({})
    assert set(found.values()) - {"verdict", "---"} == {"not measured"}
    assert len(found) == len(TARGETS) + 2


def test_ratios_are_within_a_round_and_need_both_sides() -> None:
    runs = [
        run("victoria-metrics", 0, 100),
        run("wedsync-apm", 0, 50),
        run("victoria-metrics", 1, 1000),
        run("wedsync-apm", 1, 700),
        run("wedsync-apm", 2, 1),
        run("wedsync-apm", 0, 9, shape="50x10"),
    ]
    assert ratios(runs, "500x1", "victoria-metrics") == [0.5, 0.7]
    assert ratios(runs, "50x10", "victoria-metrics") == []


def test_the_figures_of_a_run_are_judged_and_shown() -> None:
    told = ingest(run("wedsync-apm", 0, 90), run("victoria-metrics", 0, 100))
    found = verdicts({"ingest": told})
    first = "remote write, 500 samples a body, by VictoriaMetrics in the same round"
    assert found[first] == "reached"
    assert found["the same, by Prometheus"] == "not measured"
    assert found["CPU a sample at 500 a body, server and PostgreSQL"] == "reached"
    assert found["memory of the server at full speed, without PostgreSQL"] == "reached, stretch too"
    assert found["the same with PostgreSQL and its shared buffers"] == "NOT reached"
    page = report({"ingest": told})
    assert "| wedsync-apm | 90 | 0.9 |" in page
    assert "Ours by part, us a sample: serve 1.50, postgres for apm_writer 0.50." in page
    assert "`python -m benchmarks ingest`, 2 CPUs" in page


def test_toy_sizes_are_said() -> None:
    told = ingest(run("wedsync-apm", 0, 90))
    assert "Toy sizes" not in report({"ingest": told})
    quick = told | {"options": {**FACTS["options"], "quick": True}}
    assert "Toy sizes" in report({"ingest": quick})


def test_a_disturbed_machine_is_said() -> None:
    whole = run("wedsync-apm", 0, 90)
    assert "not quiet" not in report({"ingest": ingest(whole)})
    assert "not quiet" in report({"ingest": ingest(whole, whole | {"others_cores": 0.9})})


@pytest.mark.parametrize("name", ["stored", "stored_by_sql"])
def test_a_lost_sample_is_shown(name: str) -> None:
    whole = run("wedsync-apm", 0, 90)
    assert "| yes |" in report({"ingest": ingest(whole)})
    page = report({"ingest": ingest(whole, whole | {name: 999})})
    assert "| NO |" in page
    assert "| yes |" not in page


def test_every_part_that_has_results_has_its_rows() -> None:
    trial = {"mode": "server", "acknowledged": 10, "acknowledged_later": 1, "lost": 0}
    trial |= {"ms_after_an_answer": 0.5, "ready_seconds": 2.0}
    asked = {"server": "wedsync-apm", "p50_ms": 1.0, "p95_ms": 14.0, "cpu_ms": 1.0}
    asked |= {"question": "dashboard"}
    whole = {"series": 50, "first_per_second": 1.0, "samples": 5, "stored": 5}
    whole |= {"stored_by_sql": 5}
    scale = {"round": 0, "cpu_us": 1.0, "others_cores": 0.0}
    statement = {"statement": "live incidents", "samples": 1, "organizations": 1, "rows": 1.0}
    statement |= {"first_ms": 1.0, "p50_ms": 1.0}
    found = verdicts(
        {
            "durability": {**FACTS, "trials": [trial]},
            "organizations": {
                **FACTS,
                "wholes": [whole | {"organizations": 100}, whole | {"organizations": 10_000}],
                "runs": [
                    scale | {"organizations": 100, "per_second": 100.0},
                    scale | {"organizations": 10_000, "per_second": 96.0},
                ],
            },
            "storage": {
                **FACTS,
                "storage": [{"samples_per_series": 1440, "bytes_per_sample_compacted": 1.6}],
            },
            "queries": {
                **FACTS,
                "runs": [
                    asked | {"organizations": 10_000},
                    asked | {"organizations": 60, "p95_ms": 1.0},
                ],
            },
            "statements": {  # it writes down less of the machine, and no options
                "measured_at": "2026-01-02T03:04:05+00:00",
                "command": "python -m benchmarks.statements",
                "machine": {"cpus": 2, "memory_gb": 24.0, "system": "Linux"},
                "runs": [
                    statement | {"partitions": 14, "p95_ms": 4.0},
                    statement | {"partitions": 14, "p95_ms": 6.0},
                    statement | {"partitions": 90, "p95_ms": 90.0},
                ],
            },
            "rollups": {**FACTS, "printed": "a day of 8 x 50 series: 3.9 us"},
        }
    )
    assert {what: verdict for what, verdict in found.items() if verdict != "not measured"} == {
        "what": "verdict",
        "---": "---",
        "acknowledged samples lost by kill -9 of the server": "reached",
        "bytes a sample after compaction, 1,440 samples a series": "reached",
        "a dashboard of 20 panels as Prometheus asks, p95": "reached, stretch too",
        "three typical SQL statements, prepared, over 14 daily partitions, p95 of the slowest": (
            "reached"
        ),
        "throughput with 10,000 organizations by that with 100": "reached, stretch too",
    }


def test_results_are_read_back_and_reported(tmp_path: Path) -> None:
    save("ingest", tmp_path, ingest(run("wedsync-apm", 0, 90)))
    assert read_results(tmp_path) == {"ingest": ingest(run("wedsync-apm", 0, 90))}
    assert json.loads((tmp_path / "ingest.json").read_text())["runs"][0]["samples"] == 1000
    assert [path.name for path in tmp_path.iterdir()] == ["ingest.json"]
    assert write_report(tmp_path).read_text().startswith("# Benchmarks\n")


def test_a_spread_is_median_and_range() -> None:
    assert spread([3, 1, 2]) == "2 [1..3]"
    assert spread([1234.5], ",.0f") == "1,234"
    assert spread([]) == "not measured"


def test_people_on_the_pages_are_judged_at_a_page_a_minute_and_by_every_fault() -> None:
    step = {
        "think_seconds": 60.0,
        "per_second": 167.0,
        "p50_ms": 40.0,
        "p95_ms": 300.0,
        "p99_ms": 400.0,
        "faults": {},
        "samples_per_second": 30_000,
        "cores_by_part": {"serve": 0.7},
    }
    told = FACTS | {"options": {"users": 10_000, "samples_per_second": 30_000}, "steps": [step]}
    target = next(one for one in TARGETS if one.part == "users")
    assert target.verdict(target.find(told)) == "reached"
    assert "serve 0.70" in report({"users": told})
    assert (
        target.verdict(target.find(told | {"steps": [step | {"p95_ms": 501.0}]})) == "NOT reached"
    )
    failed = step | {"faults": {"today: 500": 1}}
    assert target.verdict(target.find(told | {"steps": [failed]})) == "NOT reached"
    assert not target.find(told | {"steps": [step | {"think_seconds": 120.0}]})
