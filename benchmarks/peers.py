"""The stores that we compare ourselves with, from Debian's own packages, unpacked without root."""

import gzip
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).resolve().parent.parent / ".data" / "peers"
"""Git-ignored; a package that was unpacked once is used again."""

PACKAGES: Final = {
    "prometheus": "prometheus",
    "victoria-metrics": "victoria-metrics",
    "influxd": "influxdb",
    "prometheus-alertmanager": "prometheus-alertmanager",
}
"""Program and package."""


class PeerMissing(Exception):
    """The program is not here and could not be fetched; the text says why."""


def find_peer(program: str) -> Path:
    """The program: as installed, else unpacked from its Debian package.

    Raises PeerMissing where there is neither. In CI that must be an error, never a silent skip.
    """
    installed = shutil.which(program)
    if installed is not None:
        return Path(installed)
    folder = CACHE / PACKAGES[program]
    binary = folder / "usr" / "bin" / program
    if not binary.exists():
        _fetch(PACKAGES[program], folder)
    if not binary.exists():
        raise PeerMissing(f"the package {PACKAGES[program]} has no usr/bin/{program}")
    return binary


def peer_version(program: str) -> str:
    """Of the Debian package that `find_peer` finds; "unknown" where nothing tells."""
    package = PACKAGES[program]
    if shutil.which(program) is None:
        changes = (CACHE / package / "usr" / "share" / "doc" / package).glob("changelog.Debian*.gz")
        for page in sorted(changes):  # the rebuild's own, "….amd64.gz", comes first
            first = gzip.decompress(page.read_bytes()).decode(errors="replace").split("\n", 1)[0]
            return first.partition("(")[2].partition(")")[0]
        return "unknown"
    query = shutil.which("dpkg-query")
    if query is None:
        return "unknown"
    asked = [query, "--show", "--showformat=${Version}", package]
    got = subprocess.run(asked, check=False, capture_output=True, text=True)  # noqa: S603
    return got.stdout.strip() or "unknown"


def in_ci() -> bool:
    """Whether a missing peer is an error."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _fetch(package: str, folder: Path) -> None:
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
    if apt is None or dpkg is None:
        raise PeerMissing(f"{package} is not installed, and there is no apt-get to fetch it with")
    download = folder.with_name(f"{folder.name}.download")
    shutil.rmtree(download, ignore_errors=True)
    download.mkdir(parents=True)
    try:
        got = subprocess.run(  # noqa: S603 - a fixed program and package
            [apt, "download", package], cwd=download, check=False, capture_output=True, text=True
        )
        found = list(download.glob("*.deb"))
        if got.returncode or not found:
            raise PeerMissing(f"{package} could not be fetched: {got.stderr.strip()[-300:]}")
        unpack = [dpkg, "-x", str(found[0]), str(download / "root")]
        subprocess.run(unpack, check=True)  # noqa: S603 - a fixed program
        shutil.rmtree(folder, ignore_errors=True)
        (download / "root").rename(folder)
    finally:
        shutil.rmtree(download, ignore_errors=True)
