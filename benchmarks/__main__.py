"""`python -m benchmarks [PART [OPTIONS]]`, which is what `make bench` runs.

Without a part: all of them, one after the other, and the report. `--quick` makes them tiny.
"""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil

from benchmarks.report import PARTS, write_report
from benchmarks.run import QUICK_RESULTS, RESULTS, facts, save, say

CLEAN_UP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """A module of its own, in a process of its own."""

    minutes: float
    """It is interrupted after so many, and what it has measured by then counts."""
    takes_folder: bool = True
    """It writes <part>.json itself; else what it prints is kept."""
    quick: tuple[str, ...] = ("--quick",)


KNOWN: Final = {
    "ingest": Part(14),
    "durability": Part(8),
    "organizations": Part(12),
    "flood": Part(4),
    "storage": Part(4, takes_folder=False, quick=("--samples", "400000")),
    "rollups": Part(4, takes_folder=False, quick=("--vendors", "10", "--history", "2")),
    "queries": Part(10),
    "alerting": Part(8),
    "rules": Part(8),
    "statements": Part(
        12,
        quick=(
            *("--samples", "100000", "--organizations", "20"),
            *("--partitions", "2,4", "--queries", "10"),
        ),
    ),
    "backlog": Part(5),
    "soak": Part(12),
    "live": Part(10),
    "users": Part(12),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for; 1 when a part failed or something was lost."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("part", nargs="?", choices=PARTS)
    shared.add_argument("--quick", action="store_true")
    shared.add_argument("--out", type=Path)
    options, others = shared.parse_known_args(arguments)
    folder = options.out or (QUICK_RESULTS if options.quick else RESULTS)
    wants_help = bool({"-h", "--help"} & set(others))
    if options.part is None and others:
        say(f"{__doc__}\nParts: {', '.join(PARTS)}. Each has --help.")
        return 0 if wants_help else 2
    if wants_help:
        command = [sys.executable, "-m", f"benchmarks.{options.part}", "--help"]
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own program
    parts = [options.part] if options.part is not None else filter(_exists, PARTS)
    failed = [part for part in parts if run_part(part, others, folder, is_quick=options.quick)]
    if failed:
        say(f"Failed, or lost a sample: {', '.join(failed)}.")
    say(f"{write_report(folder)}")
    return 1 if failed else 0


def run_part(name: str, others: Sequence[str], folder: Path, *, is_quick: bool) -> int:
    """Runs one part within its time, and keeps its results. Returns its exit code."""
    part = KNOWN[name]
    wanted = [*(part.quick if is_quick else ()), *others]
    if part.takes_folder:
        wanted += ["--out", str(folder)]
    say(f"== {name} {' '.join(wanted)}".rstrip())
    command = [sys.executable, "-m", f"benchmarks.{name}", *wanted]
    (folder / f"{name}.json").unlink(missing_ok=True)  # figures of another day are not these
    started, told = time.monotonic(), facts({"arguments": wanted})
    code, printed = _run(command, part.minutes * 60)
    say(f"== {name} ended with {code} after {time.monotonic() - started:.0f} s")
    if not part.takes_folder and code == 0:
        save(name, folder, told | _figures(printed))
    return code


def _exists(part: str) -> bool:
    if find_spec(f"benchmarks.{part}") is None:
        say(f"{part}: not measured, there is no such part")
        return False
    return True


def _figures(printed: str) -> dict[str, object]:
    """What a part printed: the JSON in it, else the text."""
    with contextlib.suppress(ValueError):
        found = json.loads(printed)
        if isinstance(found, dict):
            return found
    return {"printed": printed}


def _run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Shows what it prints, and gives it back. After its time it is asked to end as by Ctrl-C, so
    that it stops its servers."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        limit = threading.Timer(seconds, _end, (process, seconds))
        limit.start()
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            for line in process.stdout:
                lines.append(line)
                say(line.rstrip("\n"))
        except KeyboardInterrupt:  # it got the signal as well: its servers are being stopped
            process.wait(CLEAN_UP_SECONDS)
            raise
        finally:
            limit.cancel()
    return process.returncode, "".join(lines)


def _end(process: subprocess.Popen[str], seconds: float) -> None:
    say(f"It took longer than {seconds / 60:.0f} minutes and is interrupted.")
    tree = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(tree, CLEAN_UP_SECONDS)
    for one in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    if process.poll() is None:
        process.kill()


if __name__ == "__main__":
    raise SystemExit(main())
