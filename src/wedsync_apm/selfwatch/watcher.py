"""A thread beside the supervisor: reads every five seconds and sends what it read."""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import httpx

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
        self._client = httpx.Client(
            base_url=url, timeout=5.0, headers={"Authorization": f"Bearer {key}"}
        )
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
        self._client.close()

    def _read(self, turn: int) -> list[Figure]:
        figures: list[Figure] = []
        readers: list[tuple[str, Callable[[], Iterable[Figure]]]] = [
            ("host", self._host.read),
            ("processes", lambda: self._processes.read(self._pids())),
            ("postgresql", self._database.read),
        ]
        if turn % METRICS_EVERY == 0:
            readers.append(("metrics", self._read_metrics))
        for name, read in readers:
            try:
                figures += read()
            except Exception as exc:
                self._complain(name, exc)
            else:
                self._settle(name)
        return figures

    def _read_metrics(self) -> Iterable[Figure]:
        response = self._client.get("/metrics")
        response.raise_for_status()
        return read_exposition(response.text)

    def _send(self, samples: list[dict[str, object]]) -> None:
        self._waiting = [*self._waiting, *samples][-MOST_KEPT:]
        try:
            response = self._client.post("/api/v1/metrics", json={"samples": self._waiting})
        except httpx.HTTPError as exc:
            self._complain("sending", exc)
            return
        if response.status_code >= 500 or response.status_code == 429:
            self._complain("sending", RuntimeError(f"{response.status_code} {response.text[:200]}"))
            return
        self._waiting = []
        if response.is_success:
            self._settle("sending")
        else:
            self._complain("sending", RuntimeError(f"{response.status_code} {response.text[:200]}"))

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
