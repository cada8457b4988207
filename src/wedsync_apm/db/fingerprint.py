"""What our part of the schema looks like, in words that compare: how drift is found.

The fingerprint is recorded in the transaction of each migration; `verify` compares the live schema
with it. What differed before a migration and was not touched by it goes on differing afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from wedsync_apm.db.migrations import Creations, Migration, creations
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

OwnerConnection = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Drift:
    """How the live schema differs from the one that the migrations left; names of objects."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def recorded(cx: OwnerConnection) -> dict[str, str]:
    """The fingerprint that the last migration left."""
    return {row["object"]: row["definition"] for row in cx.execute(Q.list_fingerprints)}


def record(cx: OwnerConnection, lines: Mapping[str, str], former: Mapping[str, str]) -> None:
    """Makes these lines the recorded fingerprint, where `former` was."""
    fresh = {name: line for name, line in lines.items() if former.get(name) != line}
    gone = list(former.keys() - lines.keys())
    if fresh or gone:
        cx.execute(
            Q.update_fingerprints,
            {"gone": gone, "objects": list(fresh), "definitions": list(fresh.values())},
        )


def take_fingerprint(cx: OwnerConnection, names: Creations) -> dict[str, str]:
    """The live schema as `object -> definition`, as far as it is ours by these names."""
    row = cx.execute(Q.use_search_path, {"path": ""}).fetchone()
    lines = cx.execute(
        Q.take_fingerprint,
        {"functions": names.functions, "types": names.types, "attached": names.attached},
    ).fetchall()
    cx.execute(Q.use_search_path, {"path": row["path"] if row else ""})
    return {line["object"]: line["definition"] for line in lines}


def compare(former: Mapping[str, str], live: Mapping[str, str]) -> Drift:
    """What is in one fingerprint and not, or not so, in the other."""
    return Drift(
        added=tuple(sorted(live.keys() - former.keys())),
        removed=tuple(sorted(former.keys() - live.keys())),
        changed=tuple(
            sorted(name for name in live.keys() & former.keys() if live[name] != former[name])
        ),
    )


class FingerprintKeeper:
    """Records the schema after each file of a run, without approving drift that was there before.

    What one file leaves is what the next one finds, so the schema is read once a file, not twice.
    """

    def __init__(self, known: Sequence[Migration]) -> None:
        self._names = creations(known)
        self._left: dict[str, str] | None = None

    @contextmanager
    def keeping(self, cx: OwnerConnection) -> Iterator[None]:
        """Around the statements of one file, in its transaction."""
        former = recorded(cx)
        before = take_fingerprint(cx, self._names) if self._left is None else self._left
        yield
        after = take_fingerprint(cx, self._names)
        lines = dict(after)
        for name in former.keys() | before.keys():
            drifted = former.get(name) != before.get(name)
            if drifted and before.get(name) == after.get(name):
                if name in former:
                    lines[name] = former[name]
                else:
                    lines.pop(name, None)
        record(cx, lines, former)
        self._left = after
