"""`POST /api/beta/sketches`: what the Agent made of distributions, as SketchPayload.

A sketch becomes the same eight series as raw values do: count, sum, least, greatest and mean as the
Agent says, quantiles from its bins.
"""

import math
from typing import Final

from google.protobuf.message import DecodeError

from wedsync_apm.errors import MalformedBody
from wedsync_apm.ingest import model
from wedsync_apm.ingest.columns import Refused
from wedsync_apm.ingest.datadog.reader import Reader, milliseconds
from wedsync_apm.ingest.distribution import SUFFIXES, Distribution
from wedsync_apm.ingest.model import Arrival, Decoded
from wedsync_apm.ingest.wire import datadog_pb2 as wire

LAST_KEY: Final = 32767
"""A bin is a 16-bit integer in the Agent."""


async def decode_sketches(body: bytes, arrival: Arrival) -> Decoded:
    """A sketch that cannot be read costs only itself."""
    try:
        items = wire.SketchPayload.FromString(body).sketches
    except DecodeError as exc:
        raise MalformedBody("The body is no SketchPayload.") from exc
    arrival.limits.check_samples(len(items))
    reader = Reader(arrival)
    for position, item in enumerate(items):
        await reader.pause()
        count = 1
        try:
            one = _parsed(item)
            count = len(one.dogsketches) or 1
            reader.expect(len(SUFFIXES) * count)
            if one.distributions:
                raise Refused(
                    model.UNSUPPORTED, "distributions", "is the form of Agents before 6.0"
                )
            handles = reader.distribution_series(one.metric, one.tags, host=one.host)
        except Refused as refused:
            reader.columns.refuse(refused, position=position, count=count)
            continue
        for place, sketch in enumerate(one.dogsketches):
            await reader.pause(1 + len(sketch.k))
            field = f"dogsketches[{place}]"
            try:
                at = milliseconds(sketch.ts, field)
                reader.columns.check_time(at, field)
                distribution = _distribution(sketch, field)
                reader.distribution(one.metric, handles, at, distribution, position=position)
            except Refused as refused:
                reader.columns.refuse(refused, position=position)
    return reader.finish()


def _parsed(item: bytes) -> wire.Sketch:
    try:
        return wire.Sketch.FromString(item)
    except DecodeError:
        raise Refused(model.INVALID, "sketches", "cannot be decoded") from None


def _distribution(sketch: wire.Dogsketch, field: str) -> Distribution:
    keys, times = sketch.k, sketch.n
    if sketch.cnt <= 0 or not keys or len(keys) != len(times):
        raise Refused(model.INVALID, field, "has no values, or not one count for each bin")
    if max(map(abs, keys)) > LAST_KEY:
        raise Refused(model.INVALID, field, "has a bin that no Agent knows")
    if not sum(times):
        raise Refused(model.INVALID, field, "has bins without values")
    if not all(map(math.isfinite, (sketch.sum, sketch.min, sketch.max))):
        raise Refused(model.NOT_FINITE, field, "has figures that are not finite")
    if sketch.min > sketch.max:
        raise Refused(model.INVALID, field, "has a least value above its greatest")
    return Distribution.of_sketch(
        zip(keys, times, strict=True),
        count=sketch.cnt,
        total=sketch.sum,
        least=sketch.min,
        greatest=sketch.max,
    )
