"""The real Alertmanager, as a judge: a fresh server whose notifications come to us."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from benchmarks.peers import PeerMissing, find_peer, in_ci

from tests.support.ports import free_port

PROGRAM: Final = "prometheus-alertmanager"
TEMPLATE: Final = "usr/share/prometheus/alertmanager/default.tmpl"
QUIET_SECONDS: Final = 2.0
"""Ten of its ticks without a word are taken for silence."""
CONFIG: Final[dict[str, Any]] = {
    "global": {"resolve_timeout": "1h"},
    "route": {
        "receiver": "us",
        # each alert by itself, told at once, looked at five times a second
        "group_by": ["..."],
        "group_wait": "0s",
        "group_interval": "200ms",
        "repeat_interval": "24h",
    },
}


def alertmanager_command() -> list[str]:
    """How it is started; without it an error in CI, and "not measured" elsewhere.

    Debian's reads its templates in /usr/share. Unpacked without root it has none there, so it gets
    a /usr/share of its own, in a mount namespace of its own.
    """
    try:
        program = find_peer(PROGRAM)
    except PeerMissing as missing:
        if in_ci():
            raise
        pytest.skip(f"not measured: {missing}")
    if Path("/", TEMPLATE).exists():
        return [str(program)]
    share = program.parent.parent / "share"
    mount = 'mount --bind "$0" /usr/share && exec "$@"'
    unshare = shutil.which("unshare")
    if unshare is None:
        if in_ci():
            raise PeerMissing("Alertmanager's templates are not in /usr/share")
        pytest.skip("not measured: Alertmanager's templates are not in /usr/share")
    return [unshare, "--mount", "--map-root-user", "sh", "-c", mount, str(share), str(program)]


@dataclass(slots=True)
class Alertmanager:
    """A running server; `heard` are (labels, status) in the order in which they came."""

    client: httpx.AsyncClient
    config_file: Path
    heard: list[tuple[dict[str, str], str]] = field(default_factory=list)
    started: dict[str, datetime] = field(default_factory=dict)
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """Every notification as it came, by the loop's clock."""

    async def alert(self, labels: Mapping[str, str], *, is_firing: bool) -> None:
        """Says that it fires, or that it does no more."""
        now, key = datetime.now(UTC), json.dumps(dict(labels), sort_keys=True)
        if is_firing:
            self.started[key] = now
        ends_at = now + timedelta(hours=1) if is_firing else now
        await self._post(
            "/api/v2/alerts",
            [
                {
                    "labels": dict(labels),
                    "startsAt": self.started[key].isoformat(),
                    "endsAt": ends_at.isoformat(),
                }
            ],
        )

    async def alerts(self, changes: Sequence[tuple[Mapping[str, str], bool]]) -> None:
        """Says of many at once whether they fire."""
        now, posted = datetime.now(UTC), []
        for labels, is_firing in changes:
            key = json.dumps(dict(labels), sort_keys=True)
            if is_firing:
                self.started[key] = now
            posted.append(
                {
                    "labels": dict(labels),
                    "startsAt": self.started[key].isoformat(),
                    "endsAt": (now + timedelta(hours=1) if is_firing else now).isoformat(),
                }
            )
        await self._post("/api/v2/alerts", posted)

    async def silence(self, matchers: Sequence[tuple[str, str, str]]) -> str:
        """Silences what the (label, operator, value) match; gives the silence's id."""
        now = datetime.now(UTC)
        answer = await self._post(
            "/api/v2/silences",
            {
                "matchers": [
                    {
                        "name": label,
                        "value": value,
                        "isRegex": operator in ("=~", "!~"),
                        "isEqual": operator in ("=", "=~"),
                    }
                    for label, operator, value in matchers
                ],
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(hours=1)).isoformat(),
                "createdBy": "test",
                "comment": "test",
            },
        )
        return str(answer.json()["silenceID"])

    async def expire(self, silence_id: str) -> None:
        """Ends a silence."""
        (await self.client.delete(f"/api/v2/silence/{silence_id}")).raise_for_status()

    async def unmute(self) -> None:
        """Ends the muted time: the routes have none any more."""
        config = json.loads(self.config_file.read_text())
        for route in config["route"]["routes"]:
            route.pop("mute_time_intervals", None)
        self.config_file.write_text(json.dumps(config))
        (await self.client.post("/-/reload")).raise_for_status()

    async def suppressed(self) -> list[dict[str, str]]:
        """The labels of the alerts that fire and are held back."""
        answer = await self.client.get("/api/v2/alerts")
        answer.raise_for_status()
        return [one["labels"] for one in answer.json() if one["status"]["state"] == "suppressed"]

    async def settle(self) -> list[tuple[dict[str, str], str]]:
        """What it has told since the last time, when it has nothing more to tell."""
        loop = asyncio.get_running_loop()
        deadline, count, quiet_since = loop.time() + 60, len(self.heard), loop.time()
        while loop.time() - quiet_since < QUIET_SECONDS:
            assert loop.time() < deadline, "it goes on telling"
            await asyncio.sleep(0.05)
            if len(self.heard) != count:
                count, quiet_since = len(self.heard), loop.time()
        told, self.heard = self.heard, []
        return told

    async def _post(self, path: str, body: Any) -> httpx.Response:
        answer = await self.client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer


@asynccontextmanager
async def alertmanager(
    folder: Path,
    inhibit_rules: Sequence[Mapping[str, Any]],
    *,
    is_muted: bool = False,
    route: Mapping[str, Any] | None = None,
) -> AsyncIterator[Alertmanager]:
    """A fresh server with these rules, and a receiver for what it tells.

    `is_muted`: it starts within its route's `mute_time_intervals`. `route` goes before its usual
    one, in which each alert is by itself and told at once.
    """
    command, port, hook_port = alertmanager_command(), free_port(), free_port()
    config = CONFIG | {
        "receivers": [
            {
                "name": "us",
                "webhook_configs": [
                    {"url": f"http://127.0.0.1:{hook_port}/", "send_resolved": True}
                ],
            }
        ],
        "inhibit_rules": list(inhibit_rules),
        "route": {**CONFIG["route"], **(route or {})},
    }
    if is_muted:
        # The root may not be muted.
        config["route"] = {
            **CONFIG["route"],
            "routes": [{"receiver": "us", "mute_time_intervals": ["night"]}],
        }
        always = {"times": [{"start_time": "00:00", "end_time": "24:00"}]}
        config["time_intervals"] = [{"name": "night", "time_intervals": [always]}]
    # JSON is YAML.
    config_file = folder / "alertmanager.yml"
    config_file.write_text(json.dumps(config))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        server = Alertmanager(client, config_file)

        async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length:")[2].partition("\r\n")[0])
                told = json.loads(await reader.readexactly(length))
                server.messages.append((asyncio.get_running_loop().time(), told))
                server.heard += [(one["labels"], one["status"]) for one in told["alerts"]]
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()

        hook = await asyncio.start_server(receive, "127.0.0.1", hook_port)
        with (folder / "alertmanager.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                f"--config.file={config_file}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            async with hook:
                await _until_ready(client, process)
                yield server
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _until_ready(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    for _ in range(600):
        assert process.returncode is None, "Alertmanager ended: see alertmanager.log"
        try:
            if (await client.get("/-/ready")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("Alertmanager did not come up in 30 s")
