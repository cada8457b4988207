"""The client goes into programs that have nothing of ours: it brings nothing along."""

import subprocess
import sys

PROGRAM = """
import sys
before = set(sys.modules)
import wedsync_apm.client
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def test_importing_it_imports_pythons_own_library_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    imported = done.stdout.split()
    assert "wedsync_apm.client.transport" in imported
    foreign = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in foreign if not name.startswith("wedsync_apm.client")} == {
        "wedsync_apm"
    }
