"""What type checkers must see of the public interface; checked, and never run."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, assert_type

import ptsflow
from ptsflow import (
    Client,
    Container,
    Finish,
    Report,
    Retry,
    RetryLater,
    Task,
    TaskHandle,
    Workflow,
    step,
)
from ptsflow.core.plan import Executor
from ptsflow.workflow.step import Step
from ptsflow.workflow.step_options import EXECUTORS, check_executor


class EpfImport(Workflow):
    """Hourly import of a media feed."""

    container = "epf:{hour:%Y%m%dT%H}"
    executor = "process"
    limits: ClassVar = {"db": 2, "net": 4}
    hour: datetime
    server: str = "http://127.0.0.1:8800"

    @step(retry=Retry(5, delay=10, on=(OSError,)))
    def check(self) -> list[str]:
        if not self.server:
            raise Finish("no server")
        return [self.server]

    @step(each=check, key="name", limit=4, tolerate="2%")
    def download(self, file: str, task: TaskHandle) -> Path:
        for done in task.track(range(5)):
            assert_type(done, int)
            task.progress(done, total=5, text="rows")
        task.checkpoint({"offset": 5})
        assert_type(task.processing_data, object)
        if task.cancelled:
            raise RetryLater(60, "not now")
        return Path(file)

    @step(each=download, retry=2, version=2, uses={"net": 2}, priority=10)
    def unpack(self, archive: Path) -> Path:
        return archive

    @step(parallel=True, uses="db", executor="dask", keep_workdir=True)
    def load(self, unpack: list[Path]) -> int:
        return len(unpack)

    @step(after=(check, load), optional=True, weight=2.5)
    async def announce(self, load: int) -> str:
        return str(load)

    @step(after=())
    def warm_up(self) -> None: ...

    @step
    def verify(self, load: int) -> bool:
        return load > 0

    @step(always=True)
    def clean_up(self) -> None: ...


class Weekly(EpfImport):
    """A subclass overrides a step, and calls the one it overrides."""

    @step
    def check(self) -> list[str]:
        return [*super().check(), "weekly"]


def make_pool() -> concurrent.futures.Executor:
    return concurrent.futures.ThreadPoolExecutor()


class Pooled(Workflow):
    """A pool is made by a function."""

    executor = staticmethod(make_pool)
    limits: ClassVar = EpfImport.limits | {"db": 9}


class Spread(Workflow):
    """A class of pools needs no wrapping."""

    executor = concurrent.futures.ProcessPoolExecutor


def places(where: Executor) -> str | None:
    assert_type(check_executor(where), str | None)
    assert_type(EXECUTORS[0], str)
    assert_type(Workflow.executor, Executor)
    return check_executor(make_pool)


def methods_stay_methods(flow: EpfImport, task: TaskHandle) -> None:
    assert_type(flow.check(), list[str])
    assert_type(flow.download("songs", task), Path)
    assert_type(flow.verify(load=5), bool)
    assert_type(flow.hour, datetime)
    assert_type(flow.container_name, str)


async def an_async_step_is_awaited(flow: EpfImport) -> None:
    assert_type(await flow.announce(5), str)


def arguments_are_checked(flow: EpfImport, task: TaskHandle) -> None:
    flow.download(5, task)  # type: ignore[arg-type]
    flow.download("songs")  # type: ignore[call-arg]
    flow.verify(laod=5)  # type: ignore[call-arg]


def steps_stand_for_themselves_on_the_class() -> None:
    assert_type(EpfImport.check, Step[[], list[str]])
    assert_type(EpfImport.verify.name, str)


def options_are_checked() -> None:
    step(retries=5)  # type: ignore[call-overload]
    step(after="check")  # type: ignore[call-overload]
    step(each=(EpfImport.check,))  # type: ignore[call-overload]
    step(retry="5")  # type: ignore[call-overload]
    step(limit=2.5)  # type: ignore[call-overload]
    step(parallel=1)  # type: ignore[call-overload]
    step(uses={"db": "2"})  # type: ignore[dict-item]
    step(uses=2)  # type: ignore[call-overload]
    step(priority="high")  # type: ignore[call-overload]
    step(keep_workdir=1)  # type: ignore[call-overload]
    step(executor=make_pool)  # type: ignore[call-overload]
    Retry("5")  # type: ignore[arg-type]
    Retry(on="OSError")  # type: ignore[arg-type]


def running(flow: EpfImport) -> None:
    report = ptsflow.run(
        flow, store="sqlite:///x.db", container=None, jobs=None, lease=60
    )
    assert_type(report, Report)
    assert_type(report.ok, bool)
    assert_type(report.container, str)
    assert_type(report.tasks, list[Task])
    assert_type(report.result("verify"), Any)


def client() -> None:
    with ptsflow.connect("memory:") as connected:
        assert_type(connected, Client)
        container, created = connected.get_or_create_task_container("nightly")
        assert_type(container, Container)
        assert_type(created, bool)
        assert_type(connected.get_task_container("absent"), Container | None)
        task = container.add_task("download", task_data={"url": "x"}, max_retries=5)
        assert_type(task, Task)
        assert_type(container.get_task("download"), Task | None)
        assert_type(container.lease_next_task(seconds=60), Task | None)
        assert_type(task.last_invoked_at, datetime | None)


def keys() -> Callable[[Any], str | int]:
    def key(item: Any) -> str | int:
        return str(item)

    step(each=EpfImport.check, key=key)
    return key
