import os
import socket
from pathlib import Path

import pytest

from wedsync_apm.config import StatsdAddress, load_settings
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.ingest.statsd.listener import kernel_drops


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("127.0.0.1:8125=k", (StatsdAddress("127.0.0.1", 8125, "k"),)),
        ("[::1]:8125=k", (StatsdAddress("::1", 8125, "k"),)),
        (
            "statsd://127.0.0.1:1=a=, dogstatsd://127.0.0.1:2=b",
            (StatsdAddress("127.0.0.1", 1, "a="), StatsdAddress("127.0.0.1", 2, "b", True)),
        ),
    ],
)
def test_addresses_are_read(given: str, expected: tuple[StatsdAddress, ...]) -> None:
    settings = load_settings({"WEDSYNC_APM_STATSD": given})
    assert settings.statsd == expected
    assert "=k" not in repr(settings)


def test_the_keys_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "statsd"
    file.write_text("127.0.0.1:8125=k\n")
    settings = load_settings({"WEDSYNC_APM_STATSD_FILE": str(file)})
    assert settings.statsd == (StatsdAddress("127.0.0.1", 8125, "k"),)


@pytest.mark.parametrize(
    "given",
    [
        "8125=tell-nobody",
        "localhost:8125=tell-nobody",
        "127.0.0.1:0=tell-nobody",
        "127.0.0.1:65536=tell-nobody",
        "127.0.0.1:8125",
        "127.0.0.1:8125=",
        "1.2.3:8125=tell-nobody",
        "udp://127.0.0.1:8125=tell-nobody",
        "127.0.0.1:8125=tell-nobody,127.0.0.1:8125=tell-nobody",
    ],
)
def test_what_is_no_address_stops_the_start_without_showing_the_key(given: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        load_settings({"WEDSYNC_APM_STATSD": given})
    assert "nobody" not in str(told.value)


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="Linux tells by /proc")
def test_datagrams_that_the_kernel_drops_are_known() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        inode = os.fstat(receiver.fileno()).st_ino
        assert kernel_drops(inode) == 0
        for _ in range(100):
            sender.sendto(bytes(500), receiver.getsockname())
        received = 0
        while True:
            try:
                receiver.recv(1000)
            except BlockingIOError:
                break
            received += 1
        assert kernel_drops(inode) == 100 - received
    assert kernel_drops(0xFFFFFFFFFF) is None
