"""The manual's topic of events: its example posts failures, its tables are whole."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ptsflow import events
from ptsflow.events import Event, RunEnding
from tests.docs.blocks import blocks_of, environment
from tests.support.processes import ROOT

TOPIC = ROOT / "ptsflow" / "manual" / "events.md"
TEXT = TOPIC.read_text(encoding="utf-8")

FLOW = """
from ptsflow import Fail, Retry, Workflow, step

class Feed(Workflow):
    @step
    def check(self) -> list[str]:
        return ["songs", "artists"]

    @step(each=check, retry=Retry(1, delay=0))
    def load(self, name: str) -> str:
        if name == "songs":
            raise OSError("no route")
        return name
"""


class Posted:
    """What was posted to a server, and its URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.texts: list[str] = []
        self.status = 204


@pytest.fixture
def posted() -> Iterator[Posted]:
    """Return what a local server is sent."""
    found: Posted

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(
                self.rfile.read(int(self.headers["Content-Length"]))
            )
            assert self.headers["Content-Type"] == "application/json"
            found.texts.append(body["text"])
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Posted(f"http://127.0.0.1:{server.server_port}/failures")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def run(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run a workflow that fails, in a folder that has the manual's example."""
    for block in blocks_of(TOPIC):
        named = re.match(r"# (post_failures\.py|pyproject\.toml)\n", block.text)
        if named:
            (folder / named[1]).write_text(block.text, encoding="utf-8")
    (folder / "feed.py").write_text(FLOW, encoding="utf-8")
    return subprocess.run(
        ["ptsflow", "run", "feed.py"],
        cwd=folder,
        env=environment(folder) | {"FAILURES_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_example_posts_each_failure(tmp_path: Path, posted: Posted) -> None:
    ended = run(tmp_path, posted.url)

    assert ended.returncode == 1, ended.stderr
    assert len(posted.texts) == 2
    assert all(
        text.startswith("Feed, load[songs]: OSError: no route") for text in posted.texts
    )


def test_a_server_that_refuses_is_named_once_and_the_run_goes_on(
    tmp_path: Path, posted: Posted
) -> None:
    posted.status = 500
    ended = run(tmp_path, posted.url)

    assert ended.returncode == 1, ended.stderr
    assert len(posted.texts) == 1
    assert (
        ended.stderr.count("the listener post_failures:make.<locals>.post raised") == 1
    )


def test_the_example_is_short() -> None:
    (text,) = [b.text for b in blocks_of(TOPIC) if b.text.startswith("# post_failures")]

    assert len([line for line in text.splitlines()[1:] if line.strip()]) <= 15


@pytest.mark.parametrize("kind", Event.__subclasses__(), ids=lambda kind: kind.__name__)
def test_the_manual_and_the_module_tell_every_field_of_every_event(
    kind: type[Event],
) -> None:
    _, _, table = TEXT.partition(f"| field of `{kind.__name__}` ")
    rows = re.match(r"[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)*)", table)
    line = next(
        line
        for line in (events.__doc__ or "").splitlines()
        if line.startswith(f"| `{kind.__name__}` ")
    )

    assert rows is not None
    _, *fields = kind.__struct_fields__  # `at` is in all of them.
    in_manual = [_names(row.split("|")[1]) for row in rows[1].splitlines()]
    assert [name for names in in_manual for name in names] == fields
    assert _names(line.split("|")[3]) == fields


def _names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_manual_tells_every_way_in_which_a_run_ends() -> None:
    _, _, table = TEXT.partition("| `how` | the run ended because |")

    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(RunEnding)


def test_all_that_the_module_offers_is_there() -> None:
    kinds = {kind.__name__ for kind in Event.__subclasses__()}

    assert sorted(events.__all__) == events.__all__
    assert kinds <= set(events.__all__)
    assert all(hasattr(events, name) for name in events.__all__)
