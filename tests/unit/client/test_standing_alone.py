"""The client goes into programs that have nothing of ours: it brings nothing along."""

import shutil
import subprocess
import sys
from pathlib import Path

import wedsync_apm.client

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


def test_the_folder_can_be_copied_into_a_program_without_anything_else(tmp_path: Path) -> None:
    origin = Path(wedsync_apm.client.__file__).parent
    shutil.copytree(origin, tmp_path / "wedsync_apm" / "client")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + (
        "from wedsync_apm.client import Client; print(sys.modules['wedsync_apm.client'].__file__)"
    )
    # -I and -S: neither the working directory nor any installed package can be found.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith(str(tmp_path))
