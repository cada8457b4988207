"""`serve` and `work`: what `up` starts, and what an installation with its own supervisor starts."""

import asyncio
import os
from dataclasses import replace

from wedsync_apm import __version__
from wedsync_apm.addresses import free_port, require_free_port
from wedsync_apm.commands.common import DatabaseUrl, DataDir, Host, Port, settings_for
from wedsync_apm.config import Settings
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.runtime import Runtime, read_runtime, remove_runtime, write_runtime
from wedsync_apm.supervise import SUPERVISOR, ask_for_end, await_go, follow_supervisor
from wedsync_apm.telemetry import configure_logging


def serve_pages(
    *,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Run the API and the pages."""
    settings = settings_for(data_dir, database_url)
    if settings.serve_processes == 1:
        follow_supervisor()
    else:
        ask_for_end()
    settings = replace(
        settings,
        host=host or settings.host,
        port=settings.port if port is None else port,
    )
    configure_logging(settings.log_format)
    from wedsync_apm.serving import serve  # noqa: PLC0415 - costs a second that no other command needs

    await_go()
    if os.environ.get(SUPERVISOR):
        serve(settings)
        return
    _refuse_missing_secrets(settings)
    settings = replace(settings, port=settings.port or free_port(settings.host))
    require_free_port(settings.host, settings.port)
    runtime = Runtime(
        settings.local_url,
        settings.database_url or "",
        str(settings.data_dir),
        {"serve": os.getpid()},
        __version__,
    )
    others = read_runtime(settings.data_dir)
    is_ours = others is None or not others.is_alive
    if is_ours:
        write_runtime(settings.data_dir, runtime)
    try:
        serve(settings)
    finally:
        if is_ours:
            remove_runtime(settings.data_dir)


def run_engine_only(*, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Run the engine: rollups, rules, checks, escalation, delivery."""
    follow_supervisor()
    settings = settings_for(data_dir, database_url)
    configure_logging(settings.log_format)
    if not os.environ.get(SUPERVISOR):
        _refuse_missing_secrets(settings)
    from wedsync_apm.engine.run import run_engine  # noqa: PLC0415 - as above
    from wedsync_apm.web.build.sheets import build_sheet  # noqa: PLC0415 - as above

    await_go()
    asyncio.run(run_engine(settings, build_sheet))


def _refuse_missing_secrets(settings: Settings) -> None:
    """On a database that `up` did not prepare here, secrets must be given, not made up."""
    if not (settings.data_dir / "secrets.json").exists():
        raise ConfigurationError(
            f"The data folder {settings.data_dir} holds no secrets for this database. Use the "
            "folder of the installation (--data-dir), or prepare a new one with "
            "`wedsync-apm up --database-url …` once."
        )
