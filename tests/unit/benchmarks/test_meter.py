"""What servers use is counted: of children that ended too, and of memory without PostgreSQL."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from benchmarks.meter import Meter, cpu_seconds, memory_mb
from benchmarks.ours import Ours

# Says "ready", and on a line a child of it burns a fifth of a second of CPU and ends.
PARENT = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.2: pass"
print("ready", flush=True)
for line in sys.stdin:
    subprocess.run([sys.executable, "-c", burn])
    print("done", flush=True)
"""


def test_the_cpu_of_children_that_ended_is_not_missed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        server = psutil.Process(process.pid)
        with Meter(lambda: {server: "serve"}) as meter:
            process.stdin.write("go\n")
            process.stdin.flush()
            process.stdout.readline()
        process.stdin.close()
    assert meter.usage.cpu_by_part.keys() == {"serve"}
    assert 0.19 <= meter.usage.cpu < 5
    assert meter.usage.seconds >= 0.19
    assert meter.usage.peak_mb > 1


def test_memory_is_told_with_and_without_postgres() -> None:
    own = psutil.Process()
    whole, without = memory_mb({own: "postgres for apm_writer"})
    assert whole > 1
    assert without == 0
    whole, without = memory_mb({own: "serve"})
    assert whole == without > 1


def test_a_process_that_is_gone_is_left_out() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        gone = psutil.Process(process.pid)
    assert cpu_seconds({gone: "serve"}) == {}
    assert memory_mb({gone: "serve"}) == (0, 0)


def test_the_environment_of_another_server_never_reaches_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEDSYNC_APM_DATABASE_URL", "postgresql://production/")
    monkeypatch.setattr(Ours, "settings", {"WEDSYNC_APM_LOG_FORMAT": "json"})
    environment = Ours(tmp_path, 1).environment()
    assert "WEDSYNC_APM_DATABASE_URL" not in environment
    assert environment["WEDSYNC_APM_LOG_FORMAT"] == "json"
    assert environment["PATH"]


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["postgres: apm_writer wedsync 127.0.0.1(1) COPY"], "postgres for apm_writer"),
        (["/x/bin/postgres", "-D", "/data"], "postgres itself"),
        (["postgres: checkpointer "], "postgres itself"),
        (["python", "-m", "wedsync_apm", "serve"], "serve"),
        (["python", "-m", "wedsync_apm", "work"], "work"),
        (["python", "wedsync-apm", "up"], "supervisor"),
        ([], "supervisor"),
    ],
)
def test_a_process_is_a_part_of_the_product(tmp_path: Path, command: list[str], part: str) -> None:
    assert Ours(tmp_path, 1).part(command) == part
