"""Sends what waits, oldest first, until the server has answered for it."""

import json
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wedsync_apm.client.backlog import Backlog
from wedsync_apm.client.samples import Packed
from wedsync_apm.client.transport import Answer, Transport, Verdict, one_line

log = logging.getLogger("wedsync_apm.client")

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
HELD_PAUSE: Final = 60.0
IDLE_SECONDS: Final = 30.0
LEAST_BODY_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Rejection:
    """A sample that the server refused for good, as it was sent, and why. `field` names the part
    that is wrong; `sample` is empty where the server did not say which."""

    sample: Mapping[str, Any]
    field: str
    reason: str


@dataclass(slots=True)
class Tally:
    """What the server has said so far."""

    sent: int = 0
    rejected: int = 0
    problem: str | None = None


def pause(
    failures: int, retry_after: float | None, uniform: Callable[[float, float], float]
) -> float:
    """Seconds until the next try: anything up to a limit that doubles ("full jitter", so that many
    senders do not come back at the same moment), and never earlier than the server asked for."""
    limit = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
    if retry_after is None:
        return uniform(0.0, limit)
    return retry_after + uniform(0.0, min(limit, max(1.0, retry_after / 10)))


@dataclass
class Sender:
    """The loop of one thread."""

    backlog: Backlog
    transport: Transport
    on_rejected: Callable[[Rejection], None] | None
    most_samples: int
    most_body_bytes: int
    tally: Tally = field(default_factory=Tally)
    attempts: int = 0
    """Requests after which something still waited."""
    _failures: int = 0
    is_held_back: bool = False
    """Whether the server has asked for a pause that is not over."""
    _last_refusal: str = ""
    _hurry: threading.Event = field(default_factory=threading.Event)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until `stop`; whatever goes wrong, it goes on."""
        while not self._stopped.is_set():
            try:
                self.backlog.open()
                self._step()
            except Exception:
                self.backlog.put_back()
                log.exception("Samples could not be sent")
                self._stopped.wait(LONGEST_PAUSE)
        self.transport.close()

    def stop(self) -> None:
        """Ends the loop after the request that is under way."""
        self._stopped.set()
        self._hurry.set()
        self.backlog.wake()

    def hurry(self) -> None:
        """Tries again now, unless the server has asked for a pause."""
        self._hurry.set()

    def _step(self) -> None:
        first = self.backlog.first(self.most_samples, IDLE_SECONDS, self._stopped.is_set)
        if not first or self._stopped.is_set():
            return
        read = {entry: self.backlog.read(entry) for entry in first}
        batches = {entry: batch for entry, batch in read.items() if batch is not None}
        if not batches:
            return
        # What is asked for from here on is heard when this request has failed.
        self._hurry.clear()
        answer, rejections = self._deliver(Packed.together(list(batches.values())))
        if answer.verdict is Verdict.SETTLED:
            self._settled(answer, rejections)
            self.backlog.settle(*batches)
            return
        self.backlog.put_back()
        self._failures += 1
        self.attempts += 1
        seconds = pause(self._failures, answer.retry_after, random.uniform)
        if answer.verdict is Verdict.HELD:
            seconds = max(seconds, HELD_PAUSE)
        self._say_problem(answer)
        self.is_held_back = answer.retry_after is not None
        self.backlog.wake()
        if not self._stopped.is_set():
            (self._stopped if self.is_held_back else self._hurry).wait(seconds)
        self.is_held_back = False

    def _deliver(self, batch: Packed) -> tuple[Answer, list[Rejection]]:
        """One request, or as many as the server's limit makes of it: all or none of them counts."""
        accepted = rejected = 0
        rejections: list[Rejection] = []
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            lines = part.lines()
            if part.count > 1 and sum(map(len, lines)) > self.most_body_bytes:
                waiting += _halves(lines)
                continue
            answer = self.transport.post(part.body, part.count)
            if answer.verdict is Verdict.SPLIT:
                half = sum(map(len, lines)) // 2
                self.most_body_bytes = max(min(self.most_body_bytes, half), LEAST_BODY_BYTES)
                waiting += _halves(lines)
            elif answer.verdict is not Verdict.SETTLED:
                return answer, []
            else:
                accepted += answer.accepted
                rejected += answer.rejected
                rejections += _rejections(answer, lines)
        return Answer(Verdict.SETTLED, accepted=accepted, rejected=rejected), rejections

    def _settled(self, answer: Answer, rejections: list[Rejection]) -> None:
        self.tally.sent += answer.accepted
        self.tally.rejected += answer.rejected
        if self._failures:
            log.info("The server takes samples again")
        self._failures, self.tally.problem = 0, None
        if answer.rejected:
            first = (
                f"{rejections[0].field} {rejections[0].reason}" if rejections else "not told why"
            )
            if first != self._last_refusal:
                log.warning("The server refused %d samples for good: %s", answer.rejected, first)
            self._last_refusal = first
        for rejection in rejections:
            if self.on_rejected is not None:
                try:
                    self.on_rejected(rejection)
                except Exception:
                    log.exception("on_rejected failed")

    def _say_problem(self, answer: Answer) -> None:
        problem = answer.problem or "no answer"
        is_news = self._failures == 1 or (
            answer.verdict is Verdict.HELD and problem != self.tally.problem
        )
        self.tally.problem = problem
        if is_news:
            where = "on disk" if self.backlog.is_on_disk else "in memory"
            level = logging.ERROR if answer.verdict is Verdict.HELD else logging.WARNING
            log.log(level, "Samples wait %s and will be sent again: %s", where, problem)


def _halves(lines: list[bytes]) -> Iterator[Packed]:
    # The later half first: what waits is taken from the end.
    middle = len(lines) // 2
    yield Packed.of(lines[middle:])
    yield Packed.of(lines[:middle])


def _rejections(answer: Answer, lines: list[bytes]) -> Iterator[Rejection]:
    for error in answer.errors:
        index = error.get("index")
        known = isinstance(index, int) and 0 <= index < len(lines)
        sample = json.loads(lines[index]) if known and index is not None else {}
        yield Rejection(sample, one_line(error.get("field", "")), one_line(error.get("reason", "")))
