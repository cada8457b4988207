"""`up`: from a data folder to a product that answers, and back.

1. One supervisor holds the data folder. 2. The embedded database starts, or the named one is used.
3. `serve` and `work` load their code while a third process brings schema and passwords up to date
and furnishes the platform's own organization. 4. They begin, and it prepares the demo and ends.
5. When the page answers, the address is told, self-watch begins and the demo's traffic flows.
6. Everything is watched until somebody asks to stop; then it ends in reverse.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Final

from wedsync_apm import __version__
from wedsync_apm.addresses import answers, free_port, is_loopback, require_free_port
from wedsync_apm.config import PREFIX, Settings
from wedsync_apm.db.embedded import EmbeddedPostgres
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.preparation import Place, Preparation, Prepared, Task
from wedsync_apm.runtime import Runtime, remove_runtime, require_restored, write_runtime
from wedsync_apm.selfwatch.watcher import SelfWatch
from wedsync_apm.supervise import Guard, Program, Supervisor, only_one
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
        self.preparation: Preparation | None = None

    @property
    def url(self) -> str:
        """Where this machine reaches the pages."""
        return self.settings.local_url

    def start(self) -> None:
        """Everything up to the moment at which the page answers."""
        data_dir = self.settings.data_dir
        level = logging.INFO if self.options.show_logs else logging.WARNING
        self.preparation = Preparation(
            Task(str(data_dir), self.options.with_demo, self.settings.log_format, level)
        )
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
        settings = self.settings
        key = self.preparation.prepare_platform(
            Place(settings.database_url or "", settings.direct_url, self.url)
        )
        for process in processes:
            process.let_go()
        self.step("Starting API, pages and engine")
        prepared = self.preparation.prepare_people()
        self.supervisor.wait_until(
            lambda: answers(self.url), seconds=READY_SECONDS, patience=f"The page at {self.url}"
        )
        self.is_ready = True
        self.write_runtime()
        self.tell(prepared)
        self.selfwatch = SelfWatch(
            url=self.url,
            key=key,
            conninfo=role_conninfo(settings, "apm_engine"),
            data_dir=data_dir,
            pids=self.pids,
        )
        self.selfwatch.start()
        if self.postgres is not None and settings.backup_to:
            self.supervisor.start(self.child("archive", ["backup", "archive"], None))
        if self.options.with_demo:
            arguments = ["simulate", *self.options.simulate_arguments]
            self.supervisor.start(self.child("simulate", arguments, "apm_engine"))

    def start_database(self) -> None:
        """The embedded server, unless the settings name another."""
        if self.settings.database_url is not None:
            return
        settings = self.settings
        require_restored(settings.data_dir)
        options = {}
        if settings.shared_buffers_mb is not None:
            options["shared_buffers"] = f"{settings.shared_buffers_mb}MB"
        self.postgres = EmbeddedPostgres(settings.data_dir, pg_bin=settings.pg_bin, options=options)
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

    def child(self, role: str, arguments: Sequence[str], login: str | None) -> Program:
        """One of our processes, which enters the database with its own login only; without one it
        is as the owner: only he may copy the whole server."""
        settings = self.settings
        environment = {
            "DATABASE_URL": role_conninfo(settings, login)
            if login
            else settings.database_url or "",
            "DIRECT_URL": role_conninfo(settings, login, direct=True) if login else "",
            "DATA_DIR": str(settings.data_dir),
            "HOST": settings.host,
            "PORT": str(settings.port),
            "EGRESS_ALLOW": ",".join(settings.egress_allow),
        }
        log_path = None if self.options.show_logs else settings.data_dir / f"{role}.log"
        return Program(
            role=role,
            arguments=arguments,
            environment={f"{PREFIX}{name}": value for name, value in environment.items()},
            log_path=log_path,
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

    def tell(self, prepared: Prepared) -> None:
        """What a newcomer needs to know."""
        took = time.monotonic() - self.started_at
        self.say(
            f"\nWedSync APM answers on {self.settings.public_url or self.url} after {took:.1f} s."
        )
        if people := prepared.people:
            self.say("Simulated businesses, couples and figures. Demo logins:")
            width = max(len(person.email) for person in people)
            for person in people:
                self.say(f"  {person.email:{width}}  {person.password}  {person.note}")
        elif prepared.is_unpeopled:
            self.say(
                "Nobody can sign in yet. The first operator: wedsync-apm operator create "
                f"--email you@example.org --role oncall --data-dir {self.settings.data_dir}"
            )
        self.say(f"Logs and data: {self.settings.data_dir}. Ctrl-C stops everything.\n")

    def hurry(self) -> None:
        """The second request to stop: the database, too, stops at once and recovers later."""
        if self.preparation is not None:
            self.preparation.kill()
        if self.postgres is not None and (pid := self.postgres.pid) is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGQUIT)

    def stop(self) -> None:
        """Everything, in reverse."""
        self.is_ready = False
        if self.preparation is not None:
            self.preparation.stop()
        if self.selfwatch is not None:
            self.selfwatch.stop()
        self.supervisor.stop_all()
        self.guard.release()
        if self.postgres is not None:
            self.postgres.stop()
        remove_runtime(self.settings.data_dir)
