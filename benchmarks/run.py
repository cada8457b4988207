"""What the parts of the benchmark share: their options, their facts, and where results go."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.ours import Ours
from wedsync_apm import __version__

RESULTS: Final = Path(__file__).parent / "results"
QUICK_RESULTS: Final = Path(__file__).parent.parent / ".data" / "bench-quick"
"""Git-ignored: nobody shall take these figures for measured ones."""
HEADERS: Final = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def options_of(part: str, purpose: str | None) -> argparse.ArgumentParser:
    """A parser with what every part takes."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {part}", description=purpose)
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it works, no more")
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the product under measurement, such as WEDSYNC_APM_LOG_FORMAT=json",
    )
    return parser


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, with the product's settings handed on."""
    options = parser.parse_args(arguments)
    options.out = options.out or (QUICK_RESULTS if options.quick else RESULTS)
    for setting in options.setting:
        name, equals, value = setting.partition("=")
        if not equals or not name.startswith("WEDSYNC_APM_"):
            parser.error(f"--setting {setting}: WEDSYNC_APM_<NAME>=<value> is expected")
        Ours.settings[name] = value
    return options


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for the servers; an unprivileged user can reach what is in it."""
    with tempfile.TemporaryDirectory(prefix="wedsync-apm-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """When, where and how: beside every figure."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", *_module(), *sys.argv[1:]]),
        "product": {"version": __version__, "commit": _commit()},
        "machine": {
            "cpus": os.cpu_count(),
            "processor": _processor(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "system": platform.platform(),
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "options": {name: value for name, value in options.items() if name != "out"},
    }


def save(part: str, out: Path, told: Mapping[str, Any]) -> None:
    """Writes results/<part>.json, whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    fresh = out / f"{part}.json.tmp"
    fresh.write_text(json.dumps(told, indent=2) + "\n")
    fresh.replace(out / f"{part}.json")


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, flush=True)  # noqa: T201 - it is a command


def _module() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return [spec.name.removesuffix(".__main__")] if spec is not None else []


def _commit() -> str:
    """What is measured; with a plus where files differ from it."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    asked = [git, "describe", "--always", "--dirty=+", "--exclude=*"]
    got = subprocess.run(  # noqa: S603 - a fixed program and arguments
        asked, cwd=Path(__file__).parent, check=False, capture_output=True, text=True
    )
    return got.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
