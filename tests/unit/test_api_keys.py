import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.organizations.keys import hash_key, is_well_formed, make_key
from wedsync_apm.types import KeyScope


@pytest.mark.parametrize("scope", list(KeyScope))
def test_a_key_names_its_scope_and_passes_its_own_check(scope: KeyScope) -> None:
    made = make_key(scope)
    assert made.secret.startswith(f"apm_{scope.value[0]}_")
    assert len(made.secret) == 56
    assert is_well_formed(made.secret)
    assert made.key_hash == hash_key(made.secret)
    assert len(made.key_hash) == 32
    assert made.secret not in repr(made)
    assert made.prefix == made.secret[:12]


def test_a_platform_key_has_a_letter_of_its_own() -> None:
    assert make_key(KeyScope.INGEST, is_platform=True).secret.startswith("apm_p_")


def test_two_keys_are_never_the_same() -> None:
    assert len({make_key(KeyScope.READ).secret for _ in range(500)}) == 500


@given(st.text(max_size=80) | st.from_regex(r"apm_[irap]_[A-Za-z0-9_-]{43}_[0-9A-Za-z]{6}"))
def test_junk_is_refused_by_its_shape(junk: str) -> None:
    assert not is_well_formed(junk)


@given(st.integers(0, 55), st.characters(codec="ascii"))
def test_one_wrong_character_is_noticed(place: int, character: str) -> None:
    secret = make_key(KeyScope.ADMIN).secret
    changed = secret[:place] + character + secret[place + 1 :]
    assert is_well_formed(changed) == (changed == secret)


def test_a_line_break_behind_a_key_is_no_key() -> None:
    assert not is_well_formed(make_key(KeyScope.READ).secret + "\n")
