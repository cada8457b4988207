"""How long does it take from the acknowledged sample that breaches a rule until the webhook is
received? Ours beside Prometheus with Alertmanager at the most aggressive settings that are sane:
rules each second, no waiting for a group.

Both have the same rules and the same steady samples. Each trial has an organization, a rule and an
alert group of its own, and comes at a random moment, so that the phases of clocks average out.
"""

import json
import random
import re
import shutil
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import cramjam
import psycopg

from benchmarks.ours import Ours
from benchmarks.peers import PeerMissing, find_peer, in_ci, peer_version
from benchmarks.run import HEADERS, facts, options_of, parsed, save, say, workplace
from benchmarks.server import READY_SECONDS, Server, free_port, get
from benchmarks.stores import Prometheus
from benchmarks.workload import vendor_id

LIMIT: Final = 100.0
BREACH: Final = 1000.0
PROBE: Final = "apm_probe"
STEADY_EVERY_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 15.0
"""Prometheus knows its Alertmanager after 5 s; what fires before is told a minute later."""
PATIENCE_SECONDS: Final = 30.0
"""For the last webhook; what has not come by then is missing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One server in one round; seconds, of the trials whose webhook came."""

    round: int
    server: str
    trials: int
    missing: int
    p50: float
    p95: float
    longest: float
    acknowledged_ms: float
    """The median of the breaching writes themselves."""


class Webhooks:
    """Receives, and notes when which trial was first named."""

    def __init__(self) -> None:
        seen: dict[int, float] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = time.perf_counter()
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                for number in re.findall(rb"trial-(\d+)-", body):
                    seen.setdefault(int(number), at)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: standard error is for people."""

        self.seen = seen
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Webhooks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alerting(Server):
    """A server that was told the rules and where the webhooks go."""

    rules = 0
    hook_port = 0


class OursAlerting(Ours, Alerting):
    """Ours, furnished like a tenant would by the API; rules by SQL, which is the same row."""

    def environment(self) -> dict[str, str]:
        allowed = {"WEDSYNC_APM_EGRESS_ALLOW": f"127.0.0.1:{self.hook_port}"}
        return super().environment() | allowed

    def prepare(self) -> None:
        super().prepare()
        with psycopg.connect(self.database) as cx:
            for number in range(self.vendors):
                cx.cursor().executemany(
                    "insert into apm_alerts (organization_id, alert_name, metric_pattern, "
                    "aggregation, comparison_operator, threshold_value, severity) "
                    "values (%s, %s, %s, 'last', '>', %s, 'critical')",
                    [
                        (vendor_id(number), f"trial-{number}- {metric}", f"site.{metric}", LIMIT)
                        for metric in metrics_of(self.rules, self.vendors)
                    ],
                )
        for number in range(self.vendors):
            self._make_contact(self._admin_key(number))

    def _admin_key(self, number: int) -> str:
        from wedsync_apm.administration import store  # noqa: PLC0415 - only ours needs it
        from wedsync_apm.types import KeyScope  # noqa: PLC0415

        with store.connect(self.database) as cx:
            made = store.create_key(
                cx, name="bench", scope=KeyScope.ADMIN, organization_id=vendor_id(number)
            )
        return made.secret

    def _make_contact(self, key: str) -> None:
        said = {
            "name": "Hook",
            "channel": "webhook",
            "url": f"http://127.0.0.1:{self.hook_port}/",
        }
        request = urllib.request.Request(  # noqa: S310 - our server
            f"{self.base}/api/v1/contact-methods",
            json.dumps(said).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our server
            answer.read()


class PrometheusAlerting(Prometheus, Alerting):
    """Prometheus and Alertmanager; a group is an alert, so that no trial waits for another."""

    name = "prometheus"
    what = "rules each second, group_wait 0 s, Alertmanager beside it"

    def command(self) -> list[str]:
        command = super().command()
        (self.folder / "rules.yml").write_text(self._rules())
        (self.folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{self.folder / 'rules.yml'}]\n"
            "alerting: {alertmanagers: [{static_configs: "
            f"[{{targets: ['127.0.0.1:{self._manager_port}']}}]}}]}}\n"
        )
        return command

    def start(self) -> None:
        self._manager_port = free_port()
        folder = self.folder / "alertmanager"
        folder.mkdir()
        (folder / "config.yml").write_text(
            "route: {receiver: hook, group_by: [trial], group_wait: 0s, group_interval: 5m}\n"
            "receivers: [{name: hook, webhook_configs: "
            f"[{{url: 'http://127.0.0.1:{self.hook_port}/'}}]}}]\n"
        )
        with (folder / "log").open("ab") as log:
            self._manager = subprocess.Popen(  # noqa: S603 - our own arguments
                [
                    *alertmanager(),
                    f"--config.file={folder / 'config.yml'}",
                    f"--storage.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._manager_port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )
        super().start()
        wait_for(f"http://127.0.0.1:{self._manager_port}/-/ready")

    def __exit__(self, *told: Any) -> None:
        self._manager.terminate()
        self._manager.wait(30)
        super().__exit__(*told)

    def _rules(self) -> str:
        lines = ["groups:", "- name: bench", "  rules:"]
        for number in range(self.vendors):
            for metric in metrics_of(self.rules, self.vendors):
                which = f'{metric}{{organization_id="{vendor_id(number)}"}}'
                lines += [
                    f"  - alert: trial-{number}- {metric}",
                    f"    expr: '{which} > {LIMIT:g}'",
                    f"    labels: {{severity: critical, trial: trial-{number}-}}",
                ]
        return "\n".join(lines) + "\n"


SERVERS: Final = {"wedsync-apm": OursAlerting, "prometheus": PrometheusAlerting}


def metrics_of(rules: int, vendors: int) -> list[str]:
    """The metrics of one organization, a rule each: that of the trial, and others."""
    return [PROBE, *(f"apm_steady_{n}" for n in range(1, max(1, rules // vendors)))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and writes results/alerting.json; 1 when a webhook of ours is missing."""
    parser = options_of("alerting", __doc__)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--trials", type=int, default=100, help="an organization each")
    parser.add_argument("--rules", type=int, default=1000, help="over all organizations")
    parser.add_argument("--seconds", type=float, default=40.0, help="over which trials spread")
    parser.add_argument("--rounds", type=int, default=1)
    options = parsed(parser, arguments)
    if options.quick:
        options.trials, options.rules, options.seconds = 5, 20, 3.0
    runs: list[Run] = []
    missing: dict[str, str] = {}
    with workplace() as folder:
        for number in range(options.rounds):
            for name in options.servers.split(","):
                if name in missing:
                    continue
                try:
                    run = measure(folder, name, options, number)
                except PeerMissing as exc:
                    if in_ci():
                        raise
                    missing[name] = str(exc)
                    continue
                runs.append(run)
                say(line(run))
    told = facts(vars(options)) | {
        "runs": [asdict(run) for run in runs],
        "versions": {
            name: f"{peer_version('prometheus')} and {peer_version('prometheus-alertmanager')}"
            for name in {run.server for run in runs} & {"prometheus"}
        },
        "what": {name: server.what for name, server in SERVERS.items()},
        "not_measured": missing,
    }
    save("alerting", options.out, told)
    return int(any(run.missing for run in runs if run.server == "wedsync-apm"))


def measure(folder: Path, name: str, options: Any, number: int) -> Run:
    """One server, from its start to the last webhook."""
    chance = random.Random(number)  # noqa: S311 - moments, not secrets
    moments = sorted(chance.uniform(0, options.seconds) for _ in range(options.trials))
    with Webhooks() as hooks:
        server = SERVERS[name](folder, options.trials)
        server.rules, server.hook_port = options.rules, hooks.port
        with server:
            healthy = [
                (vendor, metric, 1.0)
                for metric in metrics_of(options.rules, options.trials)
                for vendor in range(options.trials)
            ]
            write(server, healthy)
            time.sleep(SETTLE_SECONDS)
            acknowledged: dict[int, float] = {}
            took: list[float] = []
            others = [one for one in healthy if one[1] != PROBE]
            with steadily(server, others):
                begun = time.perf_counter()
                for trial, moment in enumerate(moments):
                    time.sleep(max(0.0, begun + moment - time.perf_counter()))
                    before = time.perf_counter()
                    write(server, [(trial, PROBE, BREACH)])
                    acknowledged[trial] = time.perf_counter()
                    took.append(acknowledged[trial] - before)
                end = time.perf_counter() + PATIENCE_SECONDS
                while len(hooks.seen) < options.trials and time.perf_counter() < end:
                    time.sleep(0.05)
            seconds = sorted(
                hooks.seen[n] - at for n, at in acknowledged.items() if n in hooks.seen
            )
    return Run(
        number,
        name,
        options.trials,
        options.trials - len(seconds),
        at_share(seconds, 0.5),
        at_share(seconds, 0.95),
        at_share(seconds, 1),
        at_share(sorted(took), 0.5) * 1000,
    )


@contextmanager
def steadily(server: Server, samples: Sequence[tuple[int, str, float]]) -> Iterator[None]:
    """All other series go on meanwhile, as they would."""
    end = threading.Event()

    def send() -> None:
        while not end.wait(STEADY_EVERY_SECONDS):
            if samples:
                write(server, samples)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def write(server: Server, samples: Sequence[tuple[int, str, float]]) -> None:
    """Samples of now, of vendors' metrics, as one remote write; returns when it is acknowledged."""
    now = int(time.time() * 1000)
    body = b"".join(_series(vendor, metric, value, now) for vendor, metric, value in samples)
    request = urllib.request.Request(  # noqa: S310 - our server
        server.write_url,
        bytes(cramjam.snappy.compress_raw(body)),
        {**HEADERS, **server.headers},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
        answer.read()


def _series(vendor: int, metric: str, value: float, at_ms: int) -> bytes:
    labels = {
        "__name__": metric,
        "organization_id": str(vendor_id(vendor)),
        "service_name": "site",
        "trial": f"trial-{vendor}-",
    }
    named = b"".join(
        _field(1, _field(1, key.encode()) + _field(2, text.encode()))
        for key, text in sorted(labels.items())
    )
    sample = b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at_ms)
    return _field(1, named + _field(2, sample))


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def alertmanager() -> list[str]:
    """The command that starts Alertmanager. Debian's reads its templates in /usr/share, where an
    unpacked package has none: it gets a /usr/share of its own.

    Raises PeerMissing.
    """
    program = find_peer("prometheus-alertmanager")
    template = Path("usr/share/prometheus/alertmanager/default.tmpl")
    if (Path("/") / template).exists():
        return [str(program)]
    unshare, shell = shutil.which("unshare"), shutil.which("sh")
    root = program.parent.parent.parent
    if unshare is None or shell is None or not (root / template).exists():
        raise PeerMissing("Alertmanager's templates are not in /usr/share")
    mount = 'mount --bind "$0" /usr/share && exec "$@"'
    own = [unshare, "--mount", "--map-root-user", shell, "-c", mount, str(root / "usr/share")]
    return [*own, str(program)]


def wait_for(url: str) -> None:
    """Until it answers. Raises RuntimeError when it does not."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        try:
            get(url)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{url} does not answer")


def at_share(ordered: Sequence[float], share: float) -> float:
    """The value below which that share of them lies; NaN of none."""
    if not ordered:
        return float("nan")
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def line(run: Run) -> str:
    """A run for whoever waits."""
    return (
        f"round {run.round + 1} {run.server}: {run.trials - run.missing} of {run.trials}, "
        f"p50 {run.p50:.3f} s, p95 {run.p95:.3f} s, longest {run.longest:.3f} s; "
        f"write acknowledged in {run.acknowledged_ms:.1f} ms"
    )


if __name__ == "__main__":
    raise SystemExit(main())
