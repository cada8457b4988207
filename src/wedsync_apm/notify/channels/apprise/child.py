"""The program that lets one of Apprise's plug-ins write the calls of one message.

It is run by its path, with the libraries and nothing of the product. It reads one line from its
input, the message, and then says line by line which call is to be made; each answer is a line of
its input. The last line says whether the service took it.

Before it reads the address it gives away what it must not have:

- the network: the kernel refuses it every new socket (seccomp, on Linux), and the interpreter every
  connection, name look-up, process and file outside of the libraries (an audit hook, everywhere);
- memory and time: limits of the kernel, which also forbid it to write any file;
- its life beyond ours: it dies with the process that has started it (Linux).
"""

import base64
import ctypes
import errno
import io
import json
import mimetypes
import os
import platform
import resource
import signal
import struct
import sys
import threading
import zoneinfo
from importlib import import_module
from typing import Any

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 10
OPEN_FILES = 64

# What the interpreter tells of before it does it, by the beginning of its name.
_FORBIDDEN = (
    *("socket.connect", "socket.bind", "socket.send", "socket.getaddrinfo", "socket.gethost"),
    *("socket.getnameinfo", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn"),
    *("os.spawn", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink"),
    *("os.truncate", "os.chmod", "os.chown", "os.kill", "shutil.", "ctypes.", "pty.", "mmap."),
)
_TRANSPORT = frozenset({"content-length", "transfer-encoding", "connection", "accept-encoding"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 1, 22, 38, 2
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
# Of each architecture: its name in audit.h, and the numbers of socket, connect, bind, listen,
# execve, execveat, ptrace, process_vm_readv, process_vm_writev and io_uring_setup.
_ARCHITECTURES = {
    "x86_64": (0xC000003E, (41, 42, 49, 50, 59, 322, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 203, 200, 201, 221, 281, 117, 270, 271, 425)),
}


def limit() -> None:
    """Little memory, little time, no file written, no core left behind."""
    for which, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        # A limit that was lower before stays.
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or hard > most:
            try:
                resource.setrlimit(which, (most, most))
            except ValueError:
                # Other systems do not have all of them.
                if sys.platform == "linux":
                    raise


def fence_kernel() -> bool:
    """Has the kernel refuse sockets and programs for good; False where it cannot."""
    if sys.platform != "linux":
        return False
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int, *([ctypes.c_ulong] * 4)]
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if platform.machine() not in _ARCHITECTURES:
        return False
    audit, calls = _ARCHITECTURES[platform.machine()]
    # The numbers count for this architecture alone; 0x40000000 begins those of x32.
    steps = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    steps += [(_JUMP_AT_LEAST, len(calls) + 1, 0, 0x40000000)]
    steps += [(_JUMP_EQUAL, len(calls) - n, 0, number) for n, number in enumerate(calls)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    filters = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: how many, and where.
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(filters)))
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(program), 0, 0) == 0)


def fence_interpreter() -> None:
    """Has the interpreter refuse the rest, for good: files, connections, look-ups, processes."""
    folders = {sys.prefix, sys.base_prefix, *zoneinfo.TZPATH, *filter(os.path.isdir, sys.path)}
    readable = tuple(os.path.realpath(folder).rstrip("/") + "/" for folder in folders)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int):
                return
            if isinstance(flags, int) and flags & _WRITING:
                raise PermissionError(f"no file is written here: {path!r}")
            if not os.path.realpath(os.fsdecode(path)).startswith(readable):
                raise PermissionError(f"no file is read here: {path!r}")
        elif event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event} is not done here")

    sys.addaudithook(refuse)


class Line:
    """The talk with the process that has started this one."""

    def __init__(self) -> None:
        self._heard = sys.stdin.buffer
        # Whatever a plug-in prints is not part of the talk.
        self._said = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def hear(self) -> Any:
        """The next line; ends the process where there is none."""
        line = self._heard.readline()
        if not line:
            raise SystemExit(1)
        return json.loads(line)

    def say(self, **what: Any) -> None:
        """One line."""
        self._said.write(json.dumps(what).encode() + b"\n")
        self._said.flush()


def take_calls(line: Line) -> None:
    """Has `requests` say its calls instead of making them. No redirect is followed."""
    requests, urllib3 = import_module("requests"), import_module("urllib3")
    faults, adapter = requests.exceptions, requests.adapters.HTTPAdapter
    one_at_a_time = threading.Lock()

    def send(self: Any, request: Any, *_: Any, **options: Any) -> Any:
        if options.get("verify") is False or options.get("cert"):
            raise faults.SSLError("certificates are verified, and none of ours is shown")
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        elif body is not None and not isinstance(body, (str, bytes)):
            body = b"".join(body)
        body = body.encode() if isinstance(body, str) else body or b""
        headers = {
            name: value.decode("latin-1") if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
            if name.lower() not in _TRANSPORT
        }
        call = {
            "method": request.method,
            # Who signs in stands in a header by now.
            "url": urllib3.util.parse_url(request.url)._replace(auth=None).url,
            "headers": headers,
            "body": base64.b64encode(body).decode(),
        }
        with one_at_a_time:
            line.say(call=call)
            answer = line.hear()
        if answer.get("fault") == "timeout":
            raise faults.ReadTimeout(request=request)
        if "fault" in answer:
            raise faults.ConnectionError(answer["fault"], request=request)
        raw = urllib3.HTTPResponse(
            io.BytesIO(base64.b64decode(answer["body"])),
            # How it came is over; what came may be cut.
            headers={k: v for k, v in answer["headers"].items() if k not in _TRANSPORT},
            status=answer["status"],
            preload_content=False,
        )
        return self.build_response(request, raw)

    adapter.send = send
    requests.Session.get_redirect_target = lambda self, response: None


def load(job: dict[str, Any]) -> tuple[Any, Any]:
    """The plug-in's class, and what it may know of us."""
    plugin = getattr(import_module(f"apprise.plugins.{job['module']}"), job["plugin"])
    asset = import_module("apprise.asset").AppriseAsset(
        app_id="WedSync APM",
        app_desc="WedSync APM",
        app_url="",
        # No picture is fetched, or named for others to fetch.
        image_url_mask="",
        image_url_logo="",
        image_path_mask="",
        storage_mode="memory",
        http_redirects=False,
    )
    return plugin, asset


def write(job: dict[str, Any], plugin: Any, asset: Any) -> dict[str, Any]:
    """Has the plug-in send; what it came to, as the last line says it."""
    try:
        parsed = plugin.parse_url(job["url"])
        # As text a service leaves our links as they are, and foreign text is made harmless for it.
        service = plugin(**{**parsed, "format": "text", "asset": asset}) if parsed else None
    except TypeError:
        service = None
    if service is None:
        return {"refused": f"Apprise cannot read it as an address of {plugin.service_name}"}
    if len(service) > 1:
        return {"refused": f"it names {len(service)} receivers: make a contact for each"}
    taken = service.notify(
        body=job["body"],
        title=job["title"],
        notify_type=job["type"],
        overflow="truncate",
        body_format="text",
    )
    return {"taken": bool(taken)}


def main() -> None:
    """One message."""
    line = Line()
    job = line.hear()
    take_calls(line)
    plugin, asset = load(job)
    # It reads files of the machine, once.
    mimetypes.init()
    limit()
    fence_kernel()
    fence_interpreter()
    line.say(**write(job, plugin, asset))


if __name__ == "__main__":
    main()
