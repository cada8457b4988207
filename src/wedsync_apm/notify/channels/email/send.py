"""Hands one e-mail to the mail server."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

import aiosmtplib

from wedsync_apm.egress import EgressClient, EgressFailed, EgressRefused
from wedsync_apm.notify.channels.email.config import NO_SERVER, EmailTarget
from wedsync_apm.notify.channels.email.render import compose
from wedsync_apm.notify.mail_server import MailServer
from wedsync_apm.notify.message import Message, Tools, failed_call
from wedsync_apm.notify.model import Outcome, Result

GOODBYE_SECONDS: Final = 1.0
FIRST_SECONDS: Final = 7.0
"""How long a server may take where a second one stands by."""
_ENHANCED: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")


async def send(message: Message, target: EmailTarget, tools: Tools, at: datetime) -> Outcome:
    """One attempt, by the second server where the first is in trouble; a mail that both take is
    one by its Message-ID. The server's own words are never passed on: they may quote what was
    sent."""
    servers = [server for server in (tools.mail, tools.second_mail) if server is not None]
    statuses: list[str] = []
    outcome = Outcome(Result.RETRY, NO_SERVER)
    may_have_arrived = False
    for number, server in enumerate(servers, start=1):
        # The promise is about the message and not about the first server.
        patience = min(server.total_seconds, FIRST_SECONDS if number < len(servers) else 60.0)
        outcome, is_servers = await _try(message, server, target, tools.to_named, patience)
        may_have_arrived |= outcome.may_have_arrived
        statuses.append(outcome.provider_status or "no answer")
        if not is_servers:
            break
    if len(statuses) > 1:
        words = "; ".join(
            f"{name}: {status}" for name, status in zip(("first", "second"), statuses, strict=False)
        )
        outcome = replace(outcome, provider_status=words)
    if outcome.result is not Result.SENT:
        outcome = replace(outcome, may_have_arrived=may_have_arrived)
    return outcome


async def _try(
    message: Message,
    server: MailServer,
    target: EmailTarget,
    egress: EgressClient,
    patience_seconds: float,
) -> tuple[Outcome, bool]:
    """What one server says, and whether its trouble is its own, which another need not have."""
    mail = compose(message, server.sender, server.domain, target.address)
    is_greeted, answer = False, None
    try:
        async with asyncio.timeout(patience_seconds), _session(server, egress) as client:
            is_greeted = True
            _, answer = await client.send_message(mail)
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=GOODBYE_SECONDS)
    except (
        EgressRefused,
        EgressFailed,
        aiosmtplib.SMTPException,
        TimeoutError,
        OSError,
        ValueError,
    ) as exc:
        # After the server's yes the mail is the server's: whatever follows changes nothing.
        if answer is None:
            is_servers = not isinstance(
                exc, aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPDataError
            )
            return _judge(exc, server, is_greeted), is_servers
    outcome = Outcome(
        Result.SENT,
        "the mail server has taken it",
        provider_id=mail["Message-ID"],
        provider_status=f"SMTP 250 {_enhanced(answer or '')}".strip(),
    )
    return outcome, False


@asynccontextmanager
async def _session(server: MailServer, egress: EgressClient) -> AsyncIterator[aiosmtplib.SMTP]:
    """A greeted, and where it has to be authenticated, connection to a checked address."""
    socket = await egress.connect(server.host, server.port)
    client = _client(server)
    # From here on the socket belongs to asyncio. To close it underneath would leave its number in
    # the event loop, and break the next connection that gets the same one.
    await client.connect(sock=socket, port=None)
    try:
        yield client
    finally:
        transport = client.transport
        client.close()
        if isinstance(transport, asyncio.Transport):
            transport.abort()  # closing TLS politely would wait for the other side


def _client(server: MailServer) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=server.host,
        username=server.username,
        password=server.password,
        # Named here, else it is looked up, which blocks the whole process.
        local_hostname=server.domain,
        timeout=server.total_seconds,
        use_tls=server.security == "tls",
        start_tls={"tls": False, "starttls": True, "if offered": None}[server.security],
        # Where TLS is only taken if offered, whoever could fake a certificate could as well take
        # the offer away; a certificate that nobody signed is still better than none.
        validate_certs=server.security != "if offered",
        tls_context=server.tls,
    )


def _judge(error: Exception, server: MailServer, is_greeted: bool) -> Outcome:
    match error:
        case EgressRefused():
            outcome = Outcome(Result.FAILED, error.reason)
        case EgressFailed():
            outcome = failed_call(error)
        case aiosmtplib.SMTPRecipientsRefused():
            refused = error.recipients[0]
            outcome = _refused(refused.code, refused.message, "the address")
        case (
            aiosmtplib.SMTPAuthenticationError()
            | aiosmtplib.SMTPSenderRefused()
            | aiosmtplib.SMTPConnectResponseError()
            | aiosmtplib.SMTPHeloError()
        ):
            # Our own set-up is wrong, not the message: once that is mended, it goes out.
            outcome = Outcome(
                Result.RETRY,
                f"the mail server does not accept us as the sender ({error.code})",
                provider_status=f"SMTP {error.code}",
            )
        # A code below 400 is no code: the answer could not be read.
        case aiosmtplib.SMTPResponseException() if error.code >= 400:
            outcome = _refused(error.code, error.message, "the message")
        case _:
            outcome = Outcome(
                Result.RETRY,
                f"{server.host} {_trouble(error)}",
                provider_status="no answer",
                may_have_arrived=is_greeted,
            )
    return outcome


def _refused(code: int, answer: str, what: str) -> Outcome:
    status = f"SMTP {code} {_enhanced(answer)}".strip()
    if 400 <= code < 500:
        return Outcome(
            Result.RETRY, f"the mail server does not take {what} now", provider_status=status
        )
    return Outcome(Result.FAILED, f"the mail server refuses {what}", provider_status=status)


def _enhanced(answer: str) -> str:
    match = _ENHANCED.match(answer)
    return match[0] if match else ""


def _trouble(error: BaseException) -> str:
    if isinstance(error, aiosmtplib.SMTPTimeoutError | TimeoutError):
        return "did not finish in time"
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return "has no valid TLS"
    if isinstance(error, aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPConnectError | OSError):
        return "broke the connection off"
    return "does not answer in proper SMTP"
