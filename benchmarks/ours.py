"""The product as a server under measurement, as `wedsync-apm up` runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, LiteralString

import psycopg

from benchmarks.server import Server, count_by_queries
from benchmarks.workload import vendor_id

_SIZES: LiteralString = """
    select
        (
            select coalesce(sum(pg_total_relation_size(relid)), 0)::bigint
            from pg_partition_tree('apm_metrics') where isleaf
        ) as samples,
        pg_total_relation_size('apm_series') as series
"""


_SETTINGS: LiteralString = """
    select name, current_setting(name) from pg_settings
    where name in (
        'server_version', 'fsync', 'full_page_writes', 'synchronous_commit', 'shared_buffers',
        'max_wal_size', 'wal_compression'
    )
"""


class Ours(Server):
    """Supervisor, PostgreSQL with its own settings, API, engine and the watch over itself."""

    name = "wedsync-apm"
    ready_path = "/healthz"
    write_path = "/prometheus/api/v1/write"
    what = "wedsync-apm up: PostgreSQL, API and engine; every answer after a durable commit"
    settings: ClassVar[dict[str, str]] = {}
    """Of the product, for every server of this run."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def database(self) -> str:
        """Where its database is; it may move to another port when it is started again."""
        found: str = self.runtime()["database_url"]
        return found

    def runtime(self) -> dict[str, Any]:
        """What it wrote down about itself, when all processes had reported."""
        found: dict[str, Any] = json.loads((self.data / "runtime.json").read_text())
        return found

    def command(self) -> list[str]:
        return [_program(), "up", "--data-dir", str(self.data), "--port", str(self.port)]

    def is_ready(self) -> bool:
        return (self.data / "runtime.json").exists() and super().is_ready()

    def part(self, command: list[str]) -> str:
        title = command[0] if command else ""
        if title.startswith("postgres: apm_"):  # a backend names the role that it works for
            return f"postgres for {title.split()[1]}"
        if "postgres" in title:
            return "postgres itself"
        return next((one for one in ("serve", "work") if one in command), "supervisor")

    def environment(self) -> dict[str, str]:
        # What is set for another server, its database above all, must not reach this one.
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith("WEDSYNC_APM_")
        }
        # The workload is days of traffic in seconds; the rate limit per vendor would refuse it.
        lifted = {"WEDSYNC_APM_INGEST_RATE": "1e9", "WEDSYNC_APM_INGEST_BURST": "1e9"}
        return clean | lifted | self.settings

    def prepare(self) -> None:
        with psycopg.connect(self.database) as cx:
            cx.cursor().executemany(
                "insert into organizations (id, name) values (%s, %s)",
                [(vendor_id(n), f"Vendor {n}") for n in range(self.vendors)],
            )
        self.headers = {"Authorization": f"Bearer {self._key('ingest')}"}
        self._reading = {"Authorization": f"Bearer {self._key('read')}"}
        self._empty = self._sizes()["samples"]

    def count(self) -> int:
        return count_by_queries(f"{self.base}/prometheus", self._reading)

    def count_otherwise(self) -> int:
        """By SQL, each sample once."""
        with psycopg.connect(self.database) as cx:
            row = cx.execute(
                "select count(distinct (organization_id, series_id, timestamp)) from apm_samples"
                " where apm_source = 'prometheus'"
            ).fetchone()
        return int(row[0]) if row else 0

    def database_settings(self) -> dict[str, str]:
        """What PostgreSQL ran with."""
        with psycopg.connect(self.database) as cx:
            return dict(cx.execute(_SETTINGS).fetchall())

    def bytes_written(self) -> dict[str, int]:
        """What the samples take with all indexes and TOAST, and the series apart."""
        sizes = self._sizes()
        return {"samples": sizes["samples"] - self._empty, "series": sizes["series"]}

    def _sizes(self) -> dict[str, int]:
        with psycopg.connect(self.database) as cx:
            row = cx.execute(_SIZES).fetchone()
        return {"samples": int(row[0]), "series": int(row[1])} if row else {}

    def _key(self, scope: str) -> str:
        command = ["key", "create", "--platform", "--scope", scope, "--json", "--data-dir"]
        made = subprocess.run(  # noqa: S603 - our own arguments
            [_program(), *command, str(self.data)],
            check=True,
            capture_output=True,
            env=self.environment(),
        )
        secret: str = json.loads(made.stdout)["secret"]
        return secret


def _program() -> str:
    return str(Path(sys.executable).with_name("wedsync-apm"))
