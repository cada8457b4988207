"""The words of messages: a one-tap link in them is for whoever it was sent to."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.sql.conftest import House
from tests.support.people import (
    ADMIN_A,
    MEMBER_A,
    MEMBER_OF_BOTH,
    ORGANIZATION_A,
    OWNER_B,
    SERVICE,
    VIEWER_A,
    Connection,
    Person,
    acting_as,
    connect,
)

LINKS = (
    "Slow. https://apm.example/ack/a-B_9.z~%41 https://apm.example/drill/s3cret"
    " https://apm.example/api/v1/webhooks/push/r3ceipt"
)
MASKED = (
    "Slow. https://apm.example/ack/(masked) https://apm.example/drill/(masked)"
    " https://apm.example/api/v1/webhooks/push/(masked)"
)


@pytest.fixture
def sql(any_house: House) -> Iterator[Connection]:
    with connect(any_house.superuser) as cx:
        yield cx
        cx.rollback()


@pytest.fixture
def messages(sql: Connection) -> dict[UUID, str]:
    """To a member's own address, to a colleague's, and one that lies in the inbox."""
    made = {}
    for name, whose, state in (
        ("own", MEMBER_A.id, "sent"),
        ("colleague's", ADMIN_A.id, "sent"),
        ("inbox", ADMIN_A.id, "inbox"),
    ):
        contact, message = uuid4(), uuid4()
        sql.execute(
            "insert into apm_contact_methods (id, organization_id, user_id, name, channel, address)"
            " values (%s, %s, %s, %s, 'email', 'x@example.com')",
            (contact, ORGANIZATION_A, whose, name),
        )
        sql.execute(
            "insert into apm_deliveries (id, organization_id, contact_method_id, channel, kind, reason, body,"
            " idempotency_key, state) values (%s, %s, %s, 'email', 'test', 'test', %s, %s, %s)",
            (message, ORGANIZATION_A, contact, LINKS, str(message), state),
        )
        made[message] = name
    return made


SEEN = {
    MEMBER_A: {"own": LINKS, "colleague's": MASKED, "inbox": LINKS},
    MEMBER_OF_BOTH: {"own": MASKED, "colleague's": MASKED, "inbox": LINKS},
    ADMIN_A: {"own": MASKED, "colleague's": LINKS, "inbox": LINKS},
    SERVICE: {"own": LINKS, "colleague's": LINKS, "inbox": LINKS},
    VIEWER_A: {},
    OWNER_B: {},
}


@pytest.mark.parametrize("person", SEEN, ids=lambda person: person.name)
def test_who_reads_which_links(sql: Connection, messages: dict[UUID, str], person: Person) -> None:
    with acting_as(sql, person):
        rows = sql.execute(
            "select delivery_id, body from public.apm_delivery_texts(%s)", (list(messages),)
        ).fetchall()
    assert {messages[row["delivery_id"]]: row["body"] for row in rows} == SEEN[person]


def test_nobody_reads_them_from_the_table(sql: Connection, messages: dict[UUID, str]) -> None:
    with acting_as(sql, ADMIN_A):
        found = sql.execute(
            "select id from apm_deliveries where id = any (%s)", (list(messages),)
        ).fetchall()
        assert {row["id"] for row in found} == messages.keys()
        with pytest.raises(psycopg.errors.InsufficientPrivilege), sql.transaction():
            sql.execute("select body from apm_deliveries")
