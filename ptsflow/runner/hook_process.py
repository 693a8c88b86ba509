"""Running the command of a hook: bounded in time, whatever the command does."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Mapping

from ptsflow.host.clock import since_boot

#: How much of what a command prints is kept, in bytes: the end of it.
_KEPT = 2_000
#: How much is read at once of a command that prints much, in bytes.
_AT_ONCE = 1 << 20


def run_command(
    command: str, given: str, environment: Mapping[str, str], seconds: float
) -> str | None:
    """Run a command in a shell; return why it failed, or "". None: it took too long.

    The command has a process group of its own, which is killed at the end: also what the
    command left running.

    Args:
        command: for `sh -c`.
        given: what the command reads from its standard input.
        environment: of the command.
        seconds: how long the command may take.
    """
    with tempfile.TemporaryFile() as text:
        # A pipe would be full if the command does not read it.
        text.write(given.encode())
        text.seek(0)
        process = subprocess.Popen(  # noqa: S602 - the workflow's author wrote the command
            command,
            shell=True,
            stdin=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            pipesize=_AT_ONCE,
        )
    with process:
        try:
            said, is_over = _said_by(process, since_boot() + seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdout is not None:
                # What left the process group may hold the other end.
                process.stdout.close()
            code = process.wait()
    if not is_over:
        return None
    if code == 0:
        return ""
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
    return f"{how}: {last}" if last else how


def _said_by(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bool]:
    """Return the end of what a process prints, and whether it ended in time."""
    said, out = b"", process.stdout
    ended = os.pidfd_open(process.pid)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ended)
        waiting = stack.enter_context(selectors.DefaultSelector())
        waiting.register(ended, selectors.EVENT_READ)
        if out is not None:
            waiting.register(out, selectors.EVENT_READ)
        while (left := until - since_boot()) > 0:
            ready = {key.fileobj for key, _ in waiting.select(left)}
            if out in ready and out is not None:
                more = os.read(out.fileno(), _AT_ONCE)
                said = (said + more)[-_KEPT:]
                if more:
                    continue
                waiting.unregister(out)
            elif ended in ready:
                return said, True
    return said, False
