"""Apprise's services on their worst day, and the process that writes for them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psutil
import pytest

from tests.support import apprise_replay
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.egress import Answer, EgressClient, EgressPolicy
from wedsync_apm.egress.client import Method
from wedsync_apm.notify.channels import apprise
from wedsync_apm.notify.channels.apprise import child, penman
from wedsync_apm.notify.channels.apprise.services import LISTED
from wedsync_apm.notify.message import Message, Tools
from wedsync_apm.notify.model import Kind, Outcome, Result

AT = datetime.now(UTC)
SECRET = "T0P5ECRETPATH"
MESSAGE = Message(
    delivery_id=UUID("0190a000-0000-7000-8000-000000000001"),
    incident_id=UUID("0190a000-0000-7000-8000-000000000002"),
    kind=Kind.PAGE,
    subject="Your order form is slow",
    body="Your order form is slow.\nNobody has it yet.\nI'm on it: http://here.example/ack/abc\n",
    created_at=AT,
    base_url="http://here.example",
)


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with much to do a process takes its time."""
    monkeypatch.setattr(penman, "LONGEST_SECONDS", 60.0)
    monkeypatch.setattr(penman, "CALL_SECONDS", 30.0)


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    async with aclosing(EgressClient(EgressPolicy.parse(["127.0.0.1"]))) as client:
        yield Tools(client)


async def send(tools: Tools, url: str, message: Message = MESSAGE) -> Outcome:
    outcome = await apprise.send(message, apprise.configure("", url), tools, AT)
    assert SECRET not in repr(outcome)
    return outcome


def own(day: WorstDay, path: str) -> str:
    return day.url(f"{path}/{SECRET}").replace("http://", "json://", 1)


async def test_a_message_is_written_by_apprise_and_sent_by_us(day: WorstDay, tools: Tools) -> None:
    outcome = await send(tools, own(day, "/ok"))
    assert (outcome.result, outcome.provider_status) == (Result.SENT, "HTTP 200")
    assert outcome.provider_id is None
    [seen] = day.requests
    said = json.loads(seen.body)
    assert (said["title"], said["type"]) == (MESSAGE.subject, "failure")
    assert said["message"].splitlines()[-1] == "I'm on it: http://here.example/ack/abc"
    over = await send(tools, own(day, "/ok"), replace(MESSAGE, kind=Kind.RESOLVED))
    assert over.result is Result.SENT
    assert json.loads(day.requests[1].body)["type"] == "success"


@pytest.mark.parametrize(
    ("path", "result", "arrived", "wait"),
    [
        ("/status/429/7", Result.RETRY, False, 7.0),
        ("/status/500", Result.RETRY, False, None),
        ("/status/404", Result.FAILED, False, None),
        ("/reset", Result.RETRY, True, None),
        ("/garbage", Result.RETRY, True, None),
        ("/huge", Result.SENT, False, None),
        ("/redirect/1", Result.FAILED, False, None),
    ],
)
async def test_a_service_on_its_worst_day(  # noqa: PLR0917
    path: str, result: Result, arrived: bool, wait: float | None, day: WorstDay, tools: Tools
) -> None:
    outcome = await send(tools, own(day, path))
    assert (outcome.result, outcome.may_have_arrived) == (result, arrived), outcome
    assert outcome.retry_after_seconds == wait
    assert len(day.requests) == 1, "no redirect is followed, and nothing is tried twice"


async def test_a_slow_service_is_not_waited_for(
    day: WorstDay, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(penman, "CALL_SECONDS", 1.0)
    outcome = await send(tools, own(day, "/slow-head"))
    assert (outcome.result, outcome.may_have_arrived) == (Result.RETRY, True)
    assert "did not answer within 1 s" in outcome.reason


async def test_a_redirect_into_private_space_leads_nowhere(day: WorstDay) -> None:
    async with worst_day() as inside:
        policy = EgressPolicy.parse([f"127.0.0.1:{day.port}"])
        async with aclosing(EgressClient(policy)) as client:
            url = day.url(f"/to/{SECRET}?{inside.url('/ok')}").replace("http", "json", 1)
            outcome = await send(Tools(client), url)
        assert outcome.result is Result.FAILED
        assert (len(day.requests), inside.connections) == (1, 0)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "0x7f.1", "10.0.0.1", "1.1.1.1:22"],
)
async def test_an_address_within_is_refused(host: str) -> None:
    async with aclosing(EgressClient(EgressPolicy())) as client:
        outcome = await send(Tools(client), f"json://{host}/{SECRET}")
    assert outcome.result is Result.FAILED, outcome


async def test_a_name_that_rebinds_is_looked_up_once_and_then_refused(day: WorstDay) -> None:
    answers = ["127.0.0.2", "10.0.0.1"]

    async def resolve(host: str, port: int) -> list[Any]:
        return [ip_address(answers.pop(0))]

    # 127.0.0.2 stands for the good address of the first look.
    policy = EgressPolicy.parse(["127.0.0.2"])
    async with aclosing(EgressClient(policy, resolve=resolve)) as client:
        server = await asyncio.start_server(answer_empty, "127.0.0.2", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            first = await send(Tools(client), f"json://rebinds.example:{port}/{SECRET}")
            second = await send(Tools(client), f"json://rebinds.example:{port}/{SECRET}")
    assert (first.result, second.result) == (Result.SENT, Result.FAILED)
    assert "private" in second.reason


async def answer_empty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


class Detour(EgressClient):
    """Makes calls to services of the world at a server of ours instead; remembers where to."""

    def __init__(self, day: WorstDay, says: str) -> None:
        super().__init__(EgressPolicy.parse(["127.0.0.1"]))
        self.day, self.says, self.asked = day, says, [""]
        self.asked.clear()

    async def request(self, method: Method, url: str, **options: Any) -> Answer:
        self.asked.append(f"{method} {url}")
        return await super().request(method, self.day.url(self.says), **options)


FAMILIES: Mapping[str, tuple[str, str]] = {
    # what people give, and the host that it comes to
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": ("discord.com", "/status/204"),
    "tgram://123456789:abcdefg_hijklmnop/12315544/": ("api.telegram.org", '/says/200/{"ok":true}'),
    "workflows://prod.example:443/643a/643a": ("prod.example", "/status/202"),
    "gchat://workspace/key/token": ("chat.googleapis.com", "/says/200/{}"),
    "pover://" + "u" * 30 + "@" + "a" * 30: ("api.pushover.net", '/says/200/{"status":1}'),
    "ntfy://topic": ("ntfy.sh", '/says/200/{"id":"x"}'),
    "mmost://chat.example/3ccdd113474722377935511fc85d3dd4": ("chat.example", "/says/200/ok"),
    "gotifys://push.example/A-token1234567": ("push.example", "/says/200/{}"),
    "pbul://" + "a" * 32: ("api.pushbullet.com", "/says/200/{}"),
    "rockets://webhook/a" + "b" * 16 + "@chat.example/#general": ("chat.example", "/says/200/{}"),
    "form://form.example/path": ("form.example", "/status/200"),
    "zulip://bot@org/" + "a" * 32 + "/stream": ("org.zulipchat.com", "/says/200/{}"),
}


@pytest.mark.parametrize("url", FAMILIES, ids=lambda url: str(url).partition(":")[0])
async def test_a_familys_message_goes_to_its_service_in_one_call(url: str, day: WorstDay) -> None:
    host, says = FAMILIES[url]
    async with aclosing(Detour(day, says)) as client:
        outcome = await send(Tools(client), url)
    assert outcome.result is Result.SENT, (outcome, client.asked)
    [asked] = client.asked
    assert urlsplit(asked.partition(" ")[2]).hostname == host
    [seen] = day.requests
    whole = seen.body.decode() + repr(seen.headers)
    assert "order form is slow" in whole.replace("+", " ").replace("%20", " ")
    assert "here.example" in whole


async def test_an_error_inside_a_200_is_read_where_the_service_has_one(day: WorstDay) -> None:
    async with aclosing(Detour(day, "/says/200/{}")) as client:
        outcome = await send(Tools(client), "tgram://123456789:abcdefg_hijklmnop/")
    # No chat is named, and Telegram knows of none: no message went out, whatever the status.
    assert outcome.result is not Result.SENT


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("discord://1234", "cannot read it as an address of Discord"),
        ("tgram://123456789:abcdefg_hijklmnop/1234567/7654321/", "names 2 receivers"),
        ("pover://short", "cannot read it as an address of Pushover"),
    ],
)
async def test_what_the_library_cannot_use_ends_with_words(
    url: str, reason: str, day: WorstDay
) -> None:
    async with aclosing(Detour(day, "/ok")) as client:
        outcome = await send(Tools(client), url)
    assert outcome.result is Result.FAILED
    assert reason in outcome.reason
    assert client.asked == []


async def test_off_is_off(day: WorstDay, tools: Tools) -> None:
    off = replace(tools, has_apprise=False)
    assert (await send(off, own(day, "/ok"))).result is Result.RETRY
    assert "WEDSYNC_APM_APPRISE" in (apprise.unready(off) or "")
    assert apprise.unready(tools) is None
    assert day.connections == 0


def children() -> list[psutil.Process]:
    program = Path(child.__file__).name
    return [one for one in psutil.Process().children() if program in " ".join(one.cmdline())]


async def test_a_process_that_is_killed_is_tried_again(
    day: WorstDay, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The call that it wanted is ours, and ends as it ends.
    monkeypatch.setattr(penman, "CALL_SECONDS", 2.0)
    sending = asyncio.create_task(send(tools, own(day, "/slow-head")))
    async with asyncio.timeout(60):
        while not day.requests:
            await asyncio.sleep(0.01)
    for one in children():
        assert one.environ() == {}, "it knows nothing of ours"
        one.kill()
    outcome = await sending
    assert (outcome.result, outcome.may_have_arrived) == (Result.RETRY, True)
    assert children() == []


async def test_a_process_that_takes_too_long_is_ended(
    day: WorstDay, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(penman, "LONGEST_SECONDS", 0.01)
    outcome = await send(tools, own(day, "/ok"))
    assert (outcome.result, outcome.may_have_arrived) == (Result.RETRY, False)
    assert "0.01 s" in outcome.reason
    assert children() == []


async def test_a_process_that_wants_too_much_is_ended(
    day: WorstDay, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(penman, "MOST_CALLS", 0)
    outcome = await send(tools, own(day, "/ok"))
    assert outcome.result is Result.RETRY
    assert "more than 0 calls" in outcome.reason
    assert day.connections == 0


@pytest.mark.parametrize(
    "program",
    [
        "print('no JSON')",
        "print('5')",
        "print('{\"call\": 5}')",
        'print(\'{"call": {"method": "GET", "url": "/", "headers": [], "body": 1}}\')',
        'print(\'{"call": {"method": "BREW", "url": "/", "headers": {}, "body": ""}}\')',
        "print('[' * 100_000)",
        "print('x' * 2_000_000)",
        "raise SystemExit(3)",
        "import os; os.close(0); os.close(1)",
    ],
    ids=["text", "number", "call", "types", "method", "deep", "long", "gone", "silent"],
)
async def test_a_process_that_talks_nonsense_is_ended(
    program: str, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(penman, "_PROGRAM", tmp_path / "child.py")
    outcome = await send(tools, "json://example.com/")
    assert outcome.result is Result.RETRY or "not made" in outcome.reason, outcome
    assert not outcome.may_have_arrived
    assert children() == []


PROBE = """
import importlib.util, json, mimetypes, os, socket, subprocess, sys
spec = importlib.util.spec_from_file_location("child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
port, which = int(sys.argv[2]), sys.argv[3]
child.limit()
held = child.fence_kernel() if which != "interpreter" else False
if which != "kernel":
    child.fence_interpreter()

def syscall():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 8, 0) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")

ways = {
    "tcp": lambda: socket.socket(socket.AF_INET).connect(("127.0.0.1", port)),
    "create_connection": lambda: socket.create_connection(("127.0.0.1", port)),
    "udp": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
    "unix": lambda: socket.socket(socket.AF_UNIX).connect(sys.argv[4]),
    "bind": lambda: socket.socket(socket.AF_INET).bind(("127.0.0.1", 0)),
    "name": lambda: socket.getaddrinfo("anything.example", 80),
    "program": lambda: subprocess.run(["true"]),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "read": lambda: open("/etc/passwd").read(),
    "environ": lambda: open(f"/proc/{os.getppid()}/environ", "rb").read(),
    "write": lambda: open(sys.argv[4] + ".txt", "w").write("x" * 10),
    "memory": lambda: bytearray(1 << 30),
    "io_uring": syscall,
}
done = {}
for name, way in ways.items():
    try:
        way()
        done[name] = "done"
    except BaseException as exc:
        done[name] = type(exc).__name__
print(json.dumps({"held": held, "done": done}))
"""


@contextmanager
def listening(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """A port and a socket of files where nobody may come."""
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        tcp.setblocking(False)
        unix.setblocking(False)
        yield tcp.getsockname()[1], [tcp, unix]


@pytest.mark.parametrize("which", ["kernel", "interpreter", "both"])
def test_the_process_has_no_way_out_of_its_own(which: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listening(path) as (port, doors):
        ran = subprocess.run(
            [sys.executable, "-I", "-c", PROBE, str(child.__file__), str(port), which, str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        for door in doors:
            with pytest.raises(BlockingIOError):
                door.accept()
    said = json.loads(ran.stdout)
    open_ways = {name for name, end in said["done"].items() if end == "done"}
    # Files are the interpreter's to refuse; what is opened to be written stays empty.
    allowed = {"read", "environ", "write"} if which == "kernel" else set()
    if which == "kernel" and not said["held"]:
        pytest.skip("not measured: this kernel takes no filter")
    assert open_ways <= allowed, said
    assert not Path(f"{path}.txt").exists() or not Path(f"{path}.txt").read_bytes()
    if which != "interpreter":
        assert said["held"] or os.uname().machine not in ("x86_64", "aarch64")


def test_no_service_tries_anything_but_to_have_its_calls_made() -> None:
    program = Path(apprise_replay.__file__)
    ran = subprocess.run(
        [sys.executable, "-I", str(program), str(child.__file__), str(LISTED)],
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(ran.stdout)
    assert said["tried"] == []
    # Of the others no address was found by trying; of some of them one stands in FAMILIES.
    assert len(said["made"]) >= 120, said
    assert max(said["made"].values()) <= penman.MOST_CALLS


async def test_a_file_of_this_machine_stays_here(day: WorstDay, tools: Tools) -> None:
    """Were an option that names a file to slip by, the process still could not read it."""
    target = apprise.configure("", "discord://1234/abcd")
    trap = f"discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?template={__file__}"
    async with aclosing(Detour(day, "/status/204")) as client:
        outcome = await apprise.send(MESSAGE, replace(target, url=trap), Tools(client), AT)
    assert outcome.result is not Result.SENT
    assert day.requests == []
