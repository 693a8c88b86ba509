"""A SQLite store with something of each kind in it, whose bits are flipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import ptsflow
from ptsflow import Retry, TaskHandle, Workflow, step
from ptsflow.errors import StoreError
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import Ticker

#: The bodies that began, in order.
BEGAN: list[str] = []
#: Steps that fail.
BROKEN: set[str] = set()

_AGAIN = Retry(1, delay=0)


class Flipped(Workflow):
    """Left off with its last step failed."""

    @step
    def listing(self, task: TaskHandle) -> list[str]:
        BEGAN.append(task.name)
        return ["a", "b", "c"]

    @step(each=listing, retry=_AGAIN)
    def fetch(self, name: str, task: TaskHandle) -> str:
        BEGAN.append(task.name)
        if name == "b" and task.attempt == 1:
            task.checkpoint({"read": 3})
            raise OSError("not yet")
        return name * 300

    @step
    def big(self, task: TaskHandle) -> str:
        BEGAN.append(task.name)
        return "x" * 9000

    @step(retry=0)
    def join(self, fetch: list[str], big: str, task: TaskHandle) -> str:
        BEGAN.append(task.name)
        if task.name in BROKEN:
            raise OSError("not today")
        return f"{''.join(fetch)}{big}"


EXPECTED = "a" * 300 + "b" * 300 + "c" * 300 + "x" * 9000


def make(path: Path) -> bytes:
    """Make the store, and return its file's content."""
    url = f"sqlite:///{path}"
    BROKEN.add("join")
    try:
        ptsflow.run(Flipped(), url)
    finally:
        BROKEN.clear()
    with ptsflow.connect(url) as client:
        feed, _ = client.get_or_create_task_container("feed")
        for number in range(40):
            feed.add_task(f"task {number}", task_data={"number": number})
        feed.update_task("task 0", is_complete=True, processing_data=[1])
        feed.delete_task("task 39")
        client.get_or_create_task_container("empty")
    return path.read_bytes()


def flipped(content: bytes, bit: int) -> bytes:
    """Return the content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


class Told(str):
    """What was said about damage, in place of what was asked for."""

    __slots__ = ()


def read(path: Path, names: Mapping[str, Iterable[str]]) -> dict[str, object]:
    """Return all that can be read of a store, by how it was asked.

    Args:
        path: the store's file.
        names: tasks that are asked for by name, for the uids of containers.
    """
    try:
        opened = SqliteStore(f"sqlite:///{path}", clock=Ticker(), patience=0.1)
    except StoreError as error:
        return {"open": Told(error)}
    found: dict[str, object] = {}
    with closing(opened) as store:
        for what, look in _looks(store, names):
            try:
                found[what] = look()
            except StoreError as error:
                found[what] = Told(error)
    return found


def _looks(
    store: SqliteStore, names: Mapping[str, Iterable[str]]
) -> Iterator[tuple[str, Callable[[], object]]]:
    for name in ("Flipped", "feed", "empty", "absent"):
        yield f"container {name}", partial(store.container, name)
    yield "containers", store.containers
    for uid, tasks in names.items():
        for name in tasks:
            yield f"task {name}", partial(store.tasks, uid, [name], payloads=True)
            yield f"attempts of {name}", partial(store.attempts, uid, name)
        yield f"tasks of {uid}", partial(store.tasks, uid)
        yield f"payloads of {uid}", partial(store.tasks, uid, payloads=True)
        yield f"next of {uid}", partial(store.next_open, uid)
        yield f"tallies of {uid}", partial(store.tallies, [uid])
        yield f"stop of {uid}", partial(store.stop_asked, uid, 1)


def changed(found: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """Return what was asked and answered with something else, and not with damage."""
    return [
        what
        for what, answer in found.items()
        if not isinstance(answer, Told) and answer != expected[what]
    ]
