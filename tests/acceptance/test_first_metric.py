"""What docs/send-your-first-metric.md tells to run, run against a fresh demo and read back."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.acceptance.test_up import Product, end, start
from tests.support.client_venv import client_python
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

PAGE = Path(__file__).parents[2] / "docs" / "send-your-first-metric.md"
FENCE = re.compile(r"^```(?P<head>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what its head says beside it, and under which title it is."""

    language: str
    marks: tuple[str, ...]
    text: str
    title: str

    @property
    def reads(self) -> list[tuple[str, float]]:
        """The metrics that it sends, and their values."""
        found = []
        for mark in self.named("reads"):
            metric, _, value = mark.rpartition("=")
            found.append((metric, float(value)))
        return found

    def named(self, name: str) -> list[str]:
        """What follows `name=` in the head."""
        return [m.partition("=")[2] for m in self.marks if m.startswith(f"{name}=")]


def blocks() -> list[Block]:
    page = PAGE.read_text()
    found = []
    for match in FENCE.finditer(page):
        language, *marks = match["head"].split()
        title = re.findall(r"^## (.+)$", page[: match.start()], re.MULTILINE)[-1]
        found.append(Block(language, tuple(marks), match["text"], title))
    return found


RUNNABLE = [block for block in blocks() if block.reads]
DATAGRAMS = [block for block in RUNNABLE if "over=udp" in block.marks]
REQUESTS = [block for block in RUNNABLE if block not in DATAGRAMS]
UDP_PORT = "8125"


@dataclass(frozen=True)
class Shop:
    """A running demo, and what the page's first block has made there."""

    url: str
    folder: Path
    environment: dict[str, str]

    def newest(self, metric: str) -> list[dict[str, Any]]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.request(
            "GET",
            f"/api/v1/query?metric={quote(metric)}",
            headers={"X-API-Key": self.environment["READ_KEY"]},
        )
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status in {200, 404}, body
        series: list[dict[str, Any]] = json.loads(body).get("series", [])
        return series

    def wait_for(self, metric: str, value: float) -> None:
        deadline = time.monotonic() + 60
        while True:
            found = self.newest(metric)
            if value in [point[1] for one in found for point in one["points"]]:
                return
            assert time.monotonic() < deadline, f"{metric} is not {value}: {found}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("first")
    running = start(folder / ".data" / "demo", free_port())
    yield running
    end(running)


@pytest.fixture(scope="module")
def shop(product: Product) -> Shop:
    """Does what the page says first, in the folder in which `make demo` would have been run."""
    folder = product.data_dir.parents[1]
    (folder / ".venv").symlink_to(sys.prefix)
    url = product.runtime["url"]
    (setup,) = (block.text for block in blocks() if block.marks == ("setup",))
    assert "http://127.0.0.1:8080" in setup
    text = setup.replace("http://127.0.0.1:8080", url) + "\nenv"
    done = subprocess.run(
        ["sh", "-eu", "-c", text],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("WEDSYNC_APM_")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    environment = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert environment["KEY"] != environment["READ_KEY"]
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return Shop(url, folder, environment)


@pytest.fixture(scope="module")
def udp_port(shop: Shop, product: Product) -> Iterator[str]:
    """The demo again, with what the page tells to start it with."""
    (block,) = (block for block in blocks() if block.marks == ("listens",))
    setting, command = block.text.split(" ", 1)
    assert command.strip() == "make demo"
    port = str(free_port(socket.SOCK_DGRAM))
    name, _, value = setting.partition("=")
    value = value.replace(UDP_PORT, port).replace("$KEY", shop.environment["KEY"])
    product.process.send_signal(signal.SIGINT)
    assert product.process.wait(timeout=60) == 0
    again = start(product.data_dir, urlsplit(shop.url).port or 0, **{name: value})
    yield port
    end(again)


def run(shop: Shop, block: Block, before: str = "") -> str:
    """What the block prints, run after shell commands in `before`."""
    python: Path | str = sys.executable
    for name in block.named("with"):
        python = client_python(name)
    commands = block.text if block.language == "sh" else f"exec '{python}' -c \"$BLOCK\""
    done = subprocess.run(
        ["sh", "-eu", "-c", f"{before}\n{commands}"],
        cwd=shop.folder,
        env=shop.environment | {"BLOCK": block.text},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("block", REQUESTS, ids=lambda block: block.title)
def test_what_the_page_says_works(shop: Shop, block: Block) -> None:
    before = [one.text for one in blocks() for mark in block.named("after") if mark in one.marks]
    run(shop, block, "\n".join(before))
    for metric, value in block.reads:
        shop.wait_for(metric, value)


@pytest.mark.parametrize("block", DATAGRAMS, ids=lambda block: block.text.split()[1])
def test_what_the_page_says_of_udp_works(shop: Shop, udp_port: str, block: Block) -> None:
    assert UDP_PORT in block.text
    run(shop, replace(block, text=block.text.replace(UDP_PORT, udp_port)))
    for metric, value in block.reads:
        shop.wait_for(metric, value)


def test_the_page_shows_how_to_look_at_it(shop: Shop) -> None:
    (look,) = (block for block in blocks() if block.marks == ("look",))
    run(shop, RUNNABLE[0])
    ((metric, value),) = RUNNABLE[0].reads
    shop.wait_for(metric, value)
    (series,) = json.loads(run(shop, look))["series"]
    assert series["metric"] == metric
    assert series["points"][0][1] == value


def test_what_could_be_run_is_run() -> None:
    not_run = [b for b in blocks() if b.language in {"sh", "python"} and not b.marks]
    assert [b.text.split("(")[0] for b in not_run] == ["Client"], "the signature only"
