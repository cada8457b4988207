"""`freeze check`: what a pipeline asks before it changes something.

It goes on with exit code 0 alone, so whatever is not a clear "allow" must end with another one:
1 for a clear "no", 2 for wrong usage and for no answer, a defect of ours included.
"""

import asyncio
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, NoReturn
from uuid import UUID

import httpx
import msgspec
import typer

from wedsync_apm.api.freeze import Freeze, freeze_of
from wedsync_apm.clock import EARLIEST, LATEST, is_usable
from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    Progress,
    group,
    print_json,
    reached,
    say,
    settings_for,
)
from wedsync_apm.config import Settings, load_settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import open_pool, wrap_database_errors
from wedsync_apm.errors import ConfigurationError, WedSyncError
from wedsync_apm.runtime import read_runtime
from wedsync_apm.weddings.guard import store
from wedsync_apm.weddings.guard.model import Decision

app = group("The change freeze.")

NO_ANSWER: Final = 2
LARGEST_ANSWER: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. Without `at` about now, without an organization about all weddings."""

    service: str
    at: datetime | None
    organization_id: UUID | None


@app.callback()
def options() -> None:
    """The change freeze."""


@app.command("check")
def check(
    *,
    service: Annotated[str, typer.Option("--service", help="What is to be changed.")],
    at: Annotated[
        str | None,
        typer.Option("--at", help="When, as RFC 3339. Left out: now.", show_default=False),
    ] = None,
    organization: Annotated[
        UUID | None,
        typer.Option("--organization", help="Only its weddings count.", show_default=False),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="The server to ask, with the key in WEDSYNC_APM_API_KEY. [WEDSYNC_APM_PUBLIC_URL]",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=600, help="Seconds to wait for the answer.")
    ] = 10.0,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether a service may be changed; 0 allow, 1 blocked or needs approval, 2 no answer."""
    question = Question(service, _read_at(at), organization)
    if not 1 <= len(service.strip()) <= 200:
        raise ConfigurationError("--service needs a name of 1 to 200 characters.")
    progress = Progress()
    progress.step(f"Asking about {service}")
    try:
        settings = load_settings(data_dir=data_dir, database_url=database_url)
        is_for_server = url is not None or (settings.api_key is not None and database_url is None)
        if is_for_server:
            answer = asyncio.run(_ask_server(question, settings, url, timeout))
        else:
            found = settings_for(data_dir, database_url)
            with reached(found):
                answer = asyncio.run(_ask_database(question, found, timeout))
    except TimeoutError:
        _give_up(f"no answer within {timeout:g} s")
    except WedSyncError as exc:
        _give_up(exc.detail)
    except Exception as exc:  # whatever it is, it is no "allow", and Python itself would say 1
        _give_up(f"{type(exc).__name__}: {exc}")
    finally:
        progress.stop()
    if as_json:
        print_json(msgspec.to_builtins(answer))
    else:
        _tell(answer)
    if answer.decision is not Decision.ALLOW:
        raise SystemExit(1)


async def _ask_server(
    question: Question, settings: Settings, url: str | None, timeout: float
) -> Freeze:
    url = url or settings.public_url or _running_url(settings)
    if settings.api_key is None:
        raise ConfigurationError("A server wants a key: set WEDSYNC_APM_API_KEY or …_FILE.")
    asked = {"service": question.service}
    if question.at is not None:
        asked["at"] = question.at.isoformat()
    if question.organization_id is not None:
        asked["organization_id"] = str(question.organization_id)
    try:
        async with asyncio.timeout(timeout), httpx.AsyncClient(timeout=timeout) as client:
            answer = await client.get(
                f"{url.rstrip('/')}/api/v1/freeze",
                params=asked,
                headers={
                    "authorization": f"Bearer {settings.api_key}",
                    "accept": "application/json",
                },
            )
    except httpx.TimeoutException as exc:
        raise TimeoutError from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise WedSyncError(f"{url} does not answer: {exc}") from exc
    if answer.status_code != 200 or len(answer.content) > LARGEST_ANSWER:
        raise WedSyncError(f"{url} answers {answer.status_code}: {_problem(answer)}")
    try:
        found = msgspec.json.decode(answer.content, type=Freeze)
    except msgspec.MsgspecError as exc:
        raise WedSyncError(f"{url} gives an answer that is none of ours: {exc}") from exc
    if found.service != question.service:
        raise WedSyncError(f"{url} answers about {found.service!r}, which was not asked.")
    if found.organization_id != question.organization_id:
        raise WedSyncError(f"{url} answers about organization {found.organization_id}.")
    return found


async def _ask_database(question: Question, settings: Settings, timeout: float) -> Freeze:
    conninfo = role_conninfo(settings, "apm_engine")
    with wrap_database_errors():
        async with asyncio.timeout(timeout):
            pool = await open_pool(conninfo, name="freeze", min_size=1, max_size=1, wait=True)
            try:
                async with pool.connection() as cx, cx.transaction():
                    answer = await store.ask_freeze(
                        cx, question.service, question.at, question.organization_id
                    )
            finally:
                await pool.close()
    return freeze_of(question.service, question.organization_id, answer)


def _running_url(settings: Settings) -> str:
    runtime = read_runtime(settings.data_dir)
    if runtime is None or not runtime.is_alive:
        raise ConfigurationError(
            f"No server runs on the data folder {settings.data_dir}; give --url, or set "
            "WEDSYNC_APM_PUBLIC_URL."
        )
    return runtime.url


def _problem(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase or "no reason given"


def _read_at(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or not is_usable(at):
        raise ConfigurationError(
            "--at must be RFC 3339 with its offset, like 2026-06-06T14:00:00Z, from "
            f"{EARLIEST.year} to {LATEST.year - 1}."
        )
    return at


def _tell(answer: Freeze) -> None:
    words = {
        Decision.ALLOW: f"allow: {answer.service} may be changed",
        Decision.NEEDS_APPROVAL: f"needs approval: {answer.service} may not be changed as it is",
        Decision.BLOCKED: f"blocked: {answer.service} may not be changed",
    }[answer.decision]
    if answer.organization_name is not None:
        words += f" for {answer.organization_name}"
    say(f"{words}, until {answer.until.isoformat()}" if answer.until else words)
    for reason in answer.reasons:
        say(f"- {reason.decision}: {reason.text}")
        if reason.approval is not None:
            say(f"  lifted by {reason.approval.who}: {reason.approval.why}")
        for wedding in reason.weddings:
            say(f"  {wedding.wedding_date} {wedding.initials or ''} ({wedding.time_zone})")
        if not reason.weddings:
            for one in reason.organizations:
                say(f"  {one.name}: {one.weddings}")


def _give_up(words: str) -> NoReturn:
    sys.stderr.write(f"error: {words}\n")
    raise SystemExit(NO_ANSWER)
