"""The real Prometheus sends its own metrics by remote write: what it has, we have."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from benchmarks.peers import PeerMissing, find_peer, in_ci

from tests.support.ingest import REMOTE_WRITE, ingest_app
from tests.support.people import ORGANIZATION_A, Connection, connect
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.serving import populate, settings_for
from wedsync_apm.ingest.intake import Intake
from wedsync_apm.ingest.writer import open_writer

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: prometheus
  static_configs: [{{targets: ['127.0.0.1:{own_port}']}}]
- job_name: vanishing
  file_sd_configs: [{{files: ['{targets}'], refresh_interval: 1s}}]
remote_write:
- url: http://127.0.0.1:{our_port}{path}
  authorization: {{credentials: a}}
  metadata_config: {{send_interval: 1s}}
  queue_config: {{batch_send_deadline: 1s}}
"""


@pytest.fixture
def program() -> Path:
    try:
        return find_peer("prometheus")
    except PeerMissing as missing:
        if in_ci():
            raise
        pytest.skip(f"not measured: {missing}")


@asynccontextmanager
async def serving(database: Database) -> AsyncIterator[int]:
    """The endpoints on a real port."""
    port = free_port()
    async with open_writer(database.writer) as writer:
        app: Any = ingest_app(Intake(writer), {"a": ORGANIZATION_A})
        server = uvicorn.Server(
            uvicorn.Config(app, port=port, log_level="warning", lifespan="off", ws="none")
        )
        task = asyncio.create_task(server.serve())
        try:
            while not server.started:
                await asyncio.sleep(0.02)
            yield port
        finally:
            server.should_exit = True
            await task


@pytest.fixture
def engine(database: Database) -> Iterator[Connection]:
    with connect(database.owner, autocommit=True) as cx:
        cx.execute("insert into organizations (id, name) values (%s, 'A')", (ORGANIZATION_A,))
    with connect(database.engine, autocommit=True) as cx:
        yield cx


async def test_prometheus_sends_and_every_sample_arrives(
    program: Path, database: Database, engine: Connection, tmp_path: Path
) -> None:
    own_port = free_port()
    targets = tmp_path / "targets.json"
    targets.write_text(json.dumps([{"targets": [f"127.0.0.1:{own_port}"]}]))
    async with serving(database) as our_port:
        config = tmp_path / "prometheus.yml"
        config.write_text(
            CONFIG.format(own_port=own_port, our_port=our_port, targets=targets, path=REMOTE_WRITE)
        )
        log = (tmp_path / "log").open("wb")
        process = subprocess.Popen(  # noqa: ASYNC220 - it runs beside the test
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{own_port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{own_port}") as prometheus:
                await _until(lambda: _count(engine, "up") >= 6)
                targets.write_text("[]")
                await _until(lambda: _ended(engine) > 100)
                theirs = await _their_samples(prometheus)
                await _until(lambda: theirs <= _our_samples(engine))
                failed = await _telemetry(prometheus)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 60)
            log.close()
    assert failed == {
        "prometheus_remote_storage_samples_failed_total": 0,
        "prometheus_remote_storage_samples_dropped_total": 0,
        "prometheus_remote_storage_metadata_failed_total": 0,
    }
    ours = _our_samples(engine)
    assert len(theirs) >= 10
    assert theirs <= ours
    counter = engine.execute(
        "select metric_type, service_name, tags from apm_series"
        " where metric_name = 'prometheus_http_requests_total' limit 1"
    ).fetchone()
    assert counter is not None
    assert (counter["metric_type"], counter["service_name"]) == ("counter", counter["tags"]["job"])


CONFIG_OF_TWO = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: here
  static_configs: [{{targets: ['127.0.0.1:{own_port}'], labels: {{organization_id: '{here}'}}}}]
- job_name: there
  static_configs: [{{targets: ['127.0.0.1:{own_port}'], labels: {{organization_id: '{there}'}}}}]
- job_name: vanishing
  file_sd_configs: [{{files: ['{targets}'], refresh_interval: 1s}}]
  relabel_configs: [{{target_label: organization_id, replacement: '{there}'}}]
remote_write:
- url: http://127.0.0.1:{our_port}{path}
  authorization: {{credentials: {key}}}
  metadata_config: {{send_interval: 1s}}
  queue_config: {{batch_send_deadline: 1s, max_backoff: 1s}}
"""


class Server:
    """`serve` as a process of its own, on a port that stays the same."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.port, self._folder = free_port(), folder
        self._command = [sys.executable, "-m", "wedsync_apm", "serve", "--port", str(self.port)]
        self._command += ["--data-dir", str(folder), "--database-url", database.owner]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """And waits until it answers."""
        own = {name: value for name, value in os.environ.items() if name[:12] != "WEDSYNC_APM_"}
        with (self._folder / "serve.log").open("ab") as log:
            process = self._process = subprocess.Popen(  # noqa: ASYNC220 - runs beside the test
                self._command, stdout=log, stderr=log, env=own
            )
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
            end = time.monotonic() + 60
            while True:
                assert process.poll() is None, (self._folder / "serve.log").read_text()
                with suppress(httpx.HTTPError):
                    if (await client.get("/healthz")).status_code == 200:
                        return
                assert time.monotonic() < end
                await asyncio.sleep(0.1)

    def kill(self) -> None:
        """Without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_platform_key_carries_two_organizations_through_kills_of_the_server(
    program: Path, database: Database, tmp_path: Path
) -> None:
    settings_for(database, tmp_path)
    world, own_port = populate(database), free_port()
    targets = tmp_path / "targets.json"
    targets.write_text(json.dumps([{"targets": [f"127.0.0.1:{own_port}"]}]))
    server = Server(database, tmp_path)
    await server.start()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        CONFIG_OF_TWO.format(
            own_port=own_port,
            our_port=server.port,
            here=world.here,
            there=world.there,
            targets=targets,
            path=REMOTE_WRITE,
            key=world.keys["platform"],
        )
    )
    with connect(database.engine, autocommit=True) as engine, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - it runs beside the test
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{own_port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            theirs: Seen = set()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{own_port}") as prometheus:
                for seen in (6, 18):
                    await _until(lambda seen=seen: _count(engine, "up") >= seen)
                    server.kill()
                    theirs |= await _their_samples(prometheus)
                    had = _scrapes(theirs)
                    while len(_scrapes(theirs) - had) < 3:  # which wait in the sender's queue
                        await asyncio.sleep(0.25)
                        theirs |= await _their_samples(prometheus)
                    await server.start()
                targets.write_text("[]")
                await _until(lambda: _ended(engine) > 100)
                theirs |= await _their_samples(prometheus)
                await _until(lambda: theirs <= _our_samples(engine))
                failed = await _telemetry(prometheus)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 60)
            server.kill()
        # What was metadata alone when we were away is not kept for another try by this sender.
        del failed["prometheus_remote_storage_metadata_failed_total"]
        assert set(failed.values()) == {0}
        ours = _our_samples(engine)
        owners = engine.execute(
            "select organization_id, tags ->> 'job' as job, bool_and(not tags ? 'organization_id')"
            " as is_clean, bool_or(ended_at is not null) as has_ended, count(*) as n"
            " from apm_series where metric_name = 'up' group by 1, 2 order by 2"
        ).fetchall()
    assert len(_scrapes(theirs)) >= 10
    assert len(ours) == len({(metric, job, at) for metric, job, at, _ in ours})
    assert [tuple(row.values()) for row in owners] == [
        (world.here, "here", True, False, 1),
        (world.there, "there", True, False, 1),
        (world.there, "vanishing", True, True, 1),
    ]


async def _until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.25)


def _count(engine: Connection, metric_name: str) -> int:
    row = engine.execute(
        "select count(*) as n from apm_samples where metric_name = %s", (metric_name,)
    ).fetchone()
    assert row is not None
    return int(row["n"])


def _ended(engine: Connection) -> int:
    row = engine.execute(
        "select count(*) as n from apm_series"
        " where tags ->> 'job' = 'vanishing' and ended_at > now() - interval '1 minute'"
    ).fetchone()
    assert row is not None
    return int(row["n"])


Seen = set[tuple[str, str, int, float]]
METRICS = ("up", "scrape_samples_scraped", "process_start_time_seconds")


async def _their_samples(prometheus: httpx.AsyncClient) -> Seen:
    """What Prometheus itself has: metric, job, milliseconds, value."""
    found: Seen = set()
    for metric in METRICS:
        answer = await prometheus.get("/api/v1/query", params={"query": f"{metric}[1m]"})
        for one in answer.json()["data"]["result"]:
            found |= {
                (metric, one["metric"]["job"], round(float(at) * 1000), float(value))
                for at, value in one["values"]
            }
    return found


def _scrapes(seen: Seen) -> set[int]:
    """When the metrics of organization `here` were asked for."""
    return {at for _, job, at, _ in seen if job == "here"}


def _our_samples(engine: Connection) -> Seen:
    rows = engine.execute(
        "select metric_name, tags ->> 'job' as job, metric_value, (extract(epoch from"
        ' "timestamp") * 1000)::bigint as at from apm_samples where metric_name = any (%s)',
        (list(METRICS),),
    ).fetchall()
    return {(row["metric_name"], row["job"], row["at"], row["metric_value"]) for row in rows}


async def _telemetry(prometheus: httpx.AsyncClient) -> dict[str, float]:
    """What Prometheus says about its sending."""
    text = (await prometheus.get("/metrics")).text
    wanted = ("samples_failed", "samples_dropped", "metadata_failed")
    lines = [line for line in text.splitlines() if line.startswith("prometheus_remote_storage_")]
    return {
        line.partition("{")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if any(f"{one}_total" in line for one in wanted)
    }
