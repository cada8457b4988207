"""Bodies unpack to what was packed, and bombs do not unpack at all."""

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.errors import MalformedBody, TooLarge, UnsupportedMedia
from wedsync_apm.ingest.compression import Room, unpack, unpack_snappy_block


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    """Frames of a stream do not declare their size."""
    packer = cramjam.zstd.Compressor()
    packer.compress(data)
    return bytes(packer.finish())


def snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data))


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "identity": ("", bytes),
    "gzip": ("gzip", gzip.compress),
    "gzip of two members": ("GZIP", lambda data: gzip.compress(data[:3]) + gzip.compress(data[3:])),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", lambda data: bytes(cramjam.zstd.compress(data))),
    "streamed zstd": ("zstd", streamed_zstd),
}
EACH = pytest.mark.parametrize(("encoding", "pack"), PACKERS.values(), ids=PACKERS.keys())


@EACH
@given(data=st.binary(max_size=2000))
def test_round_trip(encoding: str, pack: Callable[[bytes], bytes], data: bytes) -> None:
    assert unpack(encoding, pack(data), 2000) == data


@given(data=st.binary(max_size=2000))
def test_round_trip_of_snappy(data: bytes) -> None:
    assert unpack_snappy_block(snappy(data), 2000) == data


@EACH
def test_the_limit_is_taken_and_one_byte_more_is_not(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    data = b"x" * 5000
    assert unpack(encoding, pack(data), 5000) == data
    with pytest.raises(TooLarge):
        unpack(encoding, pack(data), 4999)


@pytest.mark.parametrize("name", ["gzip", "deflate", "raw deflate", "zstd", "streamed zstd"])
def test_a_bomb_takes_no_more_memory_than_the_limit(name: str) -> None:
    encoding, pack = PACKERS[name]
    bomb = pack(bytes(100_000_000))
    assert len(bomb) < 200_000
    tracemalloc.start()
    with pytest.raises(TooLarge):
        unpack(encoding, bomb, 1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_declared_size_is_believed_before_anything_is_unpacked() -> None:
    four_gigabytes = b"\xff\xff\xff\xff\x0f" + b"\x00" * 20
    with pytest.raises(TooLarge):
        unpack_snappy_block(four_gigabytes, 32 * 1024 * 1024)


def test_a_million_empty_members_are_refused_at_once() -> None:
    with pytest.raises(MalformedBody):
        unpack("gzip", gzip.compress(b"") * 100_000, 1000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@given(data=st.binary(min_size=1, max_size=100))
def test_any_bytes_are_refused_or_read(encoding: str, data: bytes) -> None:
    with contextlib.suppress(MalformedBody, TooLarge):
        assert len(unpack(encoding, data, 100_000)) <= 100_000


@pytest.mark.parametrize("cut", [1, 10, 30])
@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd"])
def test_what_is_cut_short_is_malformed(name: str, cut: int) -> None:
    encoding, pack = PACKERS[name]
    whole = pack(bytes(range(256)) * 4)
    with pytest.raises(MalformedBody):
        unpack(encoding, whole[:-cut], 10_000)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_or_read_as_snappy(data: bytes) -> None:
    with contextlib.suppress(MalformedBody, TooLarge):
        assert len(unpack_snappy_block(data, 100_000)) <= 100_000


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "snappy"])
def test_other_encodings_are_named(encoding: str) -> None:
    with pytest.raises(UnsupportedMedia, match=encoding):
        unpack(encoding, b"", 10)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_a_room_gives_each_body_as_it_was(bodies: list[bytes]) -> None:
    room = Room(most_packed=150, size=200)
    for body in bodies:
        assert room.unpack(snappy(body), 300) == body


@given(st.binary(max_size=100))
def test_a_room_refuses_or_reads_any_bytes(data: bytes) -> None:
    with contextlib.suppress(MalformedBody, TooLarge):
        assert len(Room(1000).unpack(data, 100_000)) <= 100_000


def test_a_room_keeps_to_the_limit() -> None:
    room = Room(1000)
    assert len(room.unpack(snappy(b"x" * 5000), 5000)) == 5000
    with pytest.raises(TooLarge):
        room.unpack(snappy(b"x" * 5000), 4999)


@pytest.mark.parametrize("room", [Room(10_000, size=999), Room(40)], ids=["unpacked", "packed"])
def test_what_is_too_large_for_a_room_is_nobody_elses(room: Room) -> None:
    first = room.unpack(snappy(b"x" * 1000), 10_000)
    room.unpack(snappy(b"y" * 1000), 10_000)
    assert first == b"x" * 1000


def test_a_room_that_grows_leaves_alone_what_was_given() -> None:
    room = Room(10_000)
    first = room.unpack(snappy(b"x" * 10), 10_000)
    room.unpack(snappy(b"y" * 1000), 10_000)
    assert first == b"x" * 10
