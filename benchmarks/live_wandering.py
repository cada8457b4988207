"""People who gain and lose memberships all the time, while events happen."""

import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg

from benchmarks.live_changes import Changes, Clients, Told, signer, token_of
from benchmarks.live_clients import Report
from benchmarks.ours import Ours
from benchmarks.workload import vendor_id

SETTLE_SECONDS: Final = 3.0


def wander(
    folder: Path, server: Ours, wanderers: Sequence[tuple[UUID, str]], options: Any
) -> dict[str, Any]:
    """Memberships come and go and tokens end, while events of all their organizations happen.

    Nobody may hear of an event whose commit is in no span, from before a membership was made until
    after it was taken, of his.
    """
    organizations = [vendor_id(options.connections + number) for number in range(10)]
    chance = random.Random(2)  # noqa: S311 - the order of changes
    mine: dict[tuple[int, UUID], list[list[float]]] = defaultdict(list)
    tokens = signer(server)
    short = [
        token if number % 4 else token_of(tokens, person, seconds=10 + number % 20)
        for number, (person, token) in enumerate(wanderers)
    ]
    with psycopg.connect(server.database, autocommit=True) as cx:
        for number, (person, _) in enumerate(wanderers):
            _enter(cx, mine, number, person, chance.choice(organizations))
        clients = Clients(folder, server, short, 1)
        try:
            clients.wait()
            made: dict[str, Told] = {}
            changes = Changes(server.database, organizations, 1.0)
            for _ in range(options.changes):
                number = chance.randrange(len(wanderers))
                person, owner = wanderers[number][0], chance.choice(organizations)
                spans = mine[number, owner]
                if spans and spans[-1][1] == float("inf"):
                    cx.execute(
                        "delete from apm_memberships where user_id = %s and organization_id = %s",
                        (person, owner),
                    )
                    spans[-1][1] = time.monotonic()
                else:
                    _enter(cx, mine, number, person, owner)
                made |= changes.new_check(cx, chance.choice(organizations))
            time.sleep(SETTLE_SECONDS)
            report = clients.report()
        finally:
            clients.end()
    return {"changes": options.changes} | find_leaks(made, report, mine)


def find_leaks(
    made: Mapping[str, Told],
    report: Report,
    mine: Mapping[tuple[int, UUID], Sequence[Sequence[float]]],
) -> dict[str, Any]:
    """What came to somebody who was no member when it was committed."""
    heard = leaked = 0
    for number, name, owner, _ in report.arrivals:
        if owner is None or name not in made:
            continue
        heard += 1
        one = made[name]
        spans = mine.get((number, UUID(owner)), [])
        leaked += not any(begin <= one.after and one.before <= end for begin, end in spans)
    return {
        "events": len(made),
        "heard": heard,
        "leaked": leaked,
        "closed": report.closed,
    }


def _enter(
    cx: psycopg.Connection[Any],
    mine: dict[tuple[int, UUID], list[list[float]]],
    number: int,
    person: UUID,
    owner: UUID,
) -> None:
    mine[number, owner].append([time.monotonic(), float("inf")])
    cx.execute(
        "insert into apm_memberships (organization_id, user_id, role) values (%s, %s, 'MEMBER')"
        " on conflict do nothing",
        (owner, person),
    )
