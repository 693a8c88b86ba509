"""The handle of a body in the processes that the body starts."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from ptsflow.core.model import TaskRecord
from ptsflow.errors import PtsflowError, WrongProcess
from tests.support.containers import tasks_of
from tests.support.processes import python
from tests.support.reports import Reports, handle_of

FLOW = """
import multiprocessing, os, pickle, time
from concurrent.futures import ProcessPoolExecutor
import ptsflow
from ptsflow import TaskHandle, Workflow, step

def named(act):
    try:
        act()
    except ptsflow.PtsflowError as error:
        return type(error).__name__
    except BaseException as error:
        return repr(error)
    return "works"

def tried(task):
    began = time.monotonic()
    refused = [named(act) for act in (
        lambda: task.checkpoint("elsewhere"), lambda: task.progress(1),
        lambda: list(task.track([1])), lambda: task.cancelled)]
    works = [named(act) for act in (
        lambda: task.processing_data["rows"], lambda: (task.workdir / "x").write_text("x"),
        lambda: task.log.info("from elsewhere"), lambda: task.idempotency_key.encode())]
    return set(refused), set(works), time.monotonic() - began < 60

def tell(task, queue):
    queue.put(tried(task))

def by_fork(task):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, pickle.dumps(tried(task)))
        os._exit(0)
    os.waitpid(pid, 0)
    return pickle.loads(os.read(reading, 4096))

def by_multiprocessing(task, how):
    context = multiprocessing.get_context(how)
    queue = context.SimpleQueue()
    process = context.Process(target=tell, args=[task, queue])
    process.start()
    process.join(20)
    return queue.get()

def by_pool(task):
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(tried, task).result(20)

class Elsewhere(Workflow):
    @step(retry=0)
    def looks(self, task: TaskHandle) -> list:
        task.checkpoint({"rows": 1})
        seen = [by_fork(task), by_multiprocessing(task, "fork"),
                by_multiprocessing(task, "spawn"), by_pool(task)]
        task.checkpoint({"rows": 2})  # its answer was taken by nobody else
        return [seen, task.processing_data]

    @step(retry=0, optional=True)
    def names_a_lost_file(self, task: TaskHandle) -> str:
        pid = os.fork()
        if pid == 0:
            (task.workdir / "rows").write_text("x")
            os._exit(0)
        os.waitpid(pid, 0)
        return str(task.folder) + "/rows"

    @step
    def passes_the_error_on(self, task: TaskHandle) -> None:
        with ProcessPoolExecutor(1) as pool:
            pool.submit(task.checkpoint, 1).result(20)

if __name__ == "__main__":
    ptsflow.run(Elsewhere(), store="sqlite:///pts.db", executor=EXECUTOR, container="c")
"""

REFUSED = ({"WrongProcess"}, {"works"}, True)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_needs_the_runner_is_refused_at_once_in_a_process_of_the_body(
    executor: str, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(FLOW.replace("EXECUTOR", repr(executor)))
    done = python("flow.py", cwd=tmp_path, TMPDIR=tmp_path)

    tasks = tasks_of(f"sqlite:///{tmp_path}/pts.db", "c")
    assert tasks["looks"].result == [[REFUSED] * 4, {"rows": 2}], done.stderr
    assert "task.workdir" in (tasks["names_a_lost_file"].error or "")
    passed_on = tasks["passes_the_error_on"]
    assert (passed_on.error or "").startswith("WrongProcess: task.checkpoint of passes")
    assert passed_on.invoke_count == 1  # a bug is not tried again


def test_the_refusal_says_what_to_do() -> None:
    task = pickle.loads(pickle.dumps(handle_of(Reports(), TaskRecord(name="load"))))  # noqa: S301 - its own
    with pytest.raises(WrongProcess) as refused:
        task.checkpoint(1)

    assert isinstance(refused.value, PtsflowError)
    assert str(refused.value) == (
        "task.checkpoint of load: expected the process of the body, found pid "
        f"{os.getpid()}, which the body started; hand over to the body what it needs "
        "(return it, or use a queue), and call it there"
    )


def test_a_copy_within_the_process_is_the_handle_itself() -> None:
    task = handle_of(Reports())

    assert copy.copy(task) is task
    assert copy.deepcopy({"task": task})["task"] is task
