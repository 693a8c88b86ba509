"""Processes that do something to one container at the same moment, again and again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import ptsflow
from ptsflow.client import Container

#: What one of them does: of the container, and of its own number from 0 on.
Act = Callable[[Container, int], Any]

SIZE = 4
#: Seconds after which something hangs.
_PATIENCE = 60


class ClientProcesses:
    """Some processes that wait for something to do together."""

    def __init__(self, ends: list[Connection]) -> None:
        self._ends = ends

    def do(self, act: Act, url: str, container: str) -> list[Any]:
        """Have all of them do it at once; return what each made of it."""
        for end in self._ends:
            end.send((act, url, container))
        return [self._answer(end) for end in self._ends]

    def _answer(self, end: Connection) -> object:
        assert end.poll(_PATIENCE), "one of the processes hangs"
        answer: object = end.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer


@contextmanager
def started_processes() -> Iterator[ClientProcesses]:
    """Start the processes, and end them."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(SIZE)
    pipes = [context.Pipe() for _ in range(SIZE)]
    processes = [
        context.Process(target=_serve, args=(there, barrier, me), daemon=True)
        for me, (_, there) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    try:
        yield ClientProcesses([here for here, _ in pipes])
    finally:
        for (here, there), process in zip(pipes, processes, strict=True):
            process.kill()
            process.join()
            here.close()
            there.close()


def _serve(end: Connection, barrier: Barrier, me: int) -> None:
    while True:
        act, url, name = end.recv()
        try:
            with ptsflow.connect(url) as client:
                container, _ = client.get_or_create_task_container(name)
                barrier.wait(_PATIENCE)
                end.send(act(container, me))
        except Exception as error:  # noqa: BLE001 - the test raises it
            end.send(error)
