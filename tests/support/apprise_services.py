"""Which of Apprise's services go out by us, computed from the library's own registry.

    python -m tests.support.apprise_services

writes the list that the product keeps (`services.csv`); a test compares the two.
"""

import ast
import csv
import io
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from wedsync_apm.notify.channels.apprise.services import COLUMNS, LISTED

# What our own channels do better: with receipts, buttons, signatures.
OURS: Final = {
    "email": "email",
    "slack": "slack",
    "pagerduty": "pagerduty",
    "twilio": "sms",
    "vapid": "push",
}
# Its key is a file on the machine that sends, and ours has none for tenants.
FROM_FILES: Final = frozenset({"fcm"})
# What opens connections, processes or devices of its own.
OTHER_WAYS: Final = frozenset(
    {
        *(
            "_socket",
            "apprise.utils.socket",
            "asyncio",
            "ctypes",
            "dbus",
            "ftplib",
            "gi",
            "gntp",
            "http.client",
        ),
        *("http.server", "imaplib", "multiprocessing", "os.system", "paho", "poplib", "pywin32"),
        *("select", "selectors", "slixmpp", "smpplib", "smtplib", "socket", "socketserver"),
        *("ssl", "subprocess", "syslog", "telnetlib", "urllib.request", "urllib3", "websocket"),
        *("websockets", "win32api", "xmlrpc"),
    }
)


def registry() -> dict[str, Any]:
    """Each plug-in of the library by its module's name, with its class."""
    # Here and not above: it takes a second.
    manager = import_module("apprise.manager_plugins").NotificationManager()
    manager.load_modules()
    found: dict[str, Any] = {}
    for plugin in manager.plugins(include_disabled=True):
        found[plugin.__module__] = plugin
    return found


def imports(module: str) -> set[str]:
    """What a plug-in's files import, at any depth of their code, with what others it builds upon
    import."""
    path = Path(sys.modules[module].__file__ or "")
    # A folder is one plug-in in several files; `plugins` itself is everybody's.
    files = sorted(path.parent.rglob("*.py")) if path.parent.name != "plugins" else [path]
    found: set[str] = set()
    for file in files:
        package = ".".join(["apprise", *file.parent.parts[file.parent.parts.index("plugins") :]])
        found |= set(_imported(ast.parse(file.read_text("utf-8")), package))
    for name in sorted(found - {module, "apprise.plugins.base"}):
        if name.startswith("apprise.plugins.") and name in sys.modules:
            is_own = name.startswith(module.rpartition(".")[0] + ".") and len(files) > 1
            found |= set() if is_own else imports(name)
    return found


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def refusal(module: str, plugin: Any) -> str:
    """Why a plug-in does not go out by us, in a word of `services.REFUSED`; empty: it does."""
    name = module.removeprefix("apprise.plugins.").partition(".")[0]
    if name in OURS:
        return OURS[name]
    found = imports(module)
    roots = {one.partition(".")[0] for one in found}
    if "requests" not in roots or OTHER_WAYS & (found | roots):
        return "transport"
    if name in FROM_FILES:
        return "file"
    return "" if plugin.enabled else "library"


def rows() -> list[tuple[str, ...]]:
    """The list, by name."""
    return sorted(
        (
            str(plugin.service_name),
            module.removeprefix("apprise.plugins."),
            plugin.__name__,
            " ".join(sorted(plugin.schemas(plugin))),
            refusal(module, plugin),
        )
        for module, plugin in registry().items()
    )


def written() -> str:
    """The list as the product keeps it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows())
    return text.getvalue()


if __name__ == "__main__":
    LISTED.write_text(written(), encoding="utf-8")
