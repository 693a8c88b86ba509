"""`ptsflow ui` in a process of its own: how it begins and how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ptsflow
from tests.support.processes import PTSFLOW, environment
from tests.web.flows import Import
from tests.web.serving import Server, served, uid_of


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/pts.db"


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[Server]:
    ptsflow.run(Import(), store=url)
    with served(url, tmp_path) as serving:
        yield serving


def stream(server: Server, path: str) -> socket.socket:
    """Open a stream of events, and return when its first bytes are there."""
    opened = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    opened.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {server.token}\r\n\r\n".encode()
    )
    begun = opened.recv(65536)
    assert b" 200 " in begun.splitlines()[0]
    return opened


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_though_streams_are_open(
    server: Server, url: str, how: signal.Signals
) -> None:
    paths = ["/live", "/live", f"/c/{uid_of(url, 'import:13')}/live"]
    streams = [stream(server, path) for path in paths]

    began = time.monotonic()
    server.process.send_signal(how)
    code = server.process.wait(100)
    took = time.monotonic() - began
    for each in streams:
        each.close()

    assert code == 0, server.said.read_text()
    # Two seconds are promised; a machine under load may take longer.
    assert took < 60
    assert len(server.said.read_text().splitlines()) == 1


def test_whoever_is_heard_by_other_hosts_is_warned(url: str, tmp_path: Path) -> None:
    with served(url, tmp_path, "--host", "0.0.0.0") as server:  # noqa: S104
        assert "not encrypted" in server.said.read_text()


def test_a_taken_port_is_refused_in_one_line(server: Server, tmp_path: Path) -> None:
    again = subprocess.run(
        [*PTSFLOW, "ui", "--port", str(server.port), "--no-token"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "--port" in again.stderr
    assert str(server.port) in again.stderr
