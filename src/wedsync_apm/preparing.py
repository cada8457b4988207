"""`python -m wedsync_apm.preparing`: prepares what `up` needs, see `preparation`."""

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wedsync_apm import bootstrap
from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.errors import ConfigurationError, NotValid, WedSyncError
from wedsync_apm.organizations.demo import DemoLogin, save_demo_people
from wedsync_apm.preparation import Place, Prepared, Task
from wedsync_apm.simulate import demo
from wedsync_apm.supervise import follow_supervisor
from wedsync_apm.telemetry import configure_logging


def main() -> None:
    """Hears of the task and of the place, and tells of each step that is done."""
    # What is under way in the database is cancelled there, and taken back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    follow_supervisor()
    try:
        _prepare_and_tell()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)


def _prepare_and_tell() -> None:
    try:
        for done in _prepare():
            _tell(done)
    except WedSyncError as exc:
        is_configuration = isinstance(exc, ConfigurationError | NotValid)
        _tell({"error": exc.detail, "is_configuration": is_configuration})


def _prepare() -> Iterator[dict[str, Any]]:
    if not (line := sys.stdin.readline()):
        return
    task = Task(**json.loads(line))
    configure_logging(task.log_format, task.log_level)
    data_dir = Path(task.data_dir)
    hashes = demo.start_hashing(data_dir) if task.with_demo else None
    try:
        if not (line := sys.stdin.readline()):
            return
        place = Place(**json.loads(line))
        settings = Settings(
            data_dir=data_dir, database_url=place.database_url, direct_url=place.direct_url
        )
        bootstrap.prepare_database(settings)
        engine = role_conninfo(settings, "apm_engine")
        platform = bootstrap.prepare_platform(engine, data_dir, place.url)
        yield {"key": platform.key}
        people: tuple[DemoLogin, ...] = ()
        if task.with_demo:
            people = demo.prepare(engine, data_dir, hashes)
        else:
            save_demo_people(data_dir, ())
        yield asdict(Prepared(people, bootstrap.is_unpeopled(engine)))
    finally:
        if hashes is not None:
            hashes.cancel()


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
