"""`org`, `user`, `operator`, `key` and `token`."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from wedsync_apm.administration import furnish, store
from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    emit,
    group,
    reached,
    settings_for,
)
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.errors import ConfigurationError, FieldError, NotValid
from wedsync_apm.organizations.tokens import load_tokens
from wedsync_apm.rules.starter import starter_rules
from wedsync_apm.types import KeyScope, OperatorRole, Role

organizations = group("Organizations: the tenants.")
users = group("People who sign in here (standalone mode).")
operators = group("The platform's own engineers.")
keys = group("API keys.")
tokens = group("Access tokens for scripts and tests.")

Email = Annotated[str, typer.Option("--email", help="The person's address.")]
Password = Annotated[
    str | None,
    typer.Option(
        "--password",
        help="Left out: read from standard input if that is no terminal, else made and printed.",
        show_default=False,
    ),
]


@contextmanager
def administration(
    data_dir: Path | None, database_url: str | None = None
) -> Iterator[store.AdminConnection]:
    """A connection for a command that changes people, organizations or keys."""
    settings = settings_for(data_dir, database_url)
    with reached(settings), store.connect(role_conninfo(settings, "apm_engine")) as cx:
        yield cx


@organizations.command("create")
def create_organization(
    *,
    name: Annotated[str, typer.Option("--name", help="What people call it.")],
    timezone: Annotated[str, typer.Option("--timezone", help="Such as Europe/London.")],
    vendor_type: Annotated[
        str, typer.Option("--vendor-type", help="Such as florist, photographer or venue.")
    ],
    organization_id: Annotated[
        UUID | None, typer.Option("--id", help="Left out: a new one.", show_default=False)
    ] = None,
    with_rules: Annotated[
        bool, typer.Option("--starter-rules", help="With the usual alert rules of its type.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make an organization and print its id."""
    with administration(data_dir, database_url) as cx:
        created = store.create_organization(
            cx,
            name=name,
            time_zone=timezone,
            vendor_type=vendor_type,
            organization_id=organization_id,
        )
        if with_rules:
            furnish.put_rules(cx, created, starter_rules(vendor_type))
    emit({"id": created, "name": name}, as_json=as_json, text=str(created))


@organizations.command("list")
def list_organizations(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """List all organizations."""
    with administration(data_dir, database_url) as cx:
        found = store.list_organizations(cx)
    emit(found, as_json=as_json)


@users.command("create")
def create_user(
    *,
    email: Email,
    organization: Annotated[
        UUID | None,
        typer.Option("--organization", help="Where the person belongs.", show_default=False),
    ] = None,
    role: Annotated[Role, typer.Option("--role", help="What the person may do there.")] = (
        Role.MEMBER
    ),
    name: Annotated[
        str | None, typer.Option("--name", help="Left out: the address.", show_default=False)
    ] = None,
    password: Password = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a person; one that exists is let into a further organization."""
    with administration(data_dir, database_url) as cx:
        if organization is not None:
            store.require_organization(cx, organization)
        person = store.find_user(cx, email)
        chosen, is_shown = None, False
        if person is None:
            chosen, is_shown = _password(password)
            person = store.create_user(
                cx,
                email=email,
                display_name=name or email,
                password_hash=store.hash_new_password(chosen),
            )
        elif organization is None or password is not None:
            raise NotValid(
                errors=[FieldError("email", f"{email} exists; `user password` sets a password")]
            )
        if organization is not None:
            store.add_member(
                cx,
                user_id=person.id,
                organization_id=organization,
                role=role,
                display_name=person.display_name,
            )
    _show_person(person.id, person.email, chosen if is_shown else None, as_json)


@users.command("password")
def set_password(
    *,
    email: Email,
    password: Password = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Set a new password; ends all sessions of the person."""
    chosen, is_shown = _password(password)
    with administration(data_dir, database_url) as cx:
        person = store.set_password(cx, email=email, password_hash=store.hash_new_password(chosen))
    _show_person(person.id, person.email, chosen if is_shown else None, as_json)


@users.command("disable")
def disable_user(
    *,
    email: Email,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Close an account; ends all sessions of the person."""
    with administration(data_dir, database_url) as cx:
        person = store.disable_user(cx, email=email)
    emit(person, as_json=as_json, text=f"{person.email} can no longer sign in")


@operators.command("create")
def create_operator(
    *,
    email: Email,
    role: Annotated[OperatorRole, typer.Option("--role", help="What the person is there for.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Left out: the address.", show_default=False)
    ] = None,
    password: Password = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make an operator, of somebody who signs in already or of somebody new."""
    with administration(data_dir, database_url) as cx:
        person = store.find_user(cx, email)
        chosen, is_shown = None, False
        if person is None:
            chosen, is_shown = _password(password)
            person = store.create_user(
                cx,
                email=email,
                display_name=name or email,
                password_hash=store.hash_new_password(chosen),
            )
        elif password is not None:
            raise NotValid(
                errors=[FieldError("email", f"{email} exists; `user password` sets a password")]
            )
        store.create_operator(cx, user_id=person.id, email=person.email, role=role)
    _show_person(person.id, person.email, chosen if is_shown else None, as_json)


@keys.command("create")
def create_key(
    *,
    scope: Annotated[KeyScope, typer.Option("--scope", help="What the key is for.")],
    organization: Annotated[
        UUID | None, typer.Option("--organization", help="Whose key it is.", show_default=False)
    ] = None,
    platform: Annotated[
        bool,
        typer.Option("--platform", help="For the samples of every organization: ingest or read."),
    ] = False,
    name: Annotated[
        str, typer.Option("--name", help="How lists show it.")
    ] = "made at the command line",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print its secret, once."""
    if platform == (organization is not None):
        raise ConfigurationError("Give either --organization ID or --platform.")
    if platform and scope is KeyScope.ADMIN:
        raise ConfigurationError(
            "A platform key takes samples in or reads them: --scope ingest or --scope read."
        )
    with administration(data_dir, database_url) as cx:
        made = store.create_key(cx, name=name, scope=scope, organization_id=organization)
    emit(made, as_json=as_json, text=made.secret)


@tokens.command("create")
def create_token(
    *,
    user: Annotated[str, typer.Option("--user", help="The person's address.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print an access token for a person, as sign-in would give it."""
    settings = settings_for(data_dir, database_url)
    with administration(data_dir, database_url) as cx:
        person = store.require_user(cx, user)
    if person.is_disabled:
        raise NotValid(errors=[FieldError("user", f"{user} is disabled")])
    token = load_tokens(settings).issue(
        person.id,
        name=person.display_name,
        email=person.email,
        generation=person.token_generation,
    )
    emit(
        {"access_token": token, "token_type": "Bearer", "user_id": person.id},
        as_json=as_json,
        text=token,
    )


def _password(given: str | None) -> tuple[str, bool]:
    """The password, and whether it was made here and has to be shown."""
    if given is not None:
        return given, False
    if not sys.stdin.isatty():
        line = sys.stdin.readline().rstrip("\n")
        if line:
            return line, False
    return secrets.token_urlsafe(12), True


def _show_person(person_id: UUID, email: str, password: str | None, as_json: bool) -> None:
    facts = {"id": person_id, "email": email}
    text = f"{person_id} {email}"
    if password is not None:
        facts |= {"password": password}
        text += f"\npassword: {password}"
    emit(facts, as_json=as_json, text=text)
