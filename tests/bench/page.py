"""Measure what the page weighs and takes, each figure beside its mark.

    python tests/bench/page.py [--check] [--store sqlite|mongodb] [--rounds N] [--json]
                               [--part PART]

A server shows a container of 12 steps, one of 100,000 items, and 9,000 containers. Runs
of 100,000 items have three who look on, or nobody, in turns. Times are those of a request,
the median of `--rounds`: the machine should have nothing else to do. `--check` exits 1 if a
figure is over its mark. PART is one of weight, time, run. MongoDB is a server of its own,
unless PTSFLOW_TEST_MONGODB_URI names another.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.look import fill, start, url_of  # noqa: E402 - found above
from tests.bench.parts import Row, measure  # noqa: E402
from tests.bench.scale_cases import Place  # noqa: E402
from tests.web.serving import Server, end, served, start_held, uid_of  # noqa: E402

#: The most KB: of all that a first visit loads, of a change, of a drawing.
_VISIT, _TICK, _SVG = 60, 10, 40
#: The most milliseconds: of a page of 12 steps, of 100,000 items by store, of all.
_SMALL, _LARGE, _ALL = 50, {"sqlite": 250, "mongodb": 700}, 500
#: The most MB of the server.
_MEMORY = 120
#: How much longer a run may take with three who look on.
_SLOWER = 1.02
#: The tabs at which those look who look on at a run.
_VIEWERS = ("timeline", "items", "logs")
_TABS = ("", "graph", "items", "errors", "logs", "results")

_STEPS = 12
_FLOW = """
from ptsflow import Workflow, step


class Many(Workflow):
    @step
    def numbers(self) -> list[int]:
        return list(range(100_000))

    @step(each=numbers, retry=0)
    def item(self, number: int) -> None:
        if number % 10_000 == 7:
            raise ValueError(f"bad date in row {number}")


class Whole(Workflow):
    @step
    def numbers(self) -> list[int]:
        return list(range(100_000))

    @step(each=numbers)
    def item(self, number: int) -> None:
        pass


class Twelve(Workflow):
""" + "".join(
    f"    @step\n    def step_{n}(self) -> int:\n        return {n}\n\n"
    for n in range(_STEPS)
)


def row(what: str, unit: str, value: float, most: float | None) -> Row:
    """Return a figure beside its mark."""
    is_within = most is None or value <= most
    return {"what": what, "unit": unit, "value": value, "most": most, "ok": is_within}


class Visitor:
    """Asks a server as a browser does that takes compressed answers."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._headers = {
            "Authorization": f"Bearer {server.token}",
            "Accept-Encoding": "gzip",
        }

    def ask(self, path: str) -> tuple[HTTPConnection, HTTPResponse]:
        """Return the answer to a request, of which nothing was read yet."""
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        assert answer.status == 200, f"{path}: {answer.status}"
        return connection, answer

    def get(self, path: str) -> tuple[bytes, int]:
        """Return a body, and how many bytes of it were sent."""
        connection, answer = self.ask(path)
        with contextlib.closing(connection):
            sent = answer.read()
        is_small = answer.headers.get("Content-Encoding") == "gzip"
        return gzip.decompress(sent) if is_small else sent, len(sent)

    def milliseconds(self, path: str, rounds: int) -> float:
        """Return how long a page is waited for: the median of several requests."""
        self.get(path)
        waits = []
        for _ in range(rounds):
            began = time.perf_counter()
            self.get(path)
            waits.append((time.perf_counter() - began) * 1e3)
        return statistics.median(waits)

    def page(self, uid: str, tab: str = "timeline") -> str:
        """Return the page of a container with its live address."""
        return self.get(f"/c/{uid}?tab={tab}")[0].decode()


# -- weight -------------------------------------------------------------------


def weight_rows(place: Place, kind: str, _rounds: int) -> Iterator[Row]:
    """Yield what is sent."""
    url = url_of(place, kind)
    place.ptsflow("run", "flow.py:Twelve", "-c", "twelve", "-q", "--store", url)
    big = ("run", "flow.py:Many", "-c", "big", "-q", "--store", url)
    place.ptsflow(*big, expect=(0, 1))
    running = start_held(url, "held", place.folder / f"held-{kind}")
    try:
        with served(url, place.folder) as server:
            visitor = Visitor(server)
            for name in ("twelve", "big"):
                html, sent = visitor.get(f"/c/{uid_of(url, name)}")
                loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', html.decode())
                total = sent + sum(visitor.get(path)[1] for path in set(loaded))
                yield row(f"first visit, {name}", "KB", total / 1e3, _VISIT)
            for name in ("twelve", "big"):
                yield row(
                    f"largest drawing, {name}", "KB", _svg(visitor, url, name), _SVG
                )
            ticks = _ticks(visitor, uid_of(url, "held"), place.folder / f"held-{kind}")
            yield row("largest change", "KB", max(ticks) / 1e3, _TICK)
    finally:
        end(running)


def _svg(visitor: Visitor, url: str, name: str) -> float:
    """Return how large the largest drawing of a container is."""
    uid = uid_of(url, name)
    pages = [
        visitor.get(f"/c/{uid}?tab={tab}".removesuffix("?tab="))[0] for tab in _TABS
    ]
    drawings = [
        found
        for page in pages
        for found in re.findall(rb"<svg.*?</svg>", page, re.DOTALL)
    ]
    return max(map(len, drawings), default=0) / 1e3


def live_address(html: str) -> str:
    """Return where the changes of a page are sent."""
    found = re.search(r'hx-sse:connect="([^"]+)"', html)
    assert found
    return found[1].replace("&amp;", "&")


def _ticks(visitor: Visitor, uid: str, folder: Path, count: int = 6) -> list[int]:
    """Return how large the events of some changes are."""
    connection, answer = visitor.ask(live_address(visitor.page(uid)))
    sizes, size, said = list[int](), 0, 1
    (folder / "say1").touch()
    with contextlib.closing(connection):
        while len(sizes) < count:
            line = answer.readline()
            size += len(line)
            if line == b"\n":
                sizes.append(size)
                size, said = 0, said + 1
                (folder / f"say{said}").touch()
    return sizes


# -- time ---------------------------------------------------------------------


def time_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield how long pages are waited for, and the memory of the server."""
    url = url_of(place, kind)
    place.ptsflow("run", "flow.py:Twelve", "-c", "twelve", "-q", "--store", url)
    big = ("run", "flow.py:Many", "-c", "big", "-q", "--store", url)
    place.ptsflow(*big, expect=(0, 1))
    with served(url, place.folder) as server:
        visitor = Visitor(server)
        for name, most in (("twelve", _SMALL), ("big", _LARGE[kind])):
            uid = uid_of(url, name)
            for tab in _TABS:
                path = f"/c/{uid}?tab={tab}" if tab else f"/c/{uid}"
                took = visitor.milliseconds(path, rounds)
                yield row(f"{name}, {tab or 'timeline'}", "ms", took, most)
        fill(url)
        took = visitor.milliseconds("/", rounds)
        yield row("first page of 9,000 containers", "ms", took, _ALL)
        took = visitor.milliseconds("/w/Feed", rounds)
        yield row("workflow of 9,000 containers", "ms", took, _ALL)
        yield row("the server", "MB", _peak(server.process.pid), _MEMORY)


def _peak(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found
    return int(found[1]) / 1e3


# -- a run with somebody who looks on -----------------------------------------


def run_rows(place: Place, kind: str, rounds: int) -> Iterator[Row]:
    """Yield how much slower a run is with three who look on.

    The mark is for its CPU time: how long it takes depends on what else the machine does,
    the server of the page with it.
    """
    alone, shown = list[tuple[float, float]](), list[tuple[float, float]]()
    for _ in range(rounds):
        alone.append(_run(place, kind, ()))
        shown.append(_run(place, kind, _VIEWERS))
    for what, which, most in (("CPU time", 0, _SLOWER), ("time", 1, None)):
        ratios = [b[which] / a[which] for a, b in zip(alone, shown, strict=True)]
        ratio = statistics.median(ratios)
        made = row(f"{what} of a run with three who look on", "times", ratio, most)
        yield made | {"ratios": ratios}


def _run(place: Place, kind: str, viewers: Sequence[str]) -> tuple[float, float]:
    """Return the CPU seconds of a run of 100,000 items, and how long it took.

    Args:
        place: the folder.
        kind: of which store.
        viewers: the tab at which each of those looks who look on.
    """
    url = url_of(place, kind)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(served(url, place.folder)) if viewers else None
        began = time.perf_counter()
        run = start(place, "run", "flow.py:Whole", "-c", "many", "-q", "--store", url)
        if server is not None:
            visitor = Visitor(server)
            uid = _made(url, "many")
            for tab in viewers:
                live = live_address(visitor.page(uid, tab))
                stack.callback(_look_on(visitor, live))
        _, code, used = os.wait4(run.pid, 0)
        took = time.perf_counter() - began
        run.returncode = code
        assert code == 0
    return used.ru_utime + used.ru_stime, took


def _made(url: str, name: str) -> str:
    """Return the uid of a container as soon as it is there."""
    while True:
        with contextlib.suppress(AssertionError):
            return uid_of(url, name)
        time.sleep(0.01)


def _look_on(visitor: Visitor, path: str) -> Callable[[], None]:
    """Read a stream of changes in a thread; return what ends that."""
    connection, answer = visitor.ask(path)

    def read() -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            while answer.readline():
                pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def close() -> None:
        if connection.sock is not None:
            connection.sock.close()

    return close


_ROWS = {"weight": weight_rows, "time": time_rows, "run": run_rows}


def line_of(row: Row) -> str:
    """Return a row as a person reads it."""
    most = "-" if row["most"] is None else row["most"]
    end = "" if row["ok"] else "  OVER"
    return f"{row['what']:44} {row['value']:9.3f} {row['unit']:5} {most:>6}{end}"


def main() -> int:
    """Measure and print."""
    return measure(__doc__ or "", _ROWS, line_of, _FLOW)


if __name__ == "__main__":
    sys.exit(main())
