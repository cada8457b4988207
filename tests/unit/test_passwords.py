"""How passwords are kept, outside of tests: in these the hashes are quick ones."""

import subprocess
import sys

from argon2 import PasswordHasher

from wedsync_apm.organizations.passwords import check_password, hash_password

PROGRAM = """
from wedsync_apm.organizations.passwords import hash_password
print(hash_password("correct horse"))
"""


def test_a_hash_is_as_slow_as_the_library_wants_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    stored = done.stdout.strip()
    assert stored.startswith("$argon2id$")
    assert not PasswordHasher().check_needs_rehash(stored)
    assert check_password(stored, "correct horse")
    assert not check_password(stored, "battery staple")


def test_equal_passwords_have_different_hashes_and_any_other_text_is_none() -> None:
    one, other = hash_password("x"), hash_password("x")
    assert one != other
    assert check_password(one, "x")
    assert check_password(other, "x")
    assert not check_password("x", "x")
