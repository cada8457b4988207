"""Data keys in the database: one an organization, whoever asks first, and through a rotation."""

import asyncio
from uuid import uuid4

import pytest

from tests.support.outbox import KEYRING, world_of
from tests.support.postgres import Database
from wedsync_apm.db.pool import open_pool, wrap_database_errors
from wedsync_apm.errors import NotValid
from wedsync_apm.organizations.secrets import Keyring, Place, SecretUnreadable
from wedsync_apm.organizations.vault import open_data_key, rewrap_data_keys


async def test_whoever_asks_first_all_get_the_same_key(database: Database) -> None:
    pool = await open_pool(database.api, name="api", max_size=4, wait=True)
    async with world_of(database) as world, pool:
        organization_id = uuid4()
        await world.run(
            "insert into public.organizations (id, name) values (%(id)s, 'Fern')",
            id=organization_id,
        )

        async def fingerprint() -> str:
            async with pool.connection() as cx:
                key = await open_data_key(cx, KEYRING, organization_id)
            return key.fingerprint("the same")

        found = await asyncio.gather(*(fingerprint() for _ in range(8)))
        assert len(set(found)) == 1


async def test_an_unknown_organization_gets_no_key(database: Database) -> None:
    pool = await open_pool(database.api, name="api", wait=True)
    async with pool:
        with pytest.raises(NotValid), wrap_database_errors():
            async with pool.connection() as cx:
                await open_data_key(cx, KEYRING, uuid4())


async def test_a_rotation_keeps_every_secret_readable(database: Database) -> None:
    engine = await open_pool(database.engine, name="engine", wait=True)
    async with world_of(database) as world, engine:
        organizations = [await world.organization(name) for name in ("A", "B", "C")]
        sealed = {}
        async with engine.connection() as cx:
            for organization_id in organizations:
                place = Place(organization_id, "t", "c", organization_id)
                key = await open_data_key(cx, KEYRING, organization_id)
                sealed[place] = key.seal(place, f"secret of {organization_id}")

        with pytest.raises(SecretUnreadable):
            async with engine.connection() as cx:
                await rewrap_data_keys(cx, Keyring(b"n" * 32, previous=[b"x" * 32]))

        turning = Keyring(b"n" * 32, previous=[b"t" * 32])
        async with engine.connection() as cx:
            assert await rewrap_data_keys(cx, turning) == 3
        async with engine.connection() as cx:
            assert await rewrap_data_keys(cx, turning) == 0
            for place, ciphertext in sealed.items():
                key = await open_data_key(cx, Keyring(b"n" * 32), place.organization_id)
                assert key.unseal(place, ciphertext) == f"secret of {place.organization_id}"
            with pytest.raises(SecretUnreadable):
                await open_data_key(cx, KEYRING, organizations[0])
