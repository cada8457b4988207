"""A name server on the loopback, as right or as wrong as a test wants it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass(slots=True)
class NameServer:
    """Where it listens, what it knows, and what it was asked. A name without a record of the type
    has no answer; one that is not there does not exist; one in `silent` is never answered."""

    records: Mapping[tuple[str, str], Sequence[str]]
    silent: frozenset[str] = frozenset()
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        [asked] = question.question
        name = asked.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(asked.rdtype)
        self._server.asked.append((name, kind))
        if name in self._server.silent:
            return
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if found := self._server.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *found))
        elif all(name != known for known, _ in self._server.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server(
    records: Mapping[tuple[str, str], Sequence[str]], *, silent: Sequence[str] = ()
) -> AsyncIterator[NameServer]:
    """The server for as long as the block runs."""
    server = NameServer(records, frozenset(silent))
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Protocol(server), local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
