"""A thread beside the supervisor: reads every five seconds and sends what it read."""

import http.client
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from wedsync_apm.clock import utcnow
from wedsync_apm.selfwatch.collect import (
    DatabaseReader,
    Figure,
    HostReader,
    ProcessReader,
    as_samples,
    read_exposition,
)
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

EVERY_SECONDS: Final = 5.0
METRICS_EVERY: Final = 3
"""Our own `/metrics` has many series, so it is read each third time only."""
HEALTH_EVERY: Final = 12
"""The database's health is looked at once a minute."""
TIMEOUT_SECONDS: Final = 5.0
MOST_KEPT: Final = 20_000


class SelfWatch:
    """Watches until it is stopped. It never raises: what it cannot read or send, it logs once."""

    def __init__(
        self,
        *,
        url: str,
        key: str,
        conninfo: str,
        data_dir: Path,
        pids: Callable[[], Mapping[str, int]],
    ) -> None:
        self._pids = pids
        self._address = urlsplit(url)
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        self._host, self._processes = HostReader(data_dir), ProcessReader()
        self._database = DatabaseReader(conninfo)
        self._stop = threading.Event()
        self._waiting: list[dict[str, object]] = []
        self._complaints: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="self-watch", daemon=True)

    def start(self) -> None:
        """The first reading goes out at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a request under way is given a moment."""
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            self._send(as_samples(self._read(turn), utcnow().isoformat()))
            turn += 1
            self._stop.wait(EVERY_SECONDS)
        self._database.close()

    def _read(self, turn: int) -> list[Figure]:
        figures: list[Figure] = []
        readers: list[tuple[str, Callable[[], Iterable[Figure]]]] = [
            ("host", self._host.read),
            ("processes", lambda: self._processes.read(self._pids())),
            ("postgresql", self._database.read),
        ]
        if turn % METRICS_EVERY == 0:
            readers.append(("metrics", self._read_metrics))
        if turn % HEALTH_EVERY == 0:
            readers.append(("database health", self._database.read_health))
        for name, read in readers:
            try:
                figures += read()
            except Exception as exc:
                self._complain(name, exc)
            else:
                self._settle(name)
        return figures

    def _read_metrics(self) -> Iterable[Figure]:
        status, text = self._ask("GET", "/metrics")
        if status != 200:
            raise RuntimeError(f"{status} {text[:200]}")
        return read_exposition(text)

    def _send(self, samples: list[dict[str, object]]) -> None:
        self._waiting = [*self._waiting, *samples][-MOST_KEPT:]
        try:
            status, text = self._ask(
                "POST", "/api/v1/metrics", json.dumps({"samples": self._waiting}).encode()
            )
        except (OSError, http.client.HTTPException) as exc:
            self._complain("sending", exc)
            return
        is_kept = status >= 500 or status == 429
        if not is_kept:
            self._waiting = []
        if 200 <= status < 300:
            self._settle("sending")
        else:
            self._complain("sending", RuntimeError(f"{status} {text[:200]}"))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """The status and the body of the answer. Every few seconds, a connection is cheap."""
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=TIMEOUT_SECONDS
        )
        try:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def _complain(self, what: str, exc: Exception) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            log.warning(
                "Self-watch, %s: %s: %s",
                what,
                type(exc).__name__,
                exc,
                extra={"action": "selfwatch_failed"},
            )

    def _settle(self, what: str) -> None:
        if what in self._complaints:
            self._complaints.discard(what)
            log.info("Self-watch, %s: works again", what, extra={"action": "selfwatch_works"})
