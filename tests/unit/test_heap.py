"""A process that once read a large answer does not keep its room."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from wedsync_apm.heap import give_memory_back

def taken():
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))

if sys.argv[1] == "given back":
    give_memory_back()
before = taken()
for _ in range(2):  # by the end of the first time the library has learnt the wrong thing
    pieces = [bytearray(b"x") * 300_000 for _ in range(200)]
    del pieces[:-1]  # the last one lies at the end of the heap
print(taken() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps memory in this way")
@pytest.mark.parametrize(("mode", "is_kept"), [("given back", False), ("as it is", True)])
def test_what_was_needed_once_goes_back(mode: str, is_kept: bool) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True)
    assert (int(done.stdout) > 30_000) is is_kept
