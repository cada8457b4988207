"""The one way out: every HTTP call and every foreign SMTP connection begins here.

A call goes through these steps, and nothing else in the product opens a connection to a stranger:

1. The URL is read; credentials in it, other schemes and unreadable hosts are refused.
2. The name is resolved once, and the policy judges every address that came back.
3. One of exactly those addresses is dialled; TLS and the Host header still name the host.
4. At most 64 KiB of the answer are read, and the whole call ends after its time-out.
5. A redirect, where the caller allows any, starts again at 1.

The environment's proxy variables are not looked at, and a connection serves one request only: what
was checked is what is used.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import SplitResult, quote, urljoin

import httpcore
import psutil

from wedsync_apm.egress.errors import EgressFailed, EgressRefused, Failure
from wedsync_apm.egress.policy import MAIL_PORTS, WEB_PORTS, Address, EgressPolicy
from wedsync_apm.egress.url import origin_of, port_of, read_url, readable_host

# httpcore's debug lines carry whole requests, and with them webhook paths and tokens.
logging.getLogger("httpcore").setLevel(logging.INFO)

CONNECT_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 30.0
READ_LIMIT_BYTES: Final = 64 * 1024
MAX_REDIRECTS: Final = 3
USER_AGENT: Final = "WedSync-APM"
_RESOLVER_THREADS: Final = 8
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# What a caller's headers may not decide, because the checked URL does, or the transport.
_OUR_HEADERS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})

Resolver = Callable[[str, int], Awaitable[Collection[Address]]]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: at most `READ_LIMIT_BYTES` of body, `truncated` when there was more."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    elapsed_seconds: float
    url: str
    """The address that answered; another one than was called after a redirect."""

    def header(self, name: str) -> str | None:
        """The value of a header, whatever its case; None when it did not come."""
        return self.headers.get(name.lower())


class EgressClient:
    """Makes calls under one policy. Safe to share by everything in a process.

    `resolve` and `own_addresses` are how it looks at the world; tests put others in.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        resolve: Resolver | None = None,
        own_addresses: Callable[[], Collection[Address]] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._policy = policy
        self._total_seconds = total_seconds
        self._ssl_context = ssl_context or ssl.create_default_context()
        self._own_addresses = own_addresses or interface_addresses
        # Looking a name up blocks a thread for as long as the name's owner likes. In the common
        # pool a few slow names would stop everything else that needs a thread.
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="egress-dns")
        self._resolve = resolve or self._look_up

    async def aclose(self) -> None:
        """Lets the look-up threads go; calls under way end with an error."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def request(
        self,
        method: Method,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_seconds: float | None = None,
        max_redirects: int = 0,
        read_body: bool = True,
    ) -> Answer:
        """One call, its redirects included, within `timeout_seconds` (10 by default, 30 at most).

        Only GET and HEAD follow redirects, `max_redirects` of them (3 at most), without the
        caller's headers once the origin changes; the default follows none. Without `read_body` the
        call ends as soon as the status is known. Raises EgressRefused when the address is not
        allowed, EgressFailed when no answer came.
        """
        redirects = min(max_redirects, MAX_REDIRECTS) if method in ("GET", "HEAD") else 0
        limit = min(timeout_seconds or self._total_seconds, LONGEST_SECONDS)
        begun = time.monotonic()
        sent_headers = dict(headers or {})
        target = read_url(url)
        try:
            async with asyncio.timeout(limit):
                for hop in range(redirects + 1):
                    answer = await self._call(
                        method, target, sent_headers, body, begun, read_body=read_body
                    )
                    location = answer.header("location")
                    if answer.status not in _REDIRECTS or location is None or not redirects:
                        return answer
                    if hop == redirects:
                        break
                    following = read_url(urljoin(target.geturl(), location))
                    if target.scheme == "https" and following.scheme != "https":
                        raise EgressRefused(f"{target.hostname} redirects to plain http")
                    if origin_of(following) != origin_of(target):
                        sent_headers = {}
                    target = following
        except TimeoutError as exc:
            raise EgressFailed(
                Failure.TIMEOUT, f"{target.hostname} did not answer within {limit:g} s"
            ) from exc
        raise EgressFailed(
            Failure.REDIRECTS, f"{target.hostname} redirects more than {redirects} times"
        )

    async def connect(
        self,
        host: str,
        port: int,
        *,
        ports: Collection[int] = MAIL_PORTS,
        timeout_seconds: float = CONNECT_SECONDS,
    ) -> socket.socket:
        """A connected, non-blocking socket to a checked address, for protocols other than HTTP.

        Raises EgressRefused and EgressFailed as `request` does; the socket is the caller's.
        """
        name = readable_host(host)
        try:
            async with asyncio.timeout(timeout_seconds):
                addresses = await self._checked_addresses(name, port, ports)
                return await _dial(name, port, addresses)
        except TimeoutError as exc:
            raise EgressFailed(
                Failure.TIMEOUT, f"{name} did not answer within {timeout_seconds:g} s"
            ) from exc

    async def addresses(self, host: str, port: int, *, ports: Collection[int]) -> list[Address]:
        """The checked addresses of a host, for protocols that dial for themselves: these and no
        others may be dialled. Raises EgressRefused and EgressFailed as `request` does."""
        return await self._checked_addresses(readable_host(host), port, ports)

    def port_refusal(self, host: str, port: int, ports: Collection[int]) -> str | None:
        """Why a port may not be called, for a host that cannot be found now; else None."""
        return self._policy.port_refusal(host, port, ports)

    def refusal(self, host: str, addresses: Collection[Address]) -> str | None:
        """Why a name that leads there may not be called on port 443; None if it may."""
        return self._policy.refusal(host, 443, addresses, own=self._own_addresses())

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """How certificates are verified."""
        return self._ssl_context

    async def check(self, url: str) -> None:
        """Raises EgressRefused if `url` may not be called; for telling people while they type.

        What counts is the check at the moment of the call: names change.
        """
        target = read_url(url)
        await self._checked_addresses(target.hostname or "", port_of(target), WEB_PORTS)

    async def _call(
        self,
        method: Method,
        target: SplitResult,
        headers: Mapping[str, str],
        body: bytes,
        begun: float,
        *,
        read_body: bool,
    ) -> Answer:
        host, port = target.hostname or "", port_of(target)
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        # What must be escaped and is not; what is escaped stays as it came.
        path = quote(path, safe="/?:@!$&'()*+,;=-._~%[]")
        origin = httpcore.Origin(target.scheme.encode(), host.encode(), port)
        try:
            request = httpcore.Request(
                method,
                httpcore.URL(
                    scheme=origin.scheme,
                    host=origin.host,
                    port=port,
                    target=path.encode("ascii"),
                ),
                headers=_request_headers(method, target, headers, body),
                content=body,
                extensions={"timeout": {"connect": CONNECT_SECONDS}},
            )
        except (UnicodeError, ValueError) as exc:
            raise EgressRefused(
                "the address or a header holds characters that HTTP does not"
            ) from (exc)
        with _named_failures(host):
            async with self._connection(origin) as connection:
                response = await connection.handle_async_request(request)
                content, truncated = b"", False
                try:
                    if read_body and method != "HEAD":
                        content, truncated = await _read_some(response)
                finally:
                    await response.aclose()
        return Answer(
            status=response.status,
            headers={
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            },
            body=content,
            truncated=truncated,
            elapsed_seconds=time.monotonic() - begun,
            url=target.geturl(),
        )

    @asynccontextmanager
    async def _connection(
        self, origin: httpcore.Origin
    ) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        connection = httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._ssl_context, network_backend=_CheckedBackend(self)
        )
        try:
            yield connection
        finally:
            await connection.aclose()

    async def _checked_addresses(
        self, host: str, port: int, ports: Collection[int]
    ) -> list[Address]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                addresses = list(dict.fromkeys(await self._resolve(host, port)))
        except OSError as exc:  # a TimeoutError is one
            raise EgressFailed(Failure.DNS, f"the name {host} cannot be found") from exc
        why = self._policy.refusal(host, port, addresses, own=self._own_addresses(), ports=ports)
        if why is not None:
            raise EgressRefused(f"{host} may not be called: {why}")
        return addresses

    async def _look_up(self, host: str, port: int) -> list[Address]:
        with suppress(ValueError):
            return [ip_address(host)]
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return [ip_address(str(entry[4][0])) for entry in found]


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Gives httpcore a stream to an address that was checked, and to no other.

    httpcore asks for the host; TLS then names the host again by itself, so that certificates and
    SNI are those of the name although the address was dialled.
    """

    def __init__(self, client: EgressClient) -> None:
        self._client = client
        self._dial = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        deadline = time.monotonic() + (timeout or CONNECT_SECONDS)
        addresses = await self._client._checked_addresses(host, port, WEB_PORTS)
        last: Exception | None = None
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = (deadline - time.monotonic()) / left
            try:
                return await self._dial.connect_tcp(
                    str(address), port, max(share, 0.1), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                last = exc
        raise last or httpcore.ConnectError()


async def _dial(host: str, port: int, addresses: Iterable[Address]) -> socket.socket:
    loop = asyncio.get_running_loop()
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, (str(address), port))
        except OSError:
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise EgressFailed(Failure.CONNECT, f"{host} does not take connections on port {port}")


async def _read_some(response: httpcore.Response) -> tuple[bytes, bool]:
    content = bytearray()
    async for part in response.aiter_stream():
        content += part
        if len(content) > READ_LIMIT_BYTES:
            return bytes(content[:READ_LIMIT_BYTES]), True
    return bytes(content), False


def interface_addresses() -> frozenset[Address]:
    """The addresses of this machine's own interfaces."""
    found: set[Address] = set()
    for entries in psutil.net_if_addrs().values():
        for entry in entries:
            if entry.family in (socket.AF_INET, socket.AF_INET6):
                found.add(ip_address(entry.address.partition("%")[0]))
    return frozenset(found)


def _request_headers(
    method: Method, target: SplitResult, headers: Mapping[str, str], body: bytes
) -> list[tuple[bytes, bytes]]:
    sent = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
    for name, value in headers.items():
        if name.lower() in _OUR_HEADERS:
            continue
        sent = {k: v for k, v in sent.items() if k.lower() != name.lower()}
        sent[name] = value
    if body or method in ("POST", "PUT", "PATCH"):
        sent["Content-Length"] = str(len(body))
    sent["Connection"] = "close"
    if any(character in text for pair in sent.items() for text in pair for character in "\r\n\0"):
        raise ValueError("a line break in a header")
    return [
        (b"Host", target.netloc.encode("ascii")),
        *((name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()),
    ]


@contextmanager
def _named_failures(host: str) -> Iterator[None]:
    """Turns httpcore's errors into ours, whose texts hold no part of the request."""
    try:
        yield
    except httpcore.LocalProtocolError as exc:
        raise EgressRefused("the address or a header holds characters that HTTP has not") from exc
    except httpcore.ConnectTimeout as exc:
        raise EgressFailed(Failure.TIMEOUT, f"{host} does not take connections in time") from exc
    except httpcore.ConnectError as exc:
        if isinstance(exc.__cause__, ssl.SSLError):
            why = getattr(exc.__cause__, "verify_message", "") or "the handshake failed"
            raise EgressFailed(Failure.TLS, f"{host} has no valid TLS: {why}") from exc
        raise EgressFailed(Failure.CONNECT, f"{host} does not take connections") from exc
    except httpcore.NetworkError as exc:
        raise EgressFailed(Failure.RESET, f"{host} broke the connection off") from exc
    except httpcore.ProtocolError as exc:
        raise EgressFailed(Failure.PROTOCOL, f"{host} does not answer in proper HTTP") from exc
