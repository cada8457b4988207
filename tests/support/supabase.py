"""A PostgreSQL prepared as Supabase prepares it, with a pooler in transaction mode before it.

A hosted project is more than this; what is copied is what a migration and RLS run into: who owns
what, who is no superuser, and what default privileges hand to everybody.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support.pgbouncer import pooler
from tests.support.postgres import Database, PostgresServer, running

FOLDER: Final = Path(__file__).parent
ROLES: Final = (FOLDER / "supabase_roles.sql").read_text(encoding="utf-8")
DATABASE: Final = (FOLDER / "supabase_database.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class PooledDatabase(Database):
    """Its logins come through the pooler; `owner` is the direct address."""

    pooler_port: int = 0

    def login(self, role: str) -> str:
        return make_conninfo(
            "",
            host="127.0.0.1",
            port=self.pooler_port,
            dbname=self.name,
            user=role,
            password=self.passwords[role],
        )


class SupabaseServer(PostgresServer):
    """`postgres` migrates and owns the database, and is no superuser; `supabase_admin` is."""

    pooler_port: int = 0

    def __init__(
        self,
        folder: Path,
        *,
        pg_bin: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, owner="postgres", pg_bin=pg_bin, options=options)

    @property
    def superuser(self) -> str:
        return self.embedded.conninfo(dbname="postgres", user="supabase_admin")

    def prepare_cluster(self) -> None:
        """Roles as on Supabase; the server's first superuser becomes supabase_admin."""
        with psycopg.connect(self.embedded.conninfo(dbname="postgres"), autocommit=True) as cx:
            name, password = "setting_up", secrets.token_urlsafe(12)
            cx.execute(
                sql.SQL("create role {} superuser login password {}").format(
                    sql.Identifier(name), sql.Literal(password)
                )
            )
        builder = self.embedded.conninfo(dbname="postgres", user=name, password=password)
        # One password for both: the next start asks for `postgres` by the first one's.
        self._owner_password = str(conninfo_to_dict(self.embedded.conninfo())["password"])
        with psycopg.connect(builder, autocommit=True) as cx:
            cx.execute(ROLES.encode())
            cx.execute(
                sql.SQL("alter role postgres password {}").format(sql.Literal(self._owner_password))
            )
        self.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))

    def create_database(self, *, template: str = "template0", name: str | None = None) -> str:
        name = super().create_database(template=template, name=name)
        if template == "template0":
            url = self.embedded.conninfo(dbname=name, user="supabase_admin")
            with psycopg.connect(url, autocommit=True) as cx:
                cx.execute(DATABASE.encode())
        return name

    @contextmanager
    def clone(self) -> Iterator[Database]:
        with super().clone() as database:
            yield PooledDatabase(
                database.name, database.owner, database.passwords, self.pooler_port
            )

    def _twin(self, folder: Path) -> Self:
        return type(self)(folder, pg_bin=self._pg_bin)


@contextmanager
def supabase_server(*, pg_bin: Path | None = None) -> Iterator[SupabaseServer]:
    """Server and pooler for as long as the block runs."""
    with (
        running(partial(SupabaseServer, pg_bin=pg_bin)) as (server, folder),
        pooler(server.embedded.port, folder, server.passwords) as port,
    ):
        server.pooler_port = port
        yield server
