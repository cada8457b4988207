"""The one way out, against real sockets."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support.certificates import certificate
from tests.support.worst_day import WorstDay, worst_day
from wedsync_apm.egress import EgressClient, EgressFailed, EgressPolicy, EgressRefused, Failure
from wedsync_apm.egress.client import READ_LIMIT_BYTES
from wedsync_apm.egress.policy import Address

SECRET = "T0P-SECRET-PATH"


@pytest.fixture
async def day() -> AsyncIterator[WorstDay]:
    async with worst_day() as server:
        yield server


@pytest.fixture
async def client(day: WorstDay) -> AsyncIterator[EgressClient]:
    policy = EgressPolicy.parse([f"127.0.0.1:{day.port}"])
    async with aclosing(EgressClient(policy)) as made:
        yield made


class Names:
    """A resolver under a test's thumb; counts what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Collection[Address]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ip_address(address) for address in answer.split(",")]


async def test_an_answer_comes_back_whole(client: EgressClient, day: WorstDay) -> None:
    answer = await client.request(
        "POST", day.url("/ok/a b?q=ü&x=%20"), body=b"{}", headers={"X-Mine": "1", "Host": "evil"}
    )
    assert (answer.status, answer.body, answer.truncated) == (200, b"ok", False)
    assert answer.header("CONTENT-LENGTH") == "2"
    [seen] = day.requests
    assert seen.headers["host"] == f"127.0.0.1:{day.port}"
    assert (seen.path, seen.body) == ("/ok/a%20b?q=%C3%BC&x=%20", b"{}")
    assert seen.headers["x-mine"] == "1"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "169.254.169.254",
        "[fd00:ec2::254]",
    ],
)
async def test_no_spelling_of_an_inner_address_gets_through(day: WorstDay, host: str) -> None:
    async with aclosing(EgressClient(EgressPolicy())) as client:
        with pytest.raises((EgressRefused, EgressFailed)) as caught:
            await client.request("GET", f"http://{host}:{day.port}/ok/{SECRET}")
    # Not every resolver reads every spelling: a name that is not found went nowhere either.
    if isinstance(caught.value, EgressFailed):
        assert caught.value.failure is Failure.DNS
    assert day.connections == 0
    assert SECRET not in str(caught.value)


async def test_the_checked_address_is_the_dialled_one(day: WorstDay) -> None:
    """A name that turns to another address after the check gains nothing: it is asked once."""
    names = Names("127.0.0.1", "10.0.0.1")
    policy = EgressPolicy.parse(["127.0.0.0/8"])
    async with aclosing(EgressClient(policy, resolve=names)) as client:
        answer = await client.request("GET", f"http://rebinds.example:{day.port}/ok")
        assert answer.status == 200
        assert names.asked == ["rebinds.example"]
        assert day.requests[0].headers["host"] == f"rebinds.example:{day.port}"
        with pytest.raises(EgressRefused, match="private"):
            await client.request("GET", f"http://rebinds.example:{day.port}/ok")
    assert day.connections == 1


async def test_a_name_with_one_bad_address_is_not_called(day: WorstDay) -> None:
    policy = EgressPolicy.parse(["127.0.0.0/8"])
    names = Names("127.0.0.1,192.168.0.1")
    async with aclosing(EgressClient(policy, resolve=names)) as client:
        with pytest.raises(EgressRefused):
            await client.request("GET", f"http://mixed.example:{day.port}/ok")
    assert day.connections == 0


async def test_this_machines_own_public_address_is_refused() -> None:
    async with aclosing(
        EgressClient(
            EgressPolicy(),
            resolve=Names("8.8.8.8"),
            own_addresses=lambda: [ip_address("8.8.8.8")],
        )
    ) as client:
        with pytest.raises(EgressRefused, match="this machine itself"):
            await client.request("GET", "https://me.example/")


@pytest.mark.parametrize("port", [22, 25, 5432])
async def test_other_ports_are_refused_before_anything_is_sent(port: int) -> None:
    async with aclosing(EgressClient(EgressPolicy(), resolve=Names("8.8.8.8"))) as client:
        with pytest.raises(EgressRefused, match="port"):
            await client.request("GET", f"http://a.example:{port}/")


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/reset", Failure.PROTOCOL),
        ("/close", Failure.PROTOCOL),
        ("/half", Failure.PROTOCOL),
        ("/garbage", Failure.PROTOCOL),
        ("/slow-head", Failure.TIMEOUT),
        ("/slow-body", Failure.TIMEOUT),
        ("/drip", Failure.TIMEOUT),
        ("/long-head", Failure.PROTOCOL),
    ],
)
async def test_bad_servers_end_in_a_named_failure(
    client: EgressClient, day: WorstDay, path: str, failure: Failure
) -> None:
    # Only who waits for the end of patience needs a short one.
    patience = 0.5 if failure is Failure.TIMEOUT else 20
    url = day.url(f"{path}/{SECRET}?key={SECRET}")
    begun = time.monotonic()
    with pytest.raises(EgressFailed) as caught:
        await client.request("GET", url, timeout_seconds=patience)
    assert caught.value.failure in {failure, Failure.RESET}
    assert SECRET not in f"{caught.value}{caught.value.detail}"
    assert time.monotonic() - begun < 30


async def test_nobody_listening(client: EgressClient, day: WorstDay) -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    policy = EgressPolicy.parse(["127.0.0.1"])
    async with aclosing(EgressClient(policy)) as other:
        with pytest.raises(EgressFailed) as caught:
            await other.request("GET", f"http://127.0.0.1:{port}/")
        assert caught.value.failure is Failure.CONNECT
        with pytest.raises(EgressFailed) as caught:
            await other.connect("127.0.0.1", port)
        assert caught.value.failure is Failure.CONNECT


async def test_a_name_that_does_not_exist_or_takes_for_ever() -> None:
    async def unknown(host: str, port: int) -> Collection[Address]:
        raise OSError("Name or service not known")

    async def slow(host: str, port: int) -> Collection[Address]:
        await asyncio.sleep(60)
        return []

    for resolve in (unknown, slow):
        async with aclosing(EgressClient(EgressPolicy(), resolve=resolve)) as client:
            begun = time.monotonic()
            with pytest.raises(EgressFailed) as caught:
                await client.request("GET", "https://a.example/")
            assert caught.value.failure is Failure.DNS
            assert time.monotonic() - begun < 30


async def test_at_most_64_kib_are_read(client: EgressClient, day: WorstDay) -> None:
    answer = await client.request("GET", day.url("/huge"))
    assert answer.truncated
    assert len(answer.body) == READ_LIMIT_BYTES


async def test_a_caller_who_wants_no_body_does_not_wait_for_it(
    client: EgressClient, day: WorstDay
) -> None:
    answer = await client.request(
        "POST", day.url("/slow-body"), read_body=False, timeout_seconds=50
    )
    assert (answer.status, answer.body) == (200, b"")
    assert answer.elapsed_seconds < 30


async def test_redirects_are_followed_only_when_asked(client: EgressClient, day: WorstDay) -> None:
    assert (await client.request("GET", day.url("/redirect/1"))).status == 302
    answer = await client.request("GET", day.url("/redirect/3"), max_redirects=3)
    assert (answer.status, answer.url) == (200, day.url("/redirect/0"))
    posted = await client.request("POST", day.url("/redirect/1"), max_redirects=3)
    assert posted.status == 302
    with pytest.raises(EgressFailed) as caught:
        await client.request("GET", day.url("/redirect/9"), max_redirects=99)
    assert caught.value.failure is Failure.REDIRECTS


async def test_a_redirect_is_checked_like_the_first_address(
    client: EgressClient, day: WorstDay
) -> None:
    for inner in (
        "http://localhost/ok",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        f"http://user:pw@127.0.0.1:{day.port}/ok",
    ):
        with pytest.raises(EgressRefused):
            await client.request("GET", day.url(f"/to?{inner}"), max_redirects=1)
    assert all(seen.path.startswith("/to") for seen in day.requests)


async def test_a_callers_headers_stay_with_the_origin_they_were_meant_for(day: WorstDay) -> None:
    async with worst_day() as other:
        policy = EgressPolicy.parse(["127.0.0.1"])
        async with aclosing(EgressClient(policy)) as client:
            await client.request(
                "GET",
                day.url(f"/to?{other.url('/ok')}"),
                headers={"Authorization": f"Bearer {SECRET}"},
                max_redirects=1,
            )
        assert day.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert "authorization" not in other.requests[0].headers


async def test_proxy_variables_change_nothing(
    client: EgressClient, day: WorstDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await client.request("GET", day.url("/ok"))).status == 200


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "ü"])
async def test_headers_cannot_be_smuggled(client: EgressClient, day: WorstDay, value: str) -> None:
    with pytest.raises(EgressRefused):
        await client.request("GET", day.url("/ok"), headers={"X-A": value})
    assert day.requests == []


async def test_no_log_line_holds_the_path(
    client: EgressClient, day: WorstDay, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await client.request("GET", day.url(f"/ok/{SECRET}"), headers={"Authorization": SECRET})
    assert SECRET not in caplog.text


async def test_many_addresses_are_tried_in_turn(day: WorstDay) -> None:
    policy = EgressPolicy.parse(["127.0.0.0/8"])
    async with aclosing(EgressClient(policy, resolve=Names("127.0.0.9,127.0.0.1"))) as client:
        assert (await client.request("GET", f"http://two.example:{day.port}/ok")).status == 200


async def test_connect_gives_a_checked_socket(day: WorstDay) -> None:
    policy = EgressPolicy.parse([f"mail.example:{day.port}"])
    async with aclosing(EgressClient(policy, resolve=Names("127.0.0.1"))) as client:
        with await client.connect("mail.example", day.port) as connection:
            assert connection.getpeername() == ("127.0.0.1", day.port)
        with pytest.raises(EgressRefused):
            await client.connect("other.example", day.port)


async def test_tls_names_the_host_although_an_address_was_dialled(tmp_path: Path) -> None:
    server_tls, client_tls = certificate(tmp_path, "tls.example")
    seen_names: list[str | None] = []
    server_tls.sni_callback = lambda sock, name, context: seen_names.append(name)
    async with worst_day(server_tls) as day:
        policy = EgressPolicy.parse([f"tls.example:{day.port}", f"wrong.example:{day.port}"])
        async with aclosing(
            EgressClient(policy, resolve=Names("127.0.0.1"), ssl_context=client_tls)
        ) as client:
            answer = await client.request("GET", f"https://tls.example:{day.port}/ok")
            assert answer.status == 200
            with pytest.raises(EgressFailed) as caught:
                await client.request("GET", f"https://wrong.example:{day.port}/ok")
            assert caught.value.failure is Failure.TLS
        async with aclosing(EgressClient(policy, resolve=Names("127.0.0.1"))) as strict:
            with pytest.raises(EgressFailed) as caught:
                await strict.request("GET", f"https://tls.example:{day.port}/ok")
            assert caught.value.failure is Failure.TLS
    assert seen_names == ["tls.example", "wrong.example", "tls.example"]
