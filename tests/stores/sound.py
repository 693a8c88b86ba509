"""A store in which all is as it should be, and that has a row of each kind."""

from __future__ import annotations

import random
from contextlib import closing

from msgspec.structs import replace

from ptsflow import codec
from ptsflow.core.insight import Outlook, RunRecord, RunStatus
from ptsflow.core.model import (
    Change,
    ContainerRecord,
    Ending,
    Status,
    StepSummary,
    TaskRecord,
)
from ptsflow.core.texts import hash_of
from ptsflow.stores.base import Store
from tests.stores.making import attempt, chunk, held, new, one, swap

PLAN = (StepSummary(name="fetch"), StepSummary(name="load", each="fetch"))
#: A payload that MongoDB keeps in a document of its own.
LARGE = codec.encode("x" * (2 << 20))


def finished(
    store: Store, name: str, count: int = 3, *, large: bool = False
) -> ContainerRecord:
    """Make a container whose workflow has run to its end.

    Args:
        store: the store.
        name: the container's name.
        count: how many tasks it has.
        large: whether it has a `LARGE` result.
    """
    store.create(name)
    made = store.container(name)
    assert made is not None
    begun = held(store, made.uid)
    now = store.now()
    record = replace(
        begun,
        workflow="Feed",
        plan=PLAN,
        params='{"day": "1"}',
        started_at=now,
        status=Status.RUNNING,
    )
    run = RunRecord(
        uid=made.uid,
        fence=begun.fence,
        container=name,
        workflow="Feed",
        began_at=now,
    )
    store.save(record, run)
    store.commit(
        made.uid,
        [_task(i, begun.fence, large) for i in range(count)],
        fence=begun.fence,
    )
    first = one(store, made.uid, "load[0]", payloads=True)
    failed = swap(first, status=Status.RUNNING, attempt=2, invoke_count=2)
    ended = attempt(1, ending=Ending.FAILED, error="no")
    store.commit(made.uid, [replace(failed, ended=ended)], fence=begun.fence)
    again = one(store, made.uid, "load[0]", payloads=True)
    store.commit(made.uid, [swap(again, status=Status.DONE)], fence=begun.fence)
    store.tell(made.uid, begun.fence, Outlook(at=now, percentage=100.0))
    with closing(store.logs()) as logs:
        logs.put(made.uid, [chunk("a line", task="load[0]")])
    over = replace(record, status=Status.DONE, ended_at=now)
    done = replace(run, status=RunStatus.DONE, ended_at=now, percentage=100.0)
    assert store.release(over, done)
    return made


def _task(number: int, fence: int, large: bool) -> Change:  # noqa: FBT001
    result = (
        LARGE if large and number == 1 else codec.encode({"songs": [number, None, "ü"]})
    )
    return new(
        f"load[{number}]",
        step="load",
        key=str(number),
        status=Status.DONE,
        fence=fence,
        attempt=1,
        invoke_count=1,
        percentage_complete=100.0,
        result=result,
        result_hash=hash_of(result),
    )


def random_history(store: Store, seed: int) -> None:
    """Let runners, clients and people do what they may do, in a random order."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    names = [f"box {number}" for number in range(chance.randint(1, 4))]
    for _ in range(chance.randint(3, 15)):
        name = chance.choice(names)
        known = store.container(name)
        match chance.choice(["run", "client", "delete", "add", "log", "again"]):
            case "run" if known is None:
                finished(store, name, chance.randint(2, 6))
            case "client":
                made, _ = store.create(name)
                task = TaskRecord(
                    name=f"own {chance.random()}", version=1, task_data="1"
                )
                store.commit(made.uid, [Change(None, task)], fence=None)
            case "delete" if known is not None:
                store.delete(known.uid)
            case "add" if known is not None:
                _change_some(store, known, chance)
            case "log" if known is not None:
                with closing(store.logs()) as logs:
                    logs.put(known.uid, [chunk("more", number=chance.randint(1, 99))])
            case "again" if known is not None:
                claimed = held(store, known.uid)
                assert store.release(claimed)
            case _:
                pass


def _change_some(store: Store, known: ContainerRecord, chance: random.Random) -> None:
    own = [task for task in store.tasks(known.uid, payloads=True) if not task.step]
    for task in own:
        if chance.random() < 0.3:
            store.commit(known.uid, [Change(task, None)], fence=None)
        else:
            text = codec.encode([chance.random()] * chance.choice([1, 1000]))
            change = swap(task, processing_data=text, status=Status.WAITING)
            store.commit(known.uid, [change], fence=None)
