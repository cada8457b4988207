"""The queue's file format: whatever happens to a file, only what was written is read."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from wedsync_apm.client import journal
from wedsync_apm.client.samples import Packed

BATCHES = st.lists(
    st.builds(Packed, st.integers(0, 2**32 - 1), st.binary(max_size=60)), min_size=1, max_size=4
)


def read_all(content: bytes) -> list[Packed]:
    file = io.BytesIO(content)
    found = []
    for record in journal.scan(io.BytesIO(content)):
        file.seek(record.offset)
        read = journal.read(file)
        assert read is not None
        assert read[1] == record.end - record.offset
        found.append(read[0])
    return found


@given(BATCHES)
def test_what_was_written_is_read(batches: list[Packed]) -> None:
    assert read_all(b"".join(map(journal.encode, batches))) == batches


@settings(deadline=None)
@given(BATCHES)
def test_torn_at_any_byte_all_that_is_whole_is_read_and_nothing_else(batches: list[Packed]) -> None:
    records = list(map(journal.encode, batches))
    content = b"".join(records)
    for length in range(len(content) + 1):
        whole = 0
        while whole < len(records) and sum(map(len, records[: whole + 1])) <= length:
            whole += 1
        assert read_all(content[:length]) == batches[:whole]


@settings(deadline=None)
@given(BATCHES, st.binary(min_size=1, max_size=40))
def test_torn_at_any_byte_with_rubbish_behind(batches: list[Packed], rubbish: bytes) -> None:
    content = b"".join(map(journal.encode, batches))
    for length in range(len(content)):
        found = read_all(content[:length] + rubbish)
        assert found == batches[: len(found)]


@settings(deadline=None)
@given(BATCHES, st.data())
def test_a_damaged_byte_never_gives_what_was_not_written(
    batches: list[Packed], data: st.DataObject
) -> None:
    content = bytearray(b"".join(map(journal.encode, batches)))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    found = read_all(bytes(content))
    assert found == batches[: len(found)]
    assert len(found) < len(batches)


@given(st.binary(max_size=200))
def test_any_file_can_be_read(content: bytes) -> None:
    read_all(content)
