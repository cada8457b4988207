import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wedsync_apm.config import Settings
from wedsync_apm.errors import Unauthorized
from wedsync_apm.organizations.tokens import KeySet, Tokens, load_tokens, read_key_set

SECRET = "a secret that is long enough for HS256, and then some"
NOW = datetime(2026, 6, 6, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
WHO = UUID("3f1c2f9e-9a55-4c5d-8d44-6c5a0f3f2b10")
TOKENS = Tokens("authenticated", ("HS256",), SECRET)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)

Claims = dict[str, Any]


def claims(**changes: Any) -> Claims:
    good: Claims = {
        "sub": str(WHO),
        "role": "authenticated",
        "aud": "authenticated",
        "iat": AT,
        "exp": AT + 3600,
        "email": "priya@example.org",
    }
    good |= changes
    return {name: value for name, value in good.items() if value is not ...}


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(payload: object, header: object = None, secret: str = SECRET) -> str:
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    text = f"{part(head)}.{part(payload)}"
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{part(digest)}"


def header(**changes: Any) -> Claims:
    return {"alg": "HS256", "typ": "JWT", **changes}


async def test_a_good_token_names_its_person() -> None:
    identity = await TOKENS.verify(signed(claims()), at=NOW)
    assert identity.subject == WHO
    assert identity.kind == "user"
    assert identity.name == "priya@example.org"
    assert identity.generation is None
    assert identity.expires_at == datetime.fromtimestamp(AT + 3600, UTC)


async def test_a_token_of_ours_comes_back_as_it_was_issued() -> None:
    token = TOKENS.issue(WHO, name="Priya", email="priya@example.org", generation=3, at=NOW)
    identity = await TOKENS.verify(token, at=NOW)
    assert (identity.subject, identity.name, identity.generation) == (WHO, "Priya", 3)


async def test_our_own_secret_signs_for_us_alone() -> None:
    ours = replace(TOKENS, is_secret_ours=True)
    token = ours.issue(WHO, name="Priya", email="priya@example.org", generation=3, at=NOW)
    assert (await ours.verify(token, at=NOW)).generation == 3
    for issuer in (..., None, "", "https://x.supabase.co/auth/v1", ["wedsync-apm"]):
        with pytest.raises(Unauthorized):
            await ours.verify(signed(claims(iss=issuer, generation=3)), at=NOW)


def test_a_secret_is_ours_where_none_is_given(tmp_path: Path) -> None:
    assert load_tokens(Settings(data_dir=tmp_path)).is_secret_ours
    assert not load_tokens(Settings(data_dir=tmp_path, jwt_secret=SECRET)).is_secret_ours


FORGED: dict[str, str] = {
    "exp is missing": signed(claims(exp=...)),
    "exp is text": signed(claims(exp="9999999999")),
    "exp is a float": signed(claims(exp=AT + 3600.5)),
    "exp is 1e308": signed(claims(exp=1e308)),
    "exp is true": signed(claims(exp=True)),
    "exp is null": signed(claims(exp=None)),
    "exp is huge": signed(claims(exp=2**63)),
    "exp is negative": signed(claims(exp=-1)),
    "expired a second ago": signed(claims(exp=AT - 1, iat=AT - 100)),
    "expires now": signed(claims(exp=AT, iat=AT - 100)),
    "iat is missing": signed(claims(iat=...)),
    "iat is text": signed(claims(iat=str(AT))),
    "iat is true": signed(claims(iat=True)),
    "iat is a float": signed(claims(iat=float(AT))),
    "iat lies ahead": signed(claims(iat=AT + 120)),
    "nbf lies ahead": signed(claims(nbf=AT + 120)),
    "nbf is text": signed(claims(nbf="0")),
    "good for more than a day": signed(claims(exp=AT + 86_401)),
    "good for ten years": signed(claims(exp=AT + 10 * 365 * 86_400)),
    "aud is missing": signed(claims(aud=...)),
    "aud is another's": signed(claims(aud="somebody")),
    "aud is a number": signed(claims(aud=1)),
    "aud is an object": signed(claims(aud={"authenticated": True})),
    "aud lists others": signed(claims(aud=["a", "b"])),
    "role is missing": signed(claims(role=...)),
    "role is service_role": signed(claims(role="service_role")),
    "role is anon": signed(claims(role="anon")),
    "role is postgres": signed(claims(role="postgres")),
    "role is a list": signed(claims(role=["authenticated"])),
    "sub is missing": signed(claims(sub=...)),
    "sub is a name": signed(claims(sub="alice")),
    "sub is a number": signed(claims(sub=1)),
    "sub in braces": signed(claims(sub="{" + str(WHO) + "}")),
    "sub without dashes": signed(claims(sub=WHO.hex)),
    "sub as a URN": signed(claims(sub=WHO.urn)),
    "ours without a generation": signed(claims(iss="wedsync-apm")),
    "ours with generation true": signed(claims(iss="wedsync-apm", generation=True)),
    "ours with generation as text": signed(claims(iss="wedsync-apm", generation="1")),
    "another secret": signed(claims(), secret="another secret, also long enough for HS256"),
    "no signature": signed(claims()).rpartition(".")[0] + ".",
    "cut signature": signed(claims())[:-4],
    "alg none": f"{part(header(alg='none'))}.{part(claims())}.",
    "alg none, signed": signed(claims(), header(alg="none")),
    "alg NoNe": signed(claims(), header(alg="NoNe")),
    "alg missing": signed(claims(), {"typ": "JWT"}),
    "alg HS512": jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "alg ES256": jwt.encode(claims(), EC_KEY, algorithm="ES256"),
    "alg RS256": jwt.encode(claims(), RSA_KEY, algorithm="RS256"),
    "alg in a list": signed(claims(), header(alg=["HS256"])),
    "header with jku": signed(claims(), header(jku="https://evil.example/keys")),
    "header with jwk": signed(claims(), header(jwk={"kty": "oct", "k": "AAAA"})),
    "header with x5u": signed(claims(), header(x5u="https://evil.example/cert")),
    "header with x5c": signed(claims(), header(x5c=["AAAA"])),
    "header with crit": signed(claims(), header(crit=["exp"])),
    "header with b64": signed(claims(), header(b64=False)),
    "header with zip": signed(claims(), header(zip="DEF")),
    "header of another type": signed(claims(), header(typ="at+jwe")),
    "header is a list": signed(claims(), ["HS256"]),
    "header is no JSON": signed(claims(), b"{"),
    "header is no UTF-8": signed(claims(), b"\xff\xfe"),
    "claims are a list": signed([claims()]),
    "claims are text": signed("authenticated"),
    "claims are no JSON": signed(b"exp"),
    "claims are deep": signed(b"[" * 20_000),
    "two parts": f"{part(header())}.{part(claims())}",
    "four parts": signed(claims()) + ".AAAA",
    "five parts": "a.b.c.d.e",
    "empty parts": "..",
    "nothing": "",
    "too long": signed(claims(padding="x" * 9000)),
    "another alphabet": signed(claims()).replace(".", "+", 1) + ".x",
    "a line break": signed(claims()) + "\n",
    "text that is no ASCII": "ü.ü.ü",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=list(FORGED))
async def test_a_forged_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthorized):
        await TOKENS.verify(token, at=NOW)


async def test_the_limits_themselves_are_good() -> None:
    for good in (
        claims(exp=AT + 86_400),
        claims(exp=AT + 1),
        claims(iat=AT + 60, exp=AT + 100),
        claims(aud=["somebody", "authenticated"]),
        claims(sub=str(WHO).upper()),
    ):
        assert (await TOKENS.verify(signed(good), at=NOW)).subject == WHO


async def test_a_name_cannot_break_a_line() -> None:
    identity = await TOKENS.verify(signed(claims(name="Eve\n\x00Adam" + "x" * 300)), at=NOW)
    assert identity.name.startswith("EveAdam")
    assert len(identity.name) == 200


class Provider:
    """An identity provider whose document changes and which can go away."""

    def __init__(self, *entries: Claims) -> None:
        self.entries, self.calls, self.is_away, self.now = list(entries), 0, False, 0.0

    async def fetch(self) -> bytes:
        self.calls += 1
        if self.is_away:
            raise OSError("away")
        return json.dumps({"keys": self.entries}).encode()

    def tokens(self, *algorithms: str) -> Tokens:
        keys = KeySet(self.fetch, lambda: self.now)
        return Tokens("authenticated", algorithms or ("ES256", "RS256"), SECRET, keys)


def entry(key: Any, kid: str, **more: Any) -> Claims:
    algorithm = jwt.algorithms.ECAlgorithm if hasattr(key, "curve") else jwt.algorithms.RSAAlgorithm
    made: Callable[..., Claims] = algorithm.to_jwk
    return made(key.public_key(), as_dict=True) | {"kid": kid} | more


def by_key(key: Any, kid: str | None, algorithm: str) -> str:
    return jwt.encode(
        claims(), key, algorithm=algorithm, headers=None if kid is None else {"kid": kid}
    )


async def test_public_keys_are_fetched_once() -> None:
    provider = Provider(entry(EC_KEY, "one"), entry(RSA_KEY, "two"))
    tokens = provider.tokens()
    for token in (by_key(EC_KEY, "one", "ES256"), by_key(RSA_KEY, "two", "RS256")):
        assert (await tokens.verify(token, at=NOW)).subject == WHO
    assert provider.calls == 1


async def test_made_up_key_names_do_not_become_calls() -> None:
    provider = Provider(entry(EC_KEY, "one"))
    tokens = provider.tokens()
    for number in range(20):
        with pytest.raises(Unauthorized):
            await tokens.verify(by_key(EC_KEY, f"made up {number}", "ES256"), at=NOW)
    assert provider.calls == 1
    provider.now = 31
    with pytest.raises(Unauthorized):
        await tokens.verify(by_key(EC_KEY, "made up", "ES256"), at=NOW)
    assert provider.calls == 2


async def test_a_new_key_is_found_and_an_old_one_forgotten() -> None:
    provider = Provider(entry(EC_KEY, "one"))
    tokens = provider.tokens()
    await tokens.verify(by_key(EC_KEY, "one", "ES256"), at=NOW)
    provider.entries, provider.now = [entry(RSA_KEY, "two")], 31
    await tokens.verify(by_key(RSA_KEY, "two", "RS256"), at=NOW)
    with pytest.raises(Unauthorized):
        await tokens.verify(by_key(EC_KEY, "one", "ES256"), at=NOW)


async def test_known_keys_outlive_a_provider_that_is_away_for_an_hour() -> None:
    provider = Provider(entry(EC_KEY, "one"))
    tokens = provider.tokens()
    token = by_key(EC_KEY, "one", "ES256")
    await tokens.verify(token, at=NOW)
    provider.is_away, provider.now = True, 1800
    await tokens.verify(token, at=NOW)
    provider.now = 3601
    with pytest.raises(Unauthorized):
        await tokens.verify(token, at=NOW)


async def test_a_public_key_is_never_taken_for_a_secret() -> None:
    # The classic: the public key, which everybody has, as the secret of HS256.
    provider = Provider(entry(RSA_KEY, "two"))
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = signed(claims(), header(kid="two"), secret=pem.decode())
    for algorithms in (("RS256",), ("HS256", "RS256")):
        with pytest.raises(Unauthorized):
            await provider.tokens(*algorithms).verify(forged, at=NOW)


async def test_a_key_of_one_kind_does_not_serve_the_other() -> None:
    provider = Provider(entry(EC_KEY, "one"))
    with pytest.raises(Unauthorized):
        await provider.tokens().verify(by_key(RSA_KEY, "one", "RS256"), at=NOW)


def test_weak_and_foreign_keys_are_left_out() -> None:
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused
    other = ec.generate_private_key(ec.SECP384R1())
    document = {
        "keys": [
            entry(small, "small"),
            entry(other, "other curve"),
            entry(EC_KEY, "for encryption", use="enc"),
            {"kty": "oct", "k": "AAAA", "kid": "secret"},
            {"kty": "nonsense"},
            "text",
            entry(EC_KEY, "good"),
        ]
    }
    assert list(read_key_set(json.dumps(document).encode())) == ["good"]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b"<html>"])
def test_a_document_that_is_none_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"keys|Expecting"):
        read_key_set(document)
