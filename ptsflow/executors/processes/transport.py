"""An attempt as the runner sends it to another process, and as that process reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.json import encode

from ptsflow.core.model import TaskRecord
from ptsflow.errors import LeaseLost
from ptsflow.executors.attempt import Call
from ptsflow.executors.processes.messages import (
    Assignment,
    Checkpoint,
    CheckpointAnswer,
)
from ptsflow.executors.values import Element, Shared, Value, Values
from ptsflow.host.clock import boot_millis
from ptsflow.workflow.handle import Reporter, TaskHandle, Watch


def assignment(call: Call) -> Assignment:
    """Return an attempt as a message, its values as JSON text."""
    handle = call.handle
    return Assignment(
        task=handle.name,
        key=handle.key,
        step=call.step.name,
        attempt=call.attempt,
        fence=handle.fence,
        elapsed=max(0, call.clock() - call.began_at) / 1000,
        arguments={
            name: _text(source)
            for name, source in call.arguments.items()
            if not isinstance(source, TaskHandle)
        },
        saved=handle.saved,
        folder=handle.folder,
        memory=call.step.memory,
    )


def handle_of(
    given: Assignment,
    container: str,
    *,
    reporter: Reporter,
    cancelled: Callable[[], bool],
    watch: Watch | None = None,
) -> TaskHandle:
    """Return the handle of an attempt that was received."""
    return TaskHandle(
        container,
        TaskRecord(
            name=given.task, key=given.key, attempt=given.attempt, fence=given.fence
        ),
        saved=given.saved,
        folder=given.folder,
        reporter=reporter,
        cancelled=cancelled,
        watch=watch,
    )


def began_at(given: Assignment) -> int:
    """Return when the first attempt of its budget began, by `boot_millis`."""
    return boot_millis() - round(given.elapsed * 1000)


def value_of(
    text: str | list[str] | None, hint: Any, shared: Shared | None = None
) -> Value | Values:
    """Return a received argument, to be read with the annotation `hint`."""
    if isinstance(text, list):
        return Values(text, hint, shared)
    return Value(text, hint, shared)


def save(handle: TaskHandle, checkpoint: Checkpoint) -> CheckpointAnswer:
    """Have a received checkpoint saved; return the answer to it."""
    try:
        handle.reporter.save(handle.name, checkpoint.text)
    except LeaseLost:
        return CheckpointAnswer(is_saved=False)
    handle.saved = checkpoint.text
    return CheckpointAnswer(is_saved=True)


def _text(source: Value | Values | Element) -> str | list[str] | None:
    if isinstance(source, Values):
        return source.texts
    if isinstance(source, Element):
        return encode(source.tree).decode()
    return source.text
