"""The durable writes of a chain of steps, by a driver alone.

What a chain costs beyond them is ptsflow's. What they cost beyond the floor of `run` is the
price of what is written: two whole tasks with check values under a fence, not one text.
Everything is encoded before the clock starts, as far as the driver lets it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from ptsflow.core import transitions
from ptsflow.core.model import Change, TaskRecord
from ptsflow.stores import open_store

#: What the records of a chain have in common; nobody looks at the values.
_NOW, _FENCE, _RAN_BY, _HASH = 1_800_000_000_000, 1, "host:12345", "ast:1a2b3c4d"


def tasks_of(length: int) -> list[TaskRecord]:
    """Return the tasks of a chain as they are inserted."""
    return [
        TaskRecord(
            name=f"s{index:05}",
            step=f"s{index:05}",
            position=index << 32,
            version=1,
            fence=_FENCE,
            code_hash=_HASH,
            ran_by=_RAN_BY,
            task_data=None,
            processing_data=None,
            result=None,
        )
        for index in range(length)
    ]


#: A task before and after.
Swap = tuple[TaskRecord, TaskRecord]


def commits_of(tasks: Sequence[TaskRecord]) -> list[list[Swap]]:
    """Return the commits of a chain: each ends one task and starts the next one."""
    commits: list[list[Swap]] = []
    ended: list[Swap] = []
    for task in tasks:
        running = transitions.start(task, now=_NOW, fence=_FENCE, ran_by=_RAN_BY)
        commits.append([*ended, (task, running)])
        done = transitions.succeed(
            running, now=_NOW, result=transitions.NULL, took_ms=0, code_hash=_HASH
        )
        ended = [(running, done)]
    return commits


class BareSqlite:
    """The writes of a chain by apsw alone, each time in a new file of the store's layout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def measure(self, steps: int = 1_000) -> float:
        """Return seconds for one step."""
        import apsw  # noqa: PLC0415 - only for this store

        from ptsflow.stores.sqlite import statements  # noqa: PLC0415 - see above

        path, tasks = self._folder / f"bare-{uuid4().hex}.db", tasks_of(steps)
        store = open_store(f"sqlite:///{path}")
        uid = store.create("bare")[0].uid
        store.commit(uid, [Change(None, task) for task in tasks], fence=None)
        store.close()
        first, number = statements.UNINDEXED, int(uid)
        swaps = [
            [_swap(number, before, after, first) for before, after in commit]
            for commit in commits_of(tasks)
        ]
        db = apsw.Connection(str(path))
        db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=250")
        execute, update = db.cursor().execute, statements.UPDATE[first]
        started = time.perf_counter()
        for rows in swaps:
            execute("BEGIN IMMEDIATE")
            execute(statements.WRITER, (number,)).fetchall()
            for row in rows:
                execute(update, row)
                assert db.changes() == 1
            execute("COMMIT")
        took = (time.perf_counter() - started) / steps
        db.close()
        return took


def _swap(
    container: int, before: TaskRecord, after: TaskRecord, first: int
) -> tuple[Any, ...]:
    """Return what the statement of a swap is given that writes from column `first` on."""
    from ptsflow.stores.sqlite import statements  # noqa: PLC0415 - only for this store
    from ptsflow.stores.sqlite.rows import task_row  # noqa: PLC0415 - see above

    row = task_row(container, after, after.position)
    match = container, before.name, before.version, before.fence
    return (*row[first:], *match, *row[statements.KEYS + 1 : first])


class BareMongo:
    """The writes of a chain by pymongo alone, each time in a new database."""

    def __init__(self, url: str) -> None:
        import pymongo  # noqa: PLC0415 - only for this store

        self._client: Any = pymongo.MongoClient(url)
        self._concern = pymongo.WriteConcern("majority", j=True).document

    def measure(self, steps: int = 1_000) -> float:
        """Return seconds for one step."""
        from bson import ObjectId  # noqa: PLC0415 - only for this store

        from ptsflow.stores.mongo.changes import Committer  # noqa: PLC0415 - see above
        from ptsflow.stores.mongo.documents import TaskDocument  # noqa: PLC0415
        from ptsflow.stores.mongo.records import new_task, task_id  # noqa: PLC0415
        from ptsflow.stores.mongo.requests import swap_by_id, write_of  # noqa: PLC0415

        database = self._client[f"bare{uuid4().hex[:12]}"]
        uid, tasks = ObjectId(), tasks_of(steps)
        documents = database[TaskDocument.collection_name()]
        TaskDocument.ensure_indexes_in(documents)
        documents.insert_many(
            {"_id": task_id(uid, task.name)} | new_task(uid, task, _FENCE)
            for task in tasks
        )
        commands = [
            {
                "update": documents.name,
                "updates": [
                    swap_by_id(write_of(uid, Change(*swap), Committer(_FENCE), _FENCE))
                    for swap in commit
                ],
                "writeConcern": self._concern,
            }
            for commit in commits_of(tasks)
        ]
        started = time.perf_counter()
        for command in commands:
            answer = database.command(command)
            assert answer["nModified"] == len(command["updates"])
        took = (time.perf_counter() - started) / steps
        self._client.drop_database(database.name)
        return took

    def close(self) -> None:
        """Close it."""
        self._client.close()
