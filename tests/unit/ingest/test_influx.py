"""Influx line protocol: what is taken, what is refused, and that neither touches the other."""

import time
import tracemalloc
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wedsync_apm.errors import NotValid, TooLarge
from wedsync_apm.ingest import influx, model
from wedsync_apm.ingest.influx import KnownPoints
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.line_protocol import split_lines
from wedsync_apm.ingest.model import Arrival, Decoded, IngestGrant
from wedsync_apm.metrics.model import SeriesDirectory, SeriesKey

NOW = 1_795_000_000_000
ORGANIZATION = UUID("8c1f6e0a-93a5-4d0b-9a57-5ad1b1f3c001")
OWN = IngestGrant(ORGANIZATION)
PLATFORM = IngestGrant(None)
AT = f"{NOW}000000"


async def decode(
    body: str | bytes,
    *,
    precision: str = "",
    database: str = "",
    grant: IngestGrant = OWN,
    limits: IngestLimits | None = None,
    directory: SeriesDirectory | None = None,
) -> Decoded:
    raw = body.encode() if isinstance(body, str) else body
    directory = SeriesDirectory() if directory is None else directory
    arrival = Arrival(grant, directory, limits or IngestLimits(), NOW)
    return await influx.decoder(precision, database)(raw, arrival)


def keys(decoded: Decoded) -> list[SeriesKey]:
    return [decoded.batch.directory.keys[handle] for handle in decoded.batch.series]


def samples(decoded: Decoded) -> dict[str, float]:
    """Values by the metric's name."""
    names = [key.metric_name for key in keys(decoded)]
    return dict(zip(names, decoded.batch.values.tolist(), strict=True))


def reasons(decoded: Decoded) -> list[tuple[int | None, str]]:
    return [(error.index, error.field) for error in decoded.rejections.listed]


async def test_a_field_is_a_sample() -> None:
    line = f"cpu,host=h1,service=shop usage=1.5,load=2i,up=t,big=18446744073709551615u {AT}"
    decoded = await decode(line, database="telegraf")
    assert samples(decoded) == {"cpu_usage": 1.5, "cpu_load": 2, "cpu_up": 1, "cpu_big": 2.0**64}
    assert decoded.batch.timestamps_ms.tolist() == [NOW] * 4
    assert keys(decoded)[0] == SeriesKey(
        ORGANIZATION,
        "shop",
        "cpu_usage",
        (("db", "telegraf"), ("host", "h1"), ("service", "shop")),
    )
    assert decoded.batch.source == "influx"
    assert decoded.rejections.count == 0


async def test_a_tag_of_the_line_stays_beside_the_database() -> None:
    (key,) = keys(await decode(f"m,db=own f=1 {AT}", database="other"))
    assert key.tags == (("db", "own"),)
    (key,) = keys(await decode(f"m f=1 {AT}"))
    assert key.tags == ()


@pytest.mark.parametrize(
    ("precision", "stamp"),
    [
        ("", NOW * 1_000_000 + 999_999),
        ("n", NOW * 1_000_000),
        ("ns", NOW * 1_000_000),
        ("u", NOW * 1_000 + 999),
        ("us", NOW * 1_000),
        ("ms", NOW),
        ("s", NOW // 1_000),
        ("m", NOW // 60_000),
        ("h", NOW // 3_600_000),
    ],
)
async def test_precisions(precision: str, stamp: int) -> None:
    unit = {"s": 1_000, "m": 60_000, "h": 3_600_000}.get(precision, 1)
    decoded = await decode(f"m f=1 {stamp}", precision=precision)
    assert decoded.batch.timestamps_ms.tolist() == [NOW // unit * unit]


async def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(NotValid, match="invalid precision 'd'"):
        await decode("m f=1", precision="d")


async def test_without_a_time_it_is_that_of_arrival_and_each_has_its_own() -> None:
    directory = SeriesDirectory()
    decoded = await decode("m a=1,b=2\nm a=3,b=4", directory=directory)
    assert decoded.batch.timestamps_ms.tolist() == [NOW, NOW, NOW + 1, NOW + 1]
    assert (await decode("m a=5", directory=directory)).batch.timestamps_ms.tolist() == [NOW + 2]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("1", 1.0),
        ("1.0", 1.0),
        ("-1.5e-3", -0.0015),
        ("+1", 1.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("0", 0.0),
        ("-5i", -5.0),
        ("9223372036854775807i", 2.0**63),
        ("-9223372036854775808i", -(2.0**63)),
        ("0u", 0.0),
        *[(raw, 1.0) for raw in ("t", "T", "true", "True", "TRUE")],
        *[(raw, 0.0) for raw in ("f", "F", "false", "False", "FALSE")],
    ],
)
async def test_values(raw: str, value: float) -> None:
    directory = SeriesDirectory()
    for _ in range(2):  # the second time the series is known
        decoded = await decode(f"m f={raw} {AT}", directory=directory)
        assert samples(decoded) == {"m_f": value}


@pytest.mark.parametrize(
    "raw",
    [
        "", "x", "1x", "nan", "NaN", "inf", "-inf", "Infinity", "1e999", "1_000", "1_0i", "i", "u",
        "1.5i", "-1u", "9223372036854775808i", "18446744073709551616u", "0x10", "tRUE", "--1",
        f"{'9' * 5000}i", '"text', 'te"xt"',
    ],
)  # fmt: skip
async def test_a_bad_value_costs_only_its_field(raw: str) -> None:
    directory = SeriesDirectory()
    for body in (f"m f=1,g=2 {AT}", f"m f={raw},g=2 {AT}\nm f=7 {AT}"):
        decoded = await decode(body, directory=directory)
    found = samples(decoded)
    assert found["m_f"] == 7
    assert decoded.rejections.count >= 1
    assert decoded.rejections.listed[0].index == 0
    if '"' not in raw:
        assert found == {"m_g": 2, "m_f": 7}
        assert decoded.rejections.count == 1


async def test_texts_are_counted_and_named_once() -> None:
    body = f'm s="a",f=1 {AT}\nm s="b b, c=d",t="\\"x\\"" {AT}\nm f=2,s="" {NOW + 1}000000'
    decoded = await decode(body)
    assert decoded.batch.values.tolist() == [1, 2]
    assert decoded.rejections.count == 4
    assert reasons(decoded) == [(0, "s")]
    assert list(decoded.rejections.by_reason) == [(ORGANIZATION, model.UNSUPPORTED)]


@pytest.mark.parametrize(
    ("line", "name", "tags"),
    [
        (r"my\ m\,x,a\ b\,c\=d=e\ f\,g\=h i\ j\,k\=l=1", "my m,x_i j,k=l", {"a b,c=d": "e f,g=h"}),
        (r"a\=b f=1", r"a\=b_f", {}),
        (r"m,path=C:\Windows f=1", "m_f", {"path": r"C:\Windows"}),
        (r"m,a=b\\ f=1", "m_f", {"a": "b\\\\"}),
        ('m,a="q" f=1', "m_f", {"a": '"q"'}),
        ("  m,a=b   f=1  ", "m_f", {"a": "b"}),
        ("m,größe=äöü\N{ROCKET} f=1", "m_f", {"größe": "äöü\N{ROCKET}"}),
        ("m f=1\r", "m_f", {}),
        ("m,a=b=c f=1", "m_f", {"a": "b=c"}),
    ],
)
async def test_names_are_unescaped(line: str, name: str, tags: dict[str, str]) -> None:
    directory = SeriesDirectory()
    for _ in range(2):
        decoded = await decode(line, directory=directory)
        assert [(key.metric_name, dict(key.tags)) for key in keys(decoded)] == [(name, tags)]


async def test_a_text_may_hold_ends_of_lines() -> None:
    body = f'm s="one\ntwo=\\"\n",f=1 {AT}\nm f=2,s="#\n# x" {NOW + 1}000000\n\n# no "\nm f=3 1'
    decoded = await decode(body)
    assert decoded.batch.values.tolist() == [1, 2]
    assert decoded.batch.timestamps_ms.tolist() == [NOW, NOW + 1]
    assert reasons(decoded) == [(0, "s"), (4, "timestamp")]


async def test_comments_and_empty_lines_are_nothing() -> None:
    decoded = await decode("# a comment\n\n   \n\t# m f=1\nm f=1\n#\n")
    assert samples(decoded) == {"m_f": 1}
    assert decoded.rejections.count == 0
    for nothing in ("", "\n", "#", "\r\n"):
        assert (await decode(nothing)).rejections.count == 0


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("m", 1),
        ("m ", 1),
        ("m f", 1),
        ("m f=1 x", 1),
        ("m f=1,g=2 1.5", 2),
        ("m f=1 1 2", 1),
        ("m f=1 1_0", 1),
        (f"m f=1 {'9' * 30}", 1),
        (f"m f=1 {'9' * 5000}", 1),
        (",a=b f=1", 1),
        ("m,a f=1", 1),
        ("m,a= f=1", 1),
        ("m,=b f=1", 1),
        ("m,a=b,a=c f=1,g=2", 2),
        ("m, f=1", 1),
        ("m =1", 1),
        ("m f=1,", 1),
        ("m f==1", 1),
        ("m f=1,=2", 1),
        (b"m,a=\xff f=1", 1),
        (b"m \xff=1", 1),
        (b"\xff f=1", 1),
        ("m,a=x\0y f=1", 1),
        (f"{'m' * 1025} f=1", 1),
        (f"m,{'a' * 129}=b f=1", 1),
        ("m," + ",".join(f"t{n}=x" for n in range(65)) + " f=1", 1),
        ("m," + ",".join(f"t{n}=x" for n in range(5000)) + " f=1", 1),
        (f"m f=1 {NOW - 8 * 86_400_000}000000", 1),
        (f"m f=1 {NOW + 86_400_000}000000", 1),
        ("m f=1 -9223372036854775808", 1),
        ('m f="open', 1),
    ],
)
async def test_a_bad_line_costs_only_itself(line: str | bytes, count: int) -> None:
    raw = line.encode() if isinstance(line, str) else line
    good = f"g f=1 {AT}".encode()
    decoded = await decode(b"\n".join((good, good, raw)) + b"\n" + good.replace(b"=1", b"=2"))
    assert decoded.batch.values.tolist() in ([1, 1, 2], [1, 1, 1, 2])  # "f=1," has a good field
    assert decoded.rejections.count == count
    assert decoded.rejections.listed[0].index == 2
    assert len(str(decoded.rejections.listed)) < 500


async def test_a_platform_key_names_the_tenant_by_tag() -> None:
    body = f'm,organization_id={ORGANIZATION},a=b f=1,s="x" {AT}\nm f=1,g=2 {AT}\n'
    body += f"m,organization_id=me f=1 {AT}"
    for decoded in (await decode(body, grant=PLATFORM), await decode(body, grant=PLATFORM)):
        assert keys(decoded) == [SeriesKey(ORGANIZATION, "default", "m_f", (("a", "b"),))]
        assert decoded.rejections.count == 4
        assert (ORGANIZATION, model.UNSUPPORTED) in decoded.rejections.by_reason


async def test_the_same_line_of_two_tenants_and_two_databases_is_of_four_series() -> None:
    directory, grants = SeriesDirectory(), (OWN, IngestGrant(uuid4()))
    found = {
        keys(await decode(f"m f=1 {AT}", grant=grant, database=database, directory=directory))[0]
        for grant in grants
        for database in ("one", "two")
        for _ in range(2)
    }
    assert len(found) == len(directory) == 4


async def test_too_many_fields_are_too_large_before_they_are_read() -> None:
    limits = IngestLimits(samples=10)
    for body in (
        "m " + ",".join(f"f{n}=1" for n in range(11)),
        "\n".join("m f=1" for _ in range(11)),
        "\n" * 11,
        'm s="",' + ",".join(f"f{n}=1" for n in range(11)),
    ):
        with pytest.raises(TooLarge):
            await decode(body, limits=limits)
    assert len((await decode("m " + ",".join(f"f{n}=1" for n in range(10)), limits=limits)).batch)


async def test_a_shuffling_sender_fills_no_memory() -> None:
    directory = SeriesDirectory()
    known = directory.companion(KnownPoints, lambda: KnownPoints(most_bytes=20_000))
    held = []
    for n in range(200):
        await decode(f'm,a={n} s="text" {AT}', directory=directory)
        held.append(known._held)
    assert max(held) < 22_000
    assert len(directory) == 0


@pytest.mark.parametrize(
    "body",
    [
        b'm f="' + b"\\" * 3_000_000,
        b'm f="' + b'\\"' * 1_500_000,
        b'm f="x\n' * 90_000,
        b'm f="\n",f=' * 90_000,
        b"\\" * 3_000_000,
        b"m" + b",a=b" * 700_000 + b" f=1",
        b"m," + b"=" * 3_000_000 + b" f=1",
        b"m " * 1_500_000,
        b'"' * 3_000_000,
        b'="' * 1_500_000,
    ],
    ids=range(10),
)
async def test_no_body_takes_time_or_memory_out_of_proportion(body: bytes) -> None:
    started = time.process_time()
    tracemalloc.start()
    try:
        decoded = await decode(body)
        assert not len(decoded.batch)
    except TooLarge:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 40 * len(body)
    assert time.process_time() - started < 10


names = st.text(st.characters(exclude_characters="\0\n\r\\", codec="utf-8"), min_size=1, max_size=4)
numbers = st.floats(allow_nan=False, allow_infinity=False)
points = st.lists(
    st.tuples(
        names.filter(lambda name: name[0] not in '# \t"'),
        st.dictionaries(names, names.filter(lambda value: value.strip() == value), max_size=3),
        st.dictionaries(
            names,
            numbers | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.text(max_size=6),
            min_size=1,
            max_size=4,
        ),
        st.integers(NOW - 1000, NOW + 1000),
    ),
    max_size=5,
)


def escaped(text: str, characters: str) -> str:
    return "".join(f"\\{one}" if one in characters else one for one in text)


def written(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value}i" if isinstance(value, int) else repr(value)


@given(points)
@settings(max_examples=200)
async def test_what_a_generator_writes_is_what_is_read(
    content: list[tuple[str, dict[str, str], dict[str, float | str | bool], int]],
) -> None:
    lines, expected, texts = [], [], 0
    for measurement, tags, fields, at in content:
        key = escaped(measurement, ", ")
        key += "".join(
            f",{escaped(name, ',= ')}={escaped(value, ',= ')}" for name, value in tags.items()
        )
        written_fields = ",".join(
            f"{escaped(name, ',= ')}={written(value)}" for name, value in fields.items()
        )
        lines.append(f"{key} {written_fields} {at}")
        for name, value in fields.items():
            if isinstance(value, str):
                texts += 1
            else:
                expected.append((f"{measurement}_{name}", tags, at, float(value)))
    directory = SeriesDirectory()
    for _ in range(2):
        decoded = await decode("\n".join(lines), precision="ms", directory=directory)
        columns = zip(
            keys(decoded),
            decoded.batch.timestamps_ms.tolist(),
            decoded.batch.values.tolist(),
            strict=True,
        )
        found = [(key.metric_name, dict(key.tags), at, value) for key, at, value in columns]
        assert found == expected
        assert decoded.rejections.count == texts


@given(st.binary(max_size=300) | st.text('m,=\\" \nf1i#', max_size=60).map(str.encode))
@settings(max_examples=500)
async def test_no_bytes_raise_anything_but_the_named_errors(body: bytes) -> None:
    decoded = await decode(body)
    lines = list(split_lines(body))
    assert b"\n".join(lines) == body
    assert all(0 <= position < len(lines) for position in decoded.positions.tolist())  # type: ignore[union-attr]
