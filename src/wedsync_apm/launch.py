"""`up`: from a data folder to a product that answers, and back.

1. One supervisor holds the data folder. 2. The embedded database starts, or the named one is used.
3. `serve` and `work` load their code while schema and passwords are brought up to date and the
platform's own organization is furnished. 4. They begin, and the demo is prepared. 5. When the page
answers, the address is told, self-watch begins and the demo's traffic flows. 6. Everything is
watched until somebody asks to stop; then it ends in reverse.
"""

import http.client
import ipaddress
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from wedsync_apm import __version__, bootstrap
from wedsync_apm.config import PREFIX, Settings
from wedsync_apm.db.embedded import EmbeddedPostgres
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.organizations.demo import save_demo_people
from wedsync_apm.runtime import Runtime, remove_runtime, write_runtime
from wedsync_apm.selfwatch.watcher import SelfWatch
from wedsync_apm.simulate import demo
from wedsync_apm.supervise import Child, Guard, Supervisor, only_one
from wedsync_apm.telemetry import get_logger

log = get_logger(__name__)

READY_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `up` was asked for."""

    settings: Settings
    with_demo: bool = False
    demo_on_network: bool = False
    simulate_arguments: Sequence[str] = ()
    show_logs: bool = False


Tell = Callable[[str], None]


def up(options: UpOptions, say: Tell, step: Tell = lambda text: None) -> None:
    """Runs everything until SIGINT or SIGTERM; `say` tells what stays, `step` what is being done.

    Raises ConfigurationError for what the operator must change, ChildFailed when a process does
    not come up; in either case nothing is left running.
    """
    settings = options.settings
    if options.with_demo and not options.demo_on_network and not is_loopback(settings.host):
        raise ConfigurationError(
            f"The demo's logins are for this machine, and --host {settings.host} would show them "
            "to the network. Use 127.0.0.1, or add --demo-on-network if that is what you want."
        )
    with ExitStack() as stack:
        stack.enter_context(only_one(settings.data_dir))
        settings = replace(settings, port=settings.port or free_port(settings.host))
        require_free_port(settings.host, settings.port)
        run = _Run(replace(options, settings=settings), say, step)
        stack.enter_context(run.supervisor.signals())
        try:
            with run.supervisor.interruptible():
                run.start()
            run.supervisor.watch(run.look_after_database)
            say("Stopping.")
        except KeyboardInterrupt:
            say("Stopping before the start was through.")
        finally:
            run.stop()


class _Run:
    """One life of `up`."""

    def __init__(self, options: UpOptions, say: Tell, step: Tell) -> None:
        self.options, self.say, self.step = options, say, step
        self.settings = options.settings
        self.started_at = time.monotonic()
        self.supervisor = Supervisor(say, self.write_runtime, self.hurry)
        self.guard = Guard()
        self.postgres: EmbeddedPostgres | None = None
        self.selfwatch: SelfWatch | None = None
        self.is_ready = False
        self.passwords: demo.Hashes | None = None

    @property
    def url(self) -> str:
        """Where this machine reaches the pages."""
        return local_url(self.settings)

    def start(self) -> None:
        """Everything up to the moment at which the page answers."""
        if self.options.with_demo:
            self.passwords = demo.start_hashing(self.settings.data_dir)
        self.step("Starting the database")
        self.start_database()
        self.step("Bringing the schema up to date")
        # Loading their code takes them as long as the schema takes us, on another processor.
        processes = (
            self.child("serve", ["serve"], "apm_api"),
            self.child("work", ["work"], "apm_engine"),
        )
        for process in processes:
            process.is_held = True
            self.supervisor.start(process)
        bootstrap.prepare_database(self.settings)
        engine = role_conninfo(self.settings, "apm_engine")
        platform = bootstrap.prepare_platform(engine, self.settings.data_dir, self.url)
        for process in processes:
            process.let_go()
        self.step("Starting API, pages and engine")
        people: tuple[demo.DemoLogin, ...] = ()
        if self.options.with_demo:
            people = demo.prepare(engine, self.settings.data_dir, self.passwords)
        else:
            save_demo_people(self.settings.data_dir, ())
        self.supervisor.wait_until(
            lambda: answers(self.url), seconds=READY_SECONDS, patience=f"The page at {self.url}"
        )
        self.is_ready = True
        self.write_runtime()
        self.tell(people)
        self.selfwatch = SelfWatch(
            url=self.url,
            key=platform.key,
            conninfo=engine,
            data_dir=self.settings.data_dir,
            pids=self.pids,
        )
        self.selfwatch.start()
        if self.options.with_demo:
            arguments = ["simulate", *self.options.simulate_arguments]
            self.supervisor.start(self.child("simulate", arguments, "apm_engine"))

    def start_database(self) -> None:
        """The embedded server, unless the settings name another."""
        if self.settings.database_url is not None:
            return
        self.postgres = EmbeddedPostgres(self.settings.data_dir, pg_bin=self.settings.pg_bin)
        self.postgres.start()
        self.settings = replace(self.settings, database_url=self.postgres.conninfo())
        self.watch_database()

    def watch_database(self) -> None:
        """Lets the guard know the server's process."""
        if self.postgres is not None and self.postgres.pid is not None:
            self.guard.watch(self.postgres.pid)

    def look_after_database(self) -> None:
        """Starts a server again that ended by itself."""
        if self.postgres is None or self.postgres.poll() is None:
            return
        self.say(f"PostgreSQL ended with {self.postgres.poll()}; starting it again")
        with self.supervisor.interruptible():
            self.postgres.stop()
            self.postgres.start()
        self.watch_database()
        self.write_runtime()

    def child(self, role: str, arguments: Sequence[str], login: str) -> Child:
        """One of our processes, which enters the database with its own login only."""
        settings = self.settings
        environment = {
            "DATABASE_URL": role_conninfo(settings, login),
            "DIRECT_URL": role_conninfo(settings, login, direct=True),
            "DATA_DIR": str(settings.data_dir),
            "HOST": settings.host,
            "PORT": str(settings.port),
            "EGRESS_ALLOW": ",".join(settings.egress_allow),
        }
        log_path = None if self.options.show_logs else settings.data_dir / f"{role}.log"
        return Child(
            role,
            arguments,
            {f"{PREFIX}{name}": value for name, value in environment.items()},
            log_path,
        )

    def pids(self) -> Mapping[str, int]:
        """Every process of this life by its role."""
        found = {"up": os.getpid(), "guard": self.guard.pid}
        if self.postgres is not None:
            found["postgres"] = self.postgres.pid
        found |= {child.role: child.pid for child in self.supervisor.children}
        return {role: pid for role, pid in found.items() if pid is not None}

    def write_runtime(self) -> None:
        """For scripts; only once the page has answered, so that what stands there is usable."""
        if not self.is_ready:
            return
        database_url = self.settings.database_url or ""
        if self.postgres is not None:
            # Over TCP: whoever may read this file may not be let into the socket's folder.
            database_url = self.postgres.conninfo(tcp=True)
        write_runtime(
            self.settings.data_dir,
            Runtime(self.url, database_url, str(self.settings.data_dir), self.pids(), __version__),
        )

    def tell(self, people: Sequence[demo.DemoLogin]) -> None:
        """What a newcomer needs to know."""
        took = time.monotonic() - self.started_at
        self.say(
            f"\nWedSync APM answers on {self.settings.public_url or self.url} after {took:.1f} s."
        )
        if people:
            self.say("Simulated businesses, couples and figures. Demo logins:")
            width = max(len(person.email) for person in people)
            for person in people:
                self.say(f"  {person.email:{width}}  {person.password}  {person.note}")
        elif bootstrap.is_unpeopled(role_conninfo(self.settings, "apm_engine")):
            self.say(
                "Nobody can sign in yet. The first operator: wedsync-apm operator create "
                f"--email you@example.org --role oncall --data-dir {self.settings.data_dir}"
            )
        self.say(f"Logs and data: {self.settings.data_dir}. Ctrl-C stops everything.\n")

    def hurry(self) -> None:
        """The second request to stop: the database, too, stops at once and recovers later."""
        if self.postgres is not None and (pid := self.postgres.pid) is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGQUIT)

    def stop(self) -> None:
        """Everything, in reverse."""
        self.is_ready = False
        if self.passwords is not None:
            self.passwords.cancel()
        if self.selfwatch is not None:
            self.selfwatch.stop()
        self.supervisor.stop_all()
        self.guard.release()
        if self.postgres is not None:
            self.postgres.stop()
        remove_runtime(self.settings.data_dir)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def local_url(settings: Settings) -> str:
    """The pages as this machine reaches them."""
    return settings.local_url


def free_port(host: str) -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_free_port(host: str, port: int) -> None:
    """Raises ConfigurationError when somebody listens on it, or it may not be taken."""
    try:
        with socket.socket(_family(host)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as exc:
        raise ConfigurationError(
            f"Cannot listen on {host} port {port}: {exc.strerror or exc}. "
            "Choose another with --port (0 takes a free one), or stop what listens there."
        ) from exc


def answers(url: str) -> bool:
    """Whether the page is there; any answer below 500 is one."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Accept": "text/html"})
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
