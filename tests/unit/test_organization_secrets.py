"""Envelope encryption: what opens, and above all what does not."""

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.config import Settings
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.organizations.secrets import (
    DataKey,
    Keyring,
    Place,
    SecretUnreadable,
    WrappedKey,
    load_keyring,
)

A, B = UUID(int=0xA), UUID(int=0xB)
MASTER, OTHER_MASTER = b"m" * 32, b"o" * 32
ROW = UUID(int=1)
PLACE = Place(A, "apm_contact_methods", "secret_ciphertext", ROW)


def data_key(organization_id: UUID = A) -> DataKey:
    ring = Keyring(MASTER)
    return ring.open(organization_id, ring.new_key(organization_id))


@given(st.text(max_size=2000))
def test_a_secret_comes_back_as_it_went_in(secret: str) -> None:
    key = data_key()
    sealed = key.seal(PLACE, secret)
    assert key.unseal(PLACE, sealed) == secret
    assert len(secret) < 8 or secret.encode() not in sealed


def test_sealing_twice_gives_different_bytes() -> None:
    key = data_key()
    assert key.seal(PLACE, "same") != key.seal(PLACE, "same")


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, row_id=UUID(int=2)),
        replace(PLACE, column="config"),
        replace(PLACE, table="apm_configurations"),
        replace(PLACE, table="apm_contact_method", column="ssecret_ciphertext"),
    ],
)
def test_a_secret_does_not_open_in_another_place(elsewhere: Place) -> None:
    key = data_key()
    sealed = key.seal(PLACE, "secret")
    with pytest.raises(SecretUnreadable):
        key.unseal(elsewhere, sealed)


def test_swapping_secrets_between_tenants_is_refused() -> None:
    """Neither the ciphertext nor the wrapped key of one organization works for another."""
    ring = Keyring(MASTER)
    wrapped_a, wrapped_b = ring.new_key(A), ring.new_key(B)
    sealed = ring.open(A, wrapped_a).seal(PLACE, "a's webhook key")
    with pytest.raises(SecretUnreadable):
        ring.open(B, wrapped_b).unseal(replace(PLACE, organization_id=B), sealed)
    with pytest.raises(SecretUnreadable):
        ring.open(B, wrapped_b).unseal(PLACE, sealed)
    with pytest.raises(SecretUnreadable):
        ring.open(B, wrapped_a)


@given(st.data())
def test_a_changed_byte_anywhere_is_noticed(data: st.DataObject) -> None:
    key = data_key()
    sealed = bytearray(key.seal(PLACE, "secret"))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SecretUnreadable):
        key.unseal(PLACE, bytes(sealed))


@given(st.binary(max_size=40))
def test_rubbish_is_unreadable_and_nothing_worse(rubbish: bytes) -> None:
    with pytest.raises(SecretUnreadable):
        data_key().unseal(PLACE, rubbish)
    with pytest.raises(SecretUnreadable):
        Keyring(MASTER).open(A, WrappedKey(rubbish, Keyring(MASTER).key_id))


def test_rotation_wraps_the_same_key_anew() -> None:
    old = Keyring(MASTER)
    wrapped = old.new_key(A)
    sealed = old.open(A, wrapped).seal(PLACE, "secret")
    turning = Keyring(OTHER_MASTER, previous=[MASTER])
    fresh = turning.rewrap(A, wrapped)
    assert fresh is not None
    assert turning.rewrap(A, fresh) is None
    assert Keyring(OTHER_MASTER).open(A, fresh).unseal(PLACE, sealed) == "secret"
    with pytest.raises(SecretUnreadable, match=old.key_id):
        Keyring(OTHER_MASTER).open(A, wrapped)
    with pytest.raises(SecretUnreadable):
        turning.rewrap(B, wrapped)


def test_fingerprints_tell_secrets_apart_and_tenants_too() -> None:
    ring = Keyring(MASTER)
    a, b = ring.open(A, ring.new_key(A)), ring.open(B, ring.new_key(B))
    assert a.fingerprint("one") == a.fingerprint("one")
    assert len({a.fingerprint("one"), a.fingerprint("two"), b.fingerprint("one")}) == 3
    assert len(a.fingerprint("one")) == 12


def test_no_key_shows_in_a_repr() -> None:
    ring = Keyring(MASTER)
    key = ring.open(A, ring.new_key(A))
    for shown in (repr(ring), repr(key), str(key), f"{[key]}"):
        assert repr(key._key)[2:10] not in shown
        assert "mmmm" not in shown


def test_the_master_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    first = load_keyring(settings)
    assert (settings.data_dir / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert load_keyring(settings).key_id == first.key_id


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        ids = pool.map(_key_id_of, [tmp_path] * 8, chunksize=1)
    assert len(set(ids)) == 1


def _key_id_of(data_dir: Path) -> str:
    return load_keyring(Settings(data_dir=data_dir)).key_id


def test_a_set_master_key_writes_no_file(tmp_path: Path) -> None:
    ring = load_keyring(Settings(data_dir=tmp_path, master_key=MASTER))
    assert ring.key_id == Keyring(MASTER).key_id
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stored", ["c2hvcnQ=", "no base64!"])
def test_a_stored_key_that_is_none_is_refused(tmp_path: Path, stored: str) -> None:
    (tmp_path / "secrets.json").write_text(json.dumps({"master_key": stored}))
    with pytest.raises(ConfigurationError) as caught:
        load_keyring(Settings(data_dir=tmp_path))
    assert stored not in str(caught.value)


def test_a_master_key_of_another_length_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Keyring(b"short")
    with pytest.raises(ConfigurationError):
        Keyring(MASTER, previous=[uuid4().bytes])
