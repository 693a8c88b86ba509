"""What the stores over one memory share."""

from __future__ import annotations

from threading import Lock

from ptsflow.core.insight import Outlook
from ptsflow.stores.memory.logs import SharedLines
from ptsflow.stores.memory.queue import MemoryQueue
from ptsflow.stores.memory.runs import MemoryRuns
from ptsflow.stores.memory.schedules import MemorySchedules
from ptsflow.stores.memory.tasks import Shelf


class MemoryData:
    """The data that siblings share. Uids are counted, so that none is used twice."""

    __slots__ = (
        "lines",
        "lock",
        "outlooks",
        "queue",
        "runs",
        "schedules",
        "shelves",
        "uids",
    )

    def __init__(self) -> None:
        self.lines = SharedLines()
        self.lock = Lock()
        self.queue = MemoryQueue()
        self.runs = MemoryRuns()
        #: By uid, each with the fence under which it was told.
        self.outlooks: dict[str, tuple[int, Outlook]] = {}
        self.schedules = MemorySchedules()
        self.shelves: dict[str, Shelf] = {}
        self.uids = 0
