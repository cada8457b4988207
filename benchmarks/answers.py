"""HTTP/1.1 answers, as far as a sender of samples needs them."""

from typing import NamedTuple


class Answer(NamedTuple):
    """An HTTP answer; `size` is what it took of the bytes."""

    status: int
    text: bytes
    size: int
    is_last: bool
    """The server closes the connection after it."""


class NotHTTP(Exception):
    """Bytes that are no answer to what was asked."""


def read_answer(received: bytes) -> Answer | None:
    """The answer at the beginning; None while it is incomplete. Raises NotHTTP."""
    if not received.startswith(b"HTTP/1."[: len(received)]):
        raise NotHTTP(repr(received[:40]))
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head, start = received[:end].lower(), end + 4
    try:
        status = int(head[9:12])
        length = _length(head, status)
    except ValueError:
        raise NotHTTP(repr(received[:40])) from None
    if length is None:  # chunked: the servers send a short text at once
        end = received.find(b"\r\n0\r\n\r\n", start - 2)
        if end < 0:
            return None
        length = end + 7 - start
    if len(received) < start + length:
        return None
    size = start + length
    return Answer(status, received[start:size], size, b"\nconnection: close" in head)


def _length(head: bytes, status: int) -> int | None:
    if status in (204, 304):
        return 0
    at = head.find(b"\ncontent-length:")
    if at >= 0:
        return int(head[at + 16 :].split(b"\r\n", 1)[0])
    if b"\ntransfer-encoding: chunked" in head:
        return None
    return 0
