"""What must hold after every crash, whatever crashed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from ptsflow.core.insight import RunRecord, RunStatus
from ptsflow.core.model import ContainerRecord, Status, TaskRecord
from ptsflow.stores import open_store
from tests.crash import journal as journals
from tests.crash.nest import Nest, Spec
from tests.crash.workflows import WORKFLOWS


class Stored(Struct, frozen=True):
    """What the store knows."""

    container: ContainerRecord | None
    tasks: dict[str, TaskRecord]
    #: The runs that held the container, the first one first.
    runs: list[RunRecord]

    def names(self, *statuses: Status) -> set[str]:
        return {t.name for t in self.tasks.values() if t.status in statuses}

    def outcome(self) -> dict[str, tuple[object, ...]]:
        """Return what must be the same however often it crashed."""
        return {
            task.name: (
                task.step,
                task.position,
                task.status,
                task.cause,
                task.percentage_complete,
                task.processing_data,
                task.result,
            )
            for task in self.tasks.values()
        }


def look(url: str, container: str = "crash") -> Stored:
    store = open_store(url)
    try:
        record = store.container(container)
        tasks = store.tasks(record.uid, payloads=True) if record else []
        runs = store.runs(name=container)[::-1]
    finally:
        store.close()
    return Stored(record, {task.name: task for task in tasks}, runs)


class Undisturbed(Struct, frozen=True):
    """How a workflow ends that nothing happens to."""

    stored: Stored
    starts: Counter[str]


def undisturbed(nest: Nest, workflow: str, folder: Path) -> Undisturbed:
    """Run a workflow in a store of its own, without a fault."""
    folder.mkdir()
    journal = folder / "journal"
    url = f"sqlite:///{folder}/pts.db"
    assert nest.run(Spec(workflow=workflow, url=url, journal=str(journal))) == 0
    return Undisturbed(look(url), journals.starts(journals.read(journal)))


def always(workflow: str) -> set[str]:
    """Return the steps that belong to every run that has work."""
    if workflow not in WORKFLOWS:
        return set()
    steps = WORKFLOWS[workflow].declared_steps.values()
    return {step.name for step in steps if step.options.always}


def run_again(nest: Nest, spec: Spec, how: RunStatus = RunStatus.LOST) -> Stored:
    """Run without a fault what crashed; check what was recorded, and the end.

    Args:
        nest: starts the run.
        spec: the run.
        how: how the history says that the runs before it ended.
    """
    journal = Path(spec.journal)
    before = look(spec.url, spec.container)
    seen = journals.starts(journals.read(journal))
    code = nest.run(replace(spec, fault=None))
    after = look(spec.url, spec.container)
    again = journals.starts(journals.read(journal))
    kept = before.names(Status.DONE) - always(spec.workflow)
    repeated = {name for name in kept if again[name] != seen[name]}

    assert code == 0, errors(spec)
    assert not repeated
    assert all(after.tasks[name].result == before.tasks[name].result for name in kept)
    assert after.container is not None
    assert after.container.status is Status.DONE
    assert after.container.owner is None
    assert after.container.workflow == spec.workflow
    assert after.names(Status.PENDING, Status.RUNNING, Status.WAITING) == set()
    check_runs(before, after, how)
    return after


def check_runs(before: Stored, after: Stored, how: RunStatus) -> None:
    """Each run has one entry, which says what became of it.

    Args:
        before: what a run left that died.
        after: what the next one left, which completed the container.
        how: how the runs before that one ended.
    """
    fences = [run.fence for run in after.runs]
    ends = [run.status for run in after.runs]
    is_done = before.container is not None and before.container.status is Status.DONE

    assert fences == sorted(set(fences))
    assert ends[-1] is RunStatus.DONE
    assert set(ends[:-1]) <= {how}
    # No run is done that did not give back a container that is.
    assert {RunStatus.DONE} & {run.status for run in before.runs} == (
        {RunStatus.DONE} if is_done else set()
    )


def check_fences(lines: list[journals.Line]) -> None:
    """Each runner has a fence of its own, larger than those before it."""
    fences = {line.pid: line.fence for line in lines}

    assert all(line.fence == fences[line.pid] for line in lines)
    assert list(fences.values()) == sorted(set(fences.values()))


def errors(spec: Spec) -> str:
    path = Path(f"{spec.journal}.errors")
    return path.read_text() if path.exists() else ""
