"""Ports for programs that have to be told theirs."""

import random
import socket
import sys
from contextlib import suppress
from typing import Final

# Below those that systems give to outgoing connections: whoever connects in the meantime gets none
# of these.
RANGE: Final = range(20_000, 32_000)
_chance: Final = random.SystemRandom()
_claims: Final[list[socket.socket]] = []
"""Until this process ends, so that no other worker is given the same one."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody has, and that nobody else is given by this."""
    while True:
        port = _chance.choice(RANGE)
        with suppress(OSError):
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", port))
            _claim(port)
            return port


def _claim(port: int) -> None:
    if sys.platform == "linux":  # elsewhere there are no names that vanish with their process
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0wedsync-apm-test-port-{port}")
        except OSError:
            claim.close()
            raise
        _claims.append(claim)
