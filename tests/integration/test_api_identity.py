import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.postgres import Database
from tests.support.serving import PASSWORD, Running, populate, running, settings_for
from wedsync_apm.db.pool import Connection
from wedsync_apm.organizations import store as organizations
from wedsync_apm.organizations.keys import make_key
from wedsync_apm.types import KeyScope


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def sign_in(api: Running, email: str, password: str) -> Any:
    async with api.client() as client:
        return await client.post("/api/v1/auth/login", json={"email": email, "password": password})


async def test_signing_in_gives_a_token_that_works(api: Running) -> None:
    answer = await sign_in(api, "Alice@Example.org", PASSWORD)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["token_type"] == "bearer"
    assert 0 < body["expires_in"] <= 86_400
    async with api.client({"authorization": f"Bearer {body['access_token']}"}) as client:
        me = (await client.get("/api/v1/me")).json()
    assert me["name"] == "Alice"
    assert [one["role"] for one in me["organizations"]] == ["OWNER"]


async def test_an_unknown_account_and_a_wrong_password_look_the_same(api: Running) -> None:
    wrong = await sign_in(api, "alice@example.org", "not it, at all")
    unknown = await sign_in(api, "nobody@example.org", "not it, at all")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.headers["www-authenticate"].startswith("Bearer")


async def test_ten_wrong_passwords_close_the_door_for_a_minute(api: Running) -> None:
    # All at once: the count must not be outrun.
    answers = await asyncio.gather(
        *(sign_in(api, "bob@example.org", f"wrong {n}") for n in range(14))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [401] * 10 + [429] * 4
    right = await sign_in(api, "bob@example.org", PASSWORD)
    assert right.status_code == 429
    assert 1 <= int(right.headers["retry-after"]) <= 60
    # Somebody else, from the same address, is not held up.
    assert (await sign_in(api, "alice@example.org", PASSWORD)).status_code == 200


async def test_a_new_password_and_a_closed_account_end_sessions(
    api: Running, database: Database
) -> None:
    async with api.as_person("bob") as client:
        assert (await client.get("/api/v1/me")).status_code == 200
        with psycopg.connect(database.engine, autocommit=True) as engine:
            engine.execute(
                "update apm_private.users set token_generation = token_generation + 1 "
                "where email = 'bob@example.org'"
            )
        api.composed.services.authenticator.forget()
        ended = await client.get("/api/v1/me")
    assert ended.status_code == 401
    assert ended.json()["detail"] == "The session has ended; sign in again."


async def test_the_platforms_secret_and_another_process_secret_differ(
    api: Running, database: Database, tmp_path: Path
) -> None:
    async with running(settings_for(database, tmp_path / "other"), api.world) as other:
        token = other.token("alice")
    async with api.client({"authorization": f"Bearer {token}"}) as client:
        assert (await client.get("/api/v1/me")).status_code == 401


NOBODY: tuple[dict[str, str], ...] = (
    {},
    {"authorization": ""},
    {"authorization": "Bearer"},
    {"authorization": "Basic YWxpY2U6cGFzc3dvcmQ="},
    {"authorization": "Bearer apm_i_short_000000"},
    {"authorization": f"Bearer {make_key(KeyScope.ADMIN).secret}"},
    {"x-api-key": "nonsense"},
    {"x-api-key": "x" * 10_000},
    {"authorization": "Bearer null"},
    {"cookie": "wedsync_session=nonsense"},
    {"cookie": "wedsync_session=; =; ,,,"},
)


async def test_nobody_gets_in(api: Running) -> None:
    async with api.client() as client:
        for headers in NOBODY:
            for path in ("/api/v1/me", "/api/v1/incidents", "/api/v1/events"):
                answer = await client.get(path, headers=headers)
                assert answer.status_code == 401, (path, headers)
                assert answer.headers["content-type"] == "application/problem+json"


async def test_credentials_are_looked_at_before_the_body(api: Running) -> None:
    async with api.client() as client:
        answer = await client.post("/api/v1/alerts", content=b"{nonsense")
    assert answer.status_code == 401


async def test_the_cookie_reads_and_never_writes(api: Running) -> None:
    async with api.client({"cookie": f"wedsync_session={api.token('alice')}"}) as client:
        assert (await client.get("/api/v1/me")).status_code == 200
        answer = await client.post("/api/v1/incidents", json={"title": "From a foreign page"})
    assert answer.status_code == 401


async def test_keys_do_what_their_scope_says(api: Running) -> None:
    sample = {"samples": [{"service_name": "form", "metric_name": "time", "value": 1.5}]}
    incident = {"title": "Seen by a script"}
    expected = {
        # key: (read, write, send samples)
        "ingest": (403, 403, 202),
        "read": (200, 403, 403),
        "admin": (200, 201, 202),
    }
    for name, wanted in expected.items():
        async with api.as_key(name) as client:
            found = (
                (await client.get("/api/v1/incidents")).status_code,
                (await client.post("/api/v1/incidents", json=incident)).status_code,
                (await client.post("/api/v1/metrics", json=sample)).status_code,
            )
            assert (name, found) == (name, wanted)
            assert (await client.get("/api/v1/me")).json()["scope"] == name


async def test_a_platform_key_opens_no_organization(api: Running) -> None:
    async with api.as_key("platform") as client:
        assert (await client.get("/api/v1/me")).json()["organizations"] == []
        assert (await client.get("/api/v1/incidents")).status_code == 403
        sent = await client.post(
            "/api/v1/metrics",
            json={
                "samples": [
                    {
                        "service_name": "a",
                        "metric_name": "b",
                        "value": 1,
                        "tags": {"organization_id": str(api.world.here)},
                    }
                ]
            },
        )
    assert sent.status_code == 202, sent.text


async def test_a_persons_token_does_not_send_samples(api: Running) -> None:
    async with api.as_person("alice") as client:
        answer = await client.post("/api/v1/metrics", json={"samples": []})
    assert answer.status_code == 403


async def test_a_key_is_shown_once_and_gone_when_revoked(api: Running, database: Database) -> None:
    async with api.as_person("alice") as alice:
        made = await alice.post("/api/v1/api-keys", json={"name": "Studio", "scope": "read"})
        assert made.status_code == 201, made.text
        body = made.json()
        secret = body["key"]
        shown = await alice.get(f"/api/v1/api-keys/{body['id']}")
        listed = await alice.get("/api/v1/api-keys")
        log = await alice.get("/api/v1/audit-log")
        assert shown.json()["prefix"] == secret[:12]
        for answer in (shown, listed, log):
            assert secret not in answer.text
        async with api.client({"authorization": f"Bearer {secret}"}) as script:
            assert (await script.get("/api/v1/incidents")).status_code == 200
            gone = await alice.delete(f"/api/v1/api-keys/{body['id']}")
            assert gone.status_code == 204
            # At once, although what is known of a key is believed for some seconds.
            assert (await script.get("/api/v1/incidents")).status_code == 401
    with psycopg.connect(database.owner) as owner:
        stored = owner.execute("select key_hash, prefix from apm_api_keys").fetchall()
    assert all(secret.encode() not in bytes(key_hash) for key_hash, _ in stored)


async def test_requests_at_once_ask_for_their_key_once(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    find = organizations.find_api_key

    async def counting(cx: Connection, key_hash: bytes) -> organizations.StoredKey | None:
        asked.append(key_hash)
        return await find(cx, key_hash)

    monkeypatch.setattr(organizations, "find_api_key", counting)
    api.composed.services.authenticator.forget()
    async with api.as_key("read") as client:
        answers = await asyncio.gather(*(client.get("/api/v1/me") for _ in range(20)))
        # One by one they are counted too.
        api.composed.services.authenticator.forget()
        await client.get("/api/v1/me")
    assert {answer.status_code for answer in answers} == {200}
    assert len(asked) == 2


async def test_what_was_read_before_a_revocation_is_not_believed_after_it(
    api: Running, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, go_on = asyncio.Event(), asyncio.Event()
    find = organizations.find_api_key

    async def slow(cx: Connection, key_hash: bytes) -> organizations.StoredKey | None:
        found = await find(cx, key_hash)
        read.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(organizations, "find_api_key", slow)
    authenticator = api.composed.services.authenticator
    authenticator.forget()
    async with api.as_key("read") as client:
        early = asyncio.create_task(client.get("/api/v1/me"))
        await asyncio.wait_for(read.wait(), 60)
        with psycopg.connect(database.engine, autocommit=True) as engine:
            engine.execute("update apm_api_keys set revoked_at = now() where name = 'read key'")
        authenticator.forget()
        go_on.set()
        assert (await early).status_code == 200
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_only_owners_and_admins_handle_keys(api: Running) -> None:
    wanted = {"name": "Mine", "scope": "admin"}
    for name in ("bob", "vera"):
        async with api.as_person(name) as client:
            assert (await client.get("/api/v1/api-keys")).json()["items"] == []
            answer = await client.post("/api/v1/api-keys", json=wanted)
            assert answer.status_code == 403, answer.text


async def test_an_expired_key_opens_nothing(api: Running, database: Database) -> None:
    with psycopg.connect(database.engine, autocommit=True) as engine:
        engine.execute("update apm_api_keys set expires_at = now() where name = 'read key'")
    async with api.as_key("read") as client:
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_an_identity_providers_tokens_open_what_its_people_may(
    database: Database, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    published = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "one"}
    document = json.dumps({"keys": [published]}).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(document) + document)
        await writer.drain()
        writer.close()

    provider = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = provider.sockets[0].getsockname()[1]
    settings = settings_for(
        database,
        tmp_path,
        jwks_url=f"http://127.0.0.1:{port}/keys",
        jwt_algorithms=("ES256",),
    )
    world = populate(database)
    now = int(time.time())
    claims = {
        "sub": str(world.people["alice"]),
        "role": "authenticated",
        "aud": "authenticated",
        "iat": now,
        "exp": now + 600,
        "user_metadata": {"full_name": "Alice Hart"},
    }
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "one"})
    async with provider, running(settings, world) as api:
        async with api.client({"authorization": f"Bearer {token}"}) as client:
            me = await client.get("/api/v1/me")
        # People sign in at the provider then, not here.
        here = await sign_in(api, "alice@example.org", PASSWORD)
    assert me.status_code == 200, me.text
    assert me.json()["name"] == "Alice Hart"
    assert [one["role"] for one in me.json()["organizations"]] == ["OWNER"]
    assert here.status_code == 401
