"""A file of a backup opens as it was written, with its key and under its name; else never."""

import io
import secrets
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.backups import sealed
from wedsync_apm.backups.sealed import BackupUnreadable, Sealer, read_all, sign, unseal
from wedsync_apm.organizations.secrets import Keyring

KEYS: Final = Keyring(bytes(range(32)))
HEADER: Final = 32
plain_files = st.binary(max_size=400)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks of little."""
    monkeypatch.setattr(sealed, "CHUNK_BYTES", 64)


def seal(plain: bytes, *, name: str = "base.tar", keys: Keyring = KEYS, step: int = 7) -> bytes:
    out = io.BytesIO()
    sealer = Sealer(out, keys, name)
    for at in range(0, len(plain), step):
        sealer.write(plain[at : at + step])
    told = sealer.finish()
    assert told.bytes == len(out.getvalue())
    assert told.plain_bytes == len(plain)
    return out.getvalue()


def chunks_of(file: bytes) -> list[bytes]:
    found, at = [], HEADER
    while at < len(file):
        end = at + 4 + int.from_bytes(file[at : at + 4], "big")
        found.append(file[at:end])
        at = end
    return found


def refuses(file: bytes, *, name: str = "base.tar", keys: Keyring = KEYS) -> bool:
    try:
        read_all(io.BytesIO(file), keys, name)
    except BackupUnreadable:
        return True
    return False


@given(plain_files, st.integers(1, 200))
def test_what_was_written_comes_back(plain: bytes, step: int) -> None:
    assert read_all(io.BytesIO(seal(plain, step=step)), KEYS, "base.tar") == plain


@given(plain_files, st.data())
def test_a_file_that_was_cut_short_is_refused(plain: bytes, data: st.DataObject) -> None:
    file = seal(plain)
    assert refuses(file[: data.draw(st.integers(0, len(file) - 1))])


@given(st.integers(1, 6), st.integers(1, 64))
def test_a_file_cut_between_two_chunks_is_refused(full: int, more: int) -> None:
    file = seal(secrets.token_bytes(64 * full + more))
    parts = chunks_of(file)
    assert len(parts) == full + 1
    for kept in range(len(parts)):
        assert refuses(file[:HEADER] + b"".join(parts[:kept]))


@given(plain_files, st.data())
def test_a_flipped_bit_is_refused(plain: bytes, data: st.DataObject) -> None:
    file = bytearray(seal(plain))
    bit = data.draw(st.integers(0, 8 * len(file) - 1))
    file[bit // 8] ^= 1 << bit % 8
    assert refuses(bytes(file))


@given(st.permutations(range(5)))
def test_moved_chunks_are_refused(order: list[int]) -> None:
    plain = secrets.token_bytes(64 * 5)
    file = seal(plain)
    parts = chunks_of(file)
    moved = file[:HEADER] + b"".join(parts[number] for number in order)
    assert refuses(moved) == (order != sorted(order))


def test_a_repeated_a_missing_and_a_foreign_chunk_are_refused() -> None:
    file, other = (seal(secrets.token_bytes(64 * 3)) for _ in range(2))
    head, parts = file[:HEADER], chunks_of(file)
    assert refuses(head + parts[0] + parts[0] + parts[1] + parts[2])
    assert refuses(head + parts[0] + parts[2])
    assert refuses(head + parts[0] + chunks_of(other)[1] + parts[2])
    assert refuses(file + parts[2])
    assert refuses(file + b"\0")
    assert not refuses(file)


def test_nothing_of_a_damaged_chunk_is_given() -> None:
    plain = secrets.token_bytes(64 * 3)
    file = bytearray(seal(plain))
    file[-1] ^= 1
    given_out = b""
    with pytest.raises(BackupUnreadable, match="damaged in chunk 2"):
        for piece in unseal(io.BytesIO(bytes(file)), KEYS, "base.tar"):
            given_out += piece
    assert given_out == plain[: 64 * 2]


def test_another_key_and_another_name_are_refused() -> None:
    file = seal(b"figures")
    other = Keyring(bytes(32))
    with pytest.raises(BackupUnreadable, match=f"under the master key {KEYS.key_id}"):
        read_all(io.BytesIO(file), other, "base.tar")
    assert refuses(file, name="wal/000000010000000000000001")
    # after a rotation the former key still opens what it sealed
    both = Keyring(bytes(32), [bytes(range(32))])
    assert read_all(io.BytesIO(file), both, "base.tar") == b"figures"


def test_a_chunk_that_claims_to_be_huge_takes_no_memory() -> None:
    file = seal(b"figures")
    assert refuses(file[:HEADER] + b"\xff\xff\xff\xff" + file[HEADER + 4 :])


def test_the_same_file_never_looks_the_same_twice() -> None:
    assert seal(b"figures") != seal(b"figures")


def test_a_signature_is_of_one_text_under_one_name_and_key() -> None:
    signature = sign(KEYS, "manifest", b"{}")
    assert signature == sign(KEYS, "manifest", b"{}")
    assert signature != sign(KEYS, "manifest", b"{} ")
    assert signature != sign(KEYS, "other", b"{}")
    assert signature != sign(Keyring(bytes(32)), "manifest", b"{}")
