"""The changes of a commit to MongoDB, and what to do if not all of them were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bson import ObjectId
from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core.model import Change, TaskRecord
from ptsflow.errors import Conflict
from ptsflow.stores.mongo.records import refuse_holder
from ptsflow.stores.rules import matches, recognise


class Committer(Struct, frozen=True):
    """The runner or client that commits."""

    #: None for a client.
    fence: int | None
    #: The mark of a client's write. Writes of runners are known by their fence.
    write: ObjectId | None = None
    #: Whether the commit is repeated because its answer was lost.
    again: bool = False


class Stored(Struct, frozen=True):
    """A stored task, and the mark of the client that wrote it last."""

    task: TaskRecord
    write: ObjectId | None
    held: float | None = None


def is_guarded(change: Change) -> bool:
    """Return whether the `held` of the task shows if the lease was lost."""
    return change.before is not None and not change.before.is_complete


def held_after_release(fence: int) -> float:
    """Return the value of `held` after the lease of a fence was given back.

    fence < value < fence + 1: the owner of the fence can write no more, and the next
    owner can.
    """
    return fence + 0.5


def adopted(
    change: Change, stored: Mapping[str, Stored], committer: Committer
) -> Change:
    """Return an insert as an update, if a runner that lost the lease made the insert.

    If a runner is overtaken between its check of the lease and its insert, the new task
    has an older fence and blocks the same insert of the next runner.
    """
    found = None if change.after is None else stored.get(change.after.name)
    if change.before is not None or found is None or committer.fence is None:
        return change
    # The claim stamped its fence into every open task that existed then.
    is_late = found.held is not None and found.held < committer.fence
    is_new = found.task.version == 1 and not found.task.is_complete
    return replace(change, before=found.task) if is_late and is_new else change


def places_task(changes: Iterable[Change]) -> tuple[int, int]:
    """Return the lowest free position after the changes, and how many tasks need one."""
    lowest = missing = 0
    for change in changes:
        before, after = change.before, change.after
        if after is None or (before is not None and before.position == after.position):
            continue
        if after.position < 0:
            missing += 1
        else:
            lowest = max(lowest, after.position + 1)
    return lowest, missing


def names_of(changes: Iterable[Change]) -> set[str]:
    """Return the names of all tasks in the changes."""
    return {
        task.name
        for change in changes
        for task in (change.before, change.after)
        if task is not None
    }


def not_made(
    changes: Sequence[Change], stored: Mapping[str, Stored], committer: Committer
) -> list[Change]:
    """Return the changes that this committer has not made yet, in order.

    If a later change of the batch to the same task was made, so was the earlier one.
    """
    left: list[Change] = []
    passed: set[str] = set()
    for change in reversed(changes):
        before, after = change.before, change.after
        if (after is not None and after.name in passed) or _is_made(
            change, stored, committer
        ):
            if before is not None:
                passed.add(before.name)
        else:
            left.append(change)
    return left[::-1]


def _is_made(
    change: Change, stored: Mapping[str, Stored], committer: Committer
) -> bool:
    before, after = change.before, change.after
    found = stored.get(after.name) if after is not None else None
    if committer.fence is None:
        if after is None:
            return committer.again and before is not None and before.name not in stored
        return (
            found is not None
            and found.write == committer.write
            and found.task.version == after.version
        )
    earlier = stored.get(before.name) if before is not None else None
    try:
        recognise(
            "",
            change,
            committer.fence,
            at_before=earlier.task if earlier else None,
            at_after=found.task if found else None,
        )
    except Conflict:
        return False
    return True


def check_holders(stored: Mapping[str, Stored], fence: int) -> None:
    """Raise if a task says to be held by a later owner than its container has had.

    Raises:
        StoreDamaged: nobody could swap the task.
    """
    for name, found in stored.items():
        held = found.held
        if isinstance(held, int | float) and held > held_after_release(fence):
            refuse_holder(name, held, fence)


def expect_ready(
    container: str,
    changes: Iterable[Change],
    stored: Mapping[str, Stored],
    fence: int | None,
) -> None:
    """Raise Conflict unless the changes, one after the other, fit what is stored."""
    tasks = {name: found.task for name, found in stored.items()}
    for change in changes:
        before, after = change.before, change.after
        at_before = tasks.get(before.name) if before else None
        at_after = tasks.get(after.name) if after else None
        renames = before is None or (after is not None and after.name != before.name)
        if not matches(before, at_before) or (renames and at_after is not None):
            recognise(container, change, fence, at_before=at_before, at_after=at_after)
        if before is not None:
            tasks.pop(before.name, None)
        if after is not None:
            tasks[after.name] = after
