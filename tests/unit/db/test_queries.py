import pytest

from tests.support.queries import Room, rooms
from wedsync_apm.db.queries import parse_queries
from wedsync_apm.errors import ConfigurationError

GOOD = """-- What this file is about.

-- list_things --
-- What the page shows.
select 1
from things

-- claim_things [apm_engine] --
-- The next ones to do.
select 2;
"""


def test_names_roles_purposes_and_statements() -> None:
    queries = parse_queries(GOOD, "room/queries.sql")
    assert list(queries) == ["list_things", "claim_things"]
    assert queries["list_things"].role == "authenticated"
    assert queries["list_things"].purpose == "What the page shows."
    assert queries.list_things.endswith("select 1\nfrom things")
    assert queries["claim_things"].role == "apm_engine"
    assert queries.claim_things.endswith("select 2")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD + "-- list_things --\n-- Again.\nselect 3\n", "list_things is there twice"),
        ("-- List Things --\n-- Why.\nselect 1\n", "cannot read the header"),
        ("-- things --\n-- One word is no verb and noun.\nselect 1\n", "cannot read the header"),
        ("-- list_things [nobody] --\n-- Why.\nselect 1\n", "unknown role 'nobody'"),
        ("-- list_things --\nselect 1\n", "what it is for"),
        ("-- list_things --\n-- Why.\n\n", "has no statement"),
        ("select 1\n" + GOOD, "before the first header"),
    ],
)
def test_what_the_loader_refuses(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse_queries(text, "room/queries.sql")


def test_a_missing_query_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no query named list_other"):
        _ = parse_queries(GOOD, "room/queries.sql").list_other


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.package)
def test_a_room_uses_what_it_defines_and_defines_what_it_uses(room: Room) -> None:
    defined, used = {query.name for query in room.queries()}, room.used()
    assert sorted(defined - used) == [], "defined and never used"
    assert sorted(used - defined) == [], "used and never defined"
