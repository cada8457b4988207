"""Parts of the benchmarks run in a bounded time, and what they print is kept."""

import json
import sys
import time
from pathlib import Path

import psutil
import pytest
from benchmarks import __main__ as benchmarks
from benchmarks.report import PARTS
from benchmarks.run import options_of, parsed

# Starts a server of its own, and stops it when it is interrupted.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as server:
    print(server.pid, flush=True)
    try:
        time.sleep(60)
    finally:
        server.kill()
"""


def test_every_part_of_the_report_can_be_run() -> None:
    assert set(benchmarks.KNOWN) == set(PARTS)


def test_a_part_is_interrupted_after_its_time_and_stops_its_servers() -> None:
    started = time.monotonic()
    code, printed = benchmarks._run([sys.executable, "-c", STUBBORN], 10.0)
    assert time.monotonic() - started < 50
    assert code != 0
    assert not psutil.pid_exists(int(printed))


def test_what_a_part_prints_is_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(printed: str, code: int = 0) -> None:
        monkeypatch.setattr(benchmarks, "_run", lambda command, seconds: (code, printed))
        assert benchmarks.run_part("storage", [], tmp_path, is_quick=False) == code

    file = tmp_path / "storage.json"
    run('{"storage": [1]}')
    assert json.loads(file.read_text())["storage"] == [1]
    run("a day: 3 us\n")
    assert json.loads(file.read_text())["printed"] == "a day: 3 us\n"
    run("half a li", code=1)
    assert not file.exists()  # neither half of it nor that of another day


def test_an_interrupted_part_fails_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarks, "_run", lambda command, seconds: (-2, ""))
    assert benchmarks.main(["storage", "--out", str(tmp_path)]) == 1
    monkeypatch.setattr(
        benchmarks, "_run", lambda command, seconds: (-2 if "storage" in command[-1] else 0, "")
    )
    assert benchmarks.main(["--out", str(tmp_path)]) == 1
    assert (tmp_path / "rollups.json").exists()
    monkeypatch.setattr(benchmarks, "_run", lambda command, seconds: (0, "{}"))
    assert benchmarks.main(["--out", str(tmp_path)]) == 0


def test_a_setting_of_the_product_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, str] = {}
    monkeypatch.setattr("benchmarks.ours.Ours.settings", settings)
    parsed(options_of("ingest", None), ["--setting", "WEDSYNC_APM_LOG_FORMAT=json"])
    assert settings == {"WEDSYNC_APM_LOG_FORMAT": "json"}
    with pytest.raises(SystemExit):
        parsed(options_of("ingest", None), ["--setting", "PATH=/"])


def test_quick_results_lie_apart() -> None:
    quick = parsed(options_of("ingest", None), ["--quick"])
    real = parsed(options_of("ingest", None), [])
    assert quick.out != real.out
    assert ".data" in quick.out.parts
