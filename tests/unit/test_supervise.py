import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wedsync_apm.addresses import is_loopback, require_free_port
from wedsync_apm.config import Settings
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.runtime import Runtime, is_running, read_runtime, write_runtime
from wedsync_apm.supervise import Guard, only_one, restart_delay


def test_each_failure_waits_longer_up_to_half_a_minute() -> None:
    delays = [restart_delay(n) for n in range(1, 12)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays == sorted(delays)
    assert delays[-1] == 30.0


def test_a_second_supervisor_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with (
        only_one(tmp_path),
        pytest.raises(ConfigurationError, match=f"process {os.getpid()}"),
        only_one(tmp_path),
    ):
        pass
    with only_one(tmp_path):
        assert (tmp_path / "up.lock").read_text() == str(os.getpid())


def test_the_guard_stops_its_charge_when_its_owner_is_killed() -> None:
    # Whoever is started in the background of a script inherits that SIGINT is ignored.
    sleeper = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); time.sleep(120)"
    charge = subprocess.Popen([sys.executable, "-c", sleeper])
    script = (
        "import sys, time; from wedsync_apm.supervise import Guard; g = Guard();"
        f" g.watch({charge.pid}); print(g.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    guard = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert charge.wait(timeout=60) == -signal.SIGINT or charge.returncode != 0
    deadline = time.monotonic() + 60
    while is_running(guard) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(guard)


def test_a_released_guard_does_no_harm() -> None:
    charge = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    guard = Guard()
    guard.watch(charge.pid)
    shell = guard.pid
    assert shell is not None
    guard.release()
    assert not is_running(shell)
    time.sleep(0.2)
    assert charge.poll() is None
    charge.kill()
    charge.wait()


def test_runtime_is_written_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    runtime = Runtime("http://127.0.0.1:1", "postgresql://x", str(tmp_path), {"up": 1}, "0")
    write_runtime(tmp_path, runtime)
    assert (tmp_path / "runtime.json").stat().st_mode & 0o777 == 0o600
    assert read_runtime(tmp_path) == runtime
    (tmp_path / "runtime.json").write_text("{half")
    assert read_runtime(tmp_path) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.8.9.10", True),
        ("0.0.0.0", False),  # noqa: S104 - an argument, nothing listens
        ("::", False),
        ("192.0.2.7", False),
        ("apm.example.org", False),
    ],
)
def test_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104 - as above
        ("::", "http://[::1]:8080"),
        ("192.0.2.7", "http://192.0.2.7:8080"),
    ],
)
def test_how_this_machine_reaches_the_pages(host: str, url: str) -> None:
    assert Settings(host=host, port=8080).local_url == url


def test_an_address_that_is_not_ours_is_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="--port"):
        require_free_port("192.0.2.7", 8080)
