"""A provider of Twilio's kind on its worst day, written from its documentation alone.

It takes texts and calls over a real socket, keeps what it took, lists it, and tells of it in forms
that it signs: in whatever order, as often, and as early or late as the test says.
"""

import asyncio
import base64
import hmac
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import httpx

from tests.support.worst_day import Seen, _read

AUTH_TOKEN = "7d8f0a2b4c6e"
PRIYA = "+447700900123"
OURS = "+447700900000"


@dataclass(slots=True)
class WorstPhone:
    """`moods` are what it does with the next orders, `list_moods` with the next look-ups; without
    one it takes them. A mood is a word of `_MOODS`, an HTTP status, or an error code with its
    status, as in `400/21211`."""

    account_sid: str
    port: int = 0
    moods: deque[str] = field(default_factory=deque)
    list_moods: deque[str] = field(default_factory=deque)
    taken: list[dict[str, Any]] = field(default_factory=list)
    """What it took, oldest first: the API's fields and what was ordered, as `ordered`."""
    seen: list[Seen] = field(default_factory=list)
    api_url: str = ""
    """Where it reaches us, whatever the address in an order says: what a proxy does."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def orders(self) -> list[dict[str, str]]:
        """What came with POST, as it came."""
        return [
            dict(parse_qsl(one.body.decode(), keep_blank_values=True))
            for one in self.seen
            if one.method == "POST"
        ]

    def sign(self, url: str, form: dict[str, str]) -> str:
        """X-Twilio-Signature, after "Security: validating requests"."""
        text = url + "".join(name + form[name] for name in sorted(form))
        digest = hmac.new(AUTH_TOKEN.encode(), text.encode(), "sha1").digest()
        return base64.b64encode(digest).decode()

    def called(self, sid: str, *, at: datetime | None = None, sender: str = OURS) -> None:
        """A call to Priya that it has begun, and told nobody of."""
        one = {"sid": sid, "to": PRIYA, "from": sender, "status": "in-progress", "ordered": {}}
        one |= {"direction": "outbound-api", "date_created": format_datetime(at or self.clock())}
        self.taken.append(one)

    async def post(self, url: str, form: dict[str, str], **headers: str) -> httpx.Response:
        """One signed form to an address of ours."""
        sent = {"X-Twilio-Signature": self.sign(url, form)} | headers
        path = url.removeprefix("{0.scheme}://{0.netloc}".format(urlsplit(url)))
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.post(self.api_url + path, data=form, headers=sent)

    async def tell(self, one: dict[str, Any], status: str, **more: str) -> httpx.Response:
        """A status callback of a text or a call that it took."""
        is_call = one["sid"].startswith("CA")
        noun = "Call" if is_call else "Message"
        form = {
            f"{noun}Sid": one["sid"],
            f"{noun}Status": status,
            "AccountSid": self.account_sid,
            "To": one["to"],
            "From": one["from"] or "",
            **more,
        }
        return await self.post(one["ordered"]["StatusCallback"], form)

    async def fetch(self, one: dict[str, Any], **more: str) -> httpx.Response:
        """What a call says, asked for when somebody has picked up."""
        form = {"CallSid": one["sid"], "AccountSid": self.account_sid, "To": one["to"], **more}
        return await self.post(one["ordered"]["Url"], form)


@asynccontextmanager
async def worst_phone(account_sid: str = "AC0001") -> AsyncIterator[WorstPhone]:
    """The provider for as long as the block runs."""
    phone = WorstPhone(account_sid)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                seen = await _read(reader)
                phone.seen.append(seen)
                if seen.method == "POST":
                    await _take(phone, seen, writer)
                else:
                    await _list(phone, seen, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    phone.port = server.sockets[0].getsockname()[1]
    try:
        yield phone
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take(phone: WorstPhone, seen: Seen, writer: asyncio.StreamWriter) -> None:
    mood = phone.moods.popleft() if phone.moods else "take"
    if not _is_ours(phone, seen):
        mood = "401/20003"
    match mood.split("/"):
        case ["take"]:
            await _answer(writer, 201, _keep(phone, seen))
        case ["cut"]:
            # It is taken, and the line breaks before the answer.
            _keep(phone, seen)
            writer.transport.abort()
        case ["stall"]:
            await asyncio.sleep(60)
        case ["take", "stall"]:
            _keep(phone, seen)
            await asyncio.sleep(60)
        case ["tell first", status]:
            one = _keep(phone, seen)
            answer = await phone.tell(one, status)
            assert answer.status_code == 200, answer.text
            await _answer(writer, 201, one)
        case ["inside", code]:
            one = _keep(phone, seen) | {"status": "failed", "error_code": int(code)}
            await _answer(writer, 201, one)
        case ["page"]:
            await _answer(writer, 200, None, body=b"<html>Sign in to the hotel's network</html>")
        case ["429"]:
            await _answer(writer, 429, {"code": 20429, "status": 429}, "Retry-After: 7\r\n")
        case [status, code]:
            said = {"code": int(code), "message": "SECRET WORDS", "status": int(status)}
            await _answer(writer, int(status), said)
        case [status]:
            await _answer(writer, int(status), None, body=b"upstream connect error")


async def _list(phone: WorstPhone, seen: Seen, writer: asyncio.StreamWriter) -> None:
    mood = phone.list_moods.popleft() if phone.list_moods else "list"
    if mood == "stall":
        await asyncio.sleep(60)
    if mood != "list":
        await _answer(writer, int(mood), None, body=b"upstream connect error")
        return
    if not _is_ours(phone, seen):
        await _answer(writer, 401, {"code": 20003, "status": 401})
        return
    parts = urlsplit(seen.path)
    query = dict(parse_qsl(parts.query))
    noun = "calls" if parts.path.endswith("/Calls.json") else "messages"
    kept = [
        {name: value for name, value in one.items() if name != "ordered"}
        for one in reversed(phone.taken)
        if one["to"] == query["To"] and one["sid"].startswith("CA") == (noun == "calls")
    ]
    await _answer(writer, 200, {noun: kept[: int(query["PageSize"])], "page": 0})


def _is_ours(phone: WorstPhone, seen: Seen) -> bool:
    expected = base64.b64encode(f"{phone.account_sid}:{AUTH_TOKEN}".encode()).decode()
    return seen.headers.get("authorization") == f"Basic {expected}" and seen.path.startswith(
        f"/2010-04-01/Accounts/{phone.account_sid}/"
    )


def _keep(phone: WorstPhone, seen: Seen) -> dict[str, Any]:
    form = dict(parse_qsl(seen.body.decode(), keep_blank_values=True))
    is_call = seen.path.endswith("/Calls.json")
    one = {
        "sid": ("CA" if is_call else "SM") + uuid4().hex,
        "account_sid": phone.account_sid,
        "to": form["To"],
        "from": form.get("From"),
        "status": "queued",
        "error_code": None,
        "direction": "outbound-api",
        "date_created": format_datetime(phone.clock()),
        "ordered": form,
    }
    if not is_call:
        one["body"] = form["Body"]
    phone.taken.append(one)
    return one


async def _answer(
    writer: asyncio.StreamWriter,
    status: int,
    said: dict[str, Any] | None,
    extra: str = "",
    *,
    body: bytes = b"",
) -> None:
    if said is not None:
        body = json.dumps({k: v for k, v in said.items() if k != "ordered"}).encode()
    head = f"HTTP/1.1 {status} x\r\n{extra}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
