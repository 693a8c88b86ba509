"""What a process that makes an attempt is told of it."""

from __future__ import annotations

from msgspec.json import encode

from ptsflow.attempt import Call, Element, Value, Values
from ptsflow.context import TaskHandle
from ptsflow.executors.wire import Assignment


def assignment(call: Call) -> Assignment:
    """Return an attempt as it is sent: values as JSON text."""
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


def _text(source: Value | Values | Element) -> str | list[str] | None:
    if isinstance(source, Values):
        return source.texts
    if isinstance(source, Element):
        return encode(source.tree).decode()
    return source.text
