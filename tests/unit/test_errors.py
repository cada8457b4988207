import re
from http import HTTPStatus
from pathlib import Path

import psycopg
import pytest

from wedsync_apm import errors
from wedsync_apm.db.pool import translate, wrap_database_errors


def _classes() -> list[type[errors.WedSyncError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.WedSyncError)
    ]


@pytest.mark.parametrize("kind", _classes(), ids=lambda kind: kind.__name__)
def test_each_error_has_words_a_title_and_a_real_status(kind: type[errors.WedSyncError]) -> None:
    error = kind()
    assert error.detail
    assert "\n" not in error.detail
    assert str(error) == error.detail
    assert kind("no").detail == "no"
    assert kind.title
    HTTPStatus(kind.status)


def test_the_drawn_tree_is_complete() -> None:
    drawn = set(re.findall(r"── (\w+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__ for kind in _classes()} - {"WedSyncError"}


def test_what_means_nothing_to_people_stays_the_drivers() -> None:
    with pytest.raises(psycopg.errors.SyntaxError), wrap_database_errors():
        raise psycopg.errors.SyntaxError("defect")


@pytest.mark.parametrize("kind", [psycopg.OperationalError, psycopg.InterfaceError])
def test_a_lost_connection_is_database_away(kind: type[psycopg.Error]) -> None:
    with pytest.raises(errors.DatabaseAway) as caught, wrap_database_errors():
        raise kind("server closed the connection unexpectedly")
    assert isinstance(caught.value.__cause__, kind)
    assert caught.value.retry_after > 0


def test_our_own_errors_pass_unchanged() -> None:
    mine = errors.NotFound("gone")
    with pytest.raises(errors.NotFound) as caught, wrap_database_errors():
        raise mine
    assert caught.value is mine


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (psycopg.errors.DiskFull, errors.StorageFull),
        (psycopg.errors.AdminShutdown, errors.DatabaseAway),
        (psycopg.errors.CannotConnectNow, errors.DatabaseAway),
        (psycopg.errors.TooManyConnections, errors.DatabaseAway),
        (psycopg.errors.QueryCanceled, errors.DatabaseAway),
        (psycopg.errors.LockNotAvailable, errors.DatabaseAway),
        (psycopg.errors.InsufficientPrivilege, errors.Forbidden),
        (psycopg.errors.UniqueViolation, errors.Conflict),
        (psycopg.errors.ForeignKeyViolation, errors.NotValid),
        (psycopg.errors.CheckViolation, errors.NotValid),
        (psycopg.errors.InvalidTextRepresentation, errors.NotValid),
    ],
)
def test_each_sqlstate_has_its_meaning(
    state: type[psycopg.Error], kind: type[errors.WedSyncError]
) -> None:
    assert isinstance(translate(state("x")), kind)


def test_every_code_that_our_sql_raises_has_a_meaning() -> None:
    source = Path(errors.__file__).parent
    raised = {
        code
        for file in source.rglob("*.sql")
        for code in re.findall(r"errcode = '(AP\w+)'", file.read_text(encoding="utf-8"))
    }
    assert raised
    for code in raised:
        made = type("Raised", (psycopg.DatabaseError,), {"sqlstate": code})("x")
        assert translate(made) is not None, code
