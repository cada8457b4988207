"""Sends bodies over keep-alive connections, one thread each, in order within a lane, and waits for
each answer before the next: what a server acknowledges is what is counted."""

import http.client
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.workload import Body


@dataclass(slots=True)
class Sent:
    """What was acknowledged, how long it took, and what else was answered."""

    acknowledged: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Of acknowledged requests, in seconds."""
    statuses: Counter[int] = field(default_factory=Counter)
    first_refusal: str = ""


def send(
    url: str, bodies: Sequence[Body], headers: Mapping[str, str], connections: int = 8
) -> Sent:
    """Sends everything once; lanes are dealt out to the connections."""
    queues: defaultdict[int, list[Body]] = defaultdict(list)
    for body in bodies:
        queues[body.lane % connections].append(body)
    started = time.perf_counter()
    with ThreadPoolExecutor(max_workers=len(queues)) as threads:
        parts = list(threads.map(lambda queue: _send_all(url, queue, headers), queues.values()))
    whole = Sent(seconds=time.perf_counter() - started)
    for part in parts:
        whole.acknowledged += part.acknowledged
        whole.latencies += part.latencies
        whole.statuses += part.statuses
        whole.first_refusal = whole.first_refusal or part.first_refusal
    return whole


def _send_all(url: str, queue: list[Body], headers: Mapping[str, str]) -> Sent:
    sent = Sent()
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    fixed = dict(headers)
    for body in queue:
        started = time.perf_counter()
        connection.request("POST", address.path, body.data, fixed)
        answer = connection.getresponse()
        text = answer.read()
        sent.statuses[answer.status] += 1
        if 200 <= answer.status < 300:
            sent.acknowledged += body.samples
            sent.latencies.append(time.perf_counter() - started)
        elif not sent.first_refusal:
            sent.first_refusal = f"{answer.status} {text[:300]!r}"
    connection.close()
    return sent
