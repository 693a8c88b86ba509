"""What a task becomes: the one state machine, pure, outside the stores.

| from                     | event     | to       | also                                     |
|--------------------------|-----------|----------|------------------------------------------|
| pending, waiting         | start     | running  | attempt and invoke_count one up          |
| pending, waiting,running | check_out | running  | leased to a client                       |
| running                  | succeed   | done     | 100 %, result kept                       |
| running                  | retry     | waiting  | due, error                               |
| running                  | give_up   | failed   | error                                    |
| running                  | postpone  | waiting  | due; attempt one down: it does not count |
| waiting                  | hasten    | waiting  | due no later than its delay from now     |
| running                  | interrupt | pending  | attempt one down: it does not count      |
| running                  | crash     | pending  | the attempt counts; failed at the last   |
| running                  | lose      | failed   | at most once: its outcome is unknown     |
| failed                   | settle    | done     | a person knows that it did its work      |
| running                  | save      | running  | processing data                          |
| pending, waiting         | skip      | skipped  | cause, why                               |
| running                  | skip      | skipped  | by its own body                          |
| running                  | finish    | done     | the rest is not needed; cause, why       |
| failed, waiting, skipped | reopen    | pending  | a fresh budget of attempts               |
| done                     | carry_on  | done     | finish's mark taken off                  |
| any                      | reset     | pending  | progress, data and result forgotten      |

Each returns a new record one version on. Anything else raises `ValueError`: the caller
asked for a change that the table does not have.
"""

from __future__ import annotations

from msgspec.structs import replace

from ptsflow.core.model import Cause, Status, TaskRecord
from ptsflow.core.texts import ERROR_LIMIT, TEXT_LIMIT, cut, hash_of

#: What the codec makes of None.
NULL = "null"

_STARTABLE = (Status.PENDING, Status.WAITING)
_REOPENABLE = (Status.FAILED, Status.WAITING, Status.SKIPPED)


def start(
    task: TaskRecord, *, now: int, fence: int, ran_by: str = "", made_from: int = 0
) -> TaskRecord:
    """A new attempt begins, in the process `ran_by`: `host:pid`."""
    _expect(task, "start", *_STARTABLE)
    return replace(
        task,
        status=Status.RUNNING,
        version=task.version + 1,
        fence=fence,
        attempt=task.attempt + 1,
        invoke_count=task.invoke_count + 1,
        began_at=task.began_at if task.attempt else now,
        last_invoked_at=now,
        ran_by=ran_by,
        made_from=made_from,
        due=None,
        error=None,
        cause=Cause.NONE,
        task_ended_at=None,
        task_duration_ms=None,
    )


def succeed(  # noqa: PLR0913 - all by keyword
    task: TaskRecord,
    *,
    now: int,
    result: str,
    result_hash: int | None = None,
    took_ms: int | None = None,
    code_version: str = "",
    code_hash: str = "",
) -> TaskRecord:
    """The attempt returned; `result` is what the codec made of the value.

    `result_hash` is the hash of `result`, if it is known.

    Of None nothing is kept: most steps return it, and its row need not be written.
    """
    _expect(task, "succeed", Status.RUNNING)
    return replace(
        task,
        status=Status.DONE,
        version=task.version + 1,
        percentage_complete=100.0,
        task_ended_at=now,
        task_duration_ms=_duration(task, now) if took_ms is None else took_ms,
        code_version=code_version,
        code_hash=code_hash,
        result=None if result == NULL else result,
        result_hash=hash_of(result) if result_hash is None else result_hash,
    )


def finish(
    task: TaskRecord,
    *,
    now: int,
    why: str,
    code_version: str = "",
    code_hash: str = "",
) -> TaskRecord:
    """The body said that the rest of the workflow is not needed.

    The mark is part of the task, so that finish and reason are recorded in one write.
    """
    _expect(task, "finish", Status.RUNNING)
    done = succeed(
        task, now=now, result=NULL, code_version=code_version, code_hash=code_hash
    )
    return replace(done, cause=Cause.FINISH, status_text=cut(why, TEXT_LIMIT))


def retry(task: TaskRecord, *, now: int, due: int, error: str) -> TaskRecord:
    """The attempt failed and there will be another one at `due`."""
    _expect(task, "retry", Status.RUNNING)
    return _ended(task, Status.WAITING, now, due=due, error=cut(error, ERROR_LIMIT))


def give_up(task: TaskRecord, *, now: int, error: str) -> TaskRecord:
    """The attempt failed and there will be no other one."""
    _expect(task, "give_up", Status.RUNNING)
    return _ended(task, Status.FAILED, now, error=cut(error, ERROR_LIMIT))


def postpone(task: TaskRecord, *, now: int, due: int, why: str) -> TaskRecord:
    """The body asked for another time, which is not a failure; the first time is kept."""
    _expect(task, "postpone", Status.RUNNING)
    return _ended(
        task,
        Status.WAITING,
        now,
        due=due,
        **_uncounted(task),
        postponed_at=now if task.postponed_at is None else task.postponed_at,
        status_text=cut(why, TEXT_LIMIT),
    )


def hasten(task: TaskRecord, *, now: int, fence: int) -> TaskRecord:
    """The clock was set back since the attempt ended: wait no longer than was said then."""
    _expect(task, "hasten", Status.WAITING)
    due, ended = task.due or now, task.task_ended_at or now
    return replace(
        task,
        version=task.version + 1,
        fence=fence,
        due=now + max(0, due - ended),
        task_ended_at=now,
    )


def interrupt(task: TaskRecord, *, now: int) -> TaskRecord:
    """A person stopped the run; the next run starts the task again."""
    _expect(task, "interrupt", Status.RUNNING)
    return _ended(
        task,
        Status.PENDING,
        now,
        **_uncounted(task),
        status_text="stopped",
    )


def crash(
    task: TaskRecord, *, now: int, fence: int, max_retries: int, error: str
) -> TaskRecord:
    """The task was found running and its runner is gone; the attempt counts.

    One crash alone never fails a task, not even one that may not be retried: what was
    not recorded as finished is run again. A second one in the same budget can.
    """
    _expect(task, "crash", Status.RUNNING)
    exhausted = task.attempt > max(max_retries, 1)
    status = Status.FAILED if exhausted else Status.PENDING
    return _ended(task, status, now, fence=fence, error=cut(error, ERROR_LIMIT))


def lose(
    task: TaskRecord, *, now: int, fence: int, code_version: str, error: str
) -> TaskRecord:
    """The task may run at most once and its runner died: what it did is unknown."""
    _expect(task, "lose", Status.RUNNING)
    text = cut(error, ERROR_LIMIT)
    return _ended(
        task,
        Status.FAILED,
        now,
        fence=fence,
        cause=Cause.UNKNOWN,
        code_version=code_version,
        error=text,
    )


def settle(task: TaskRecord, *, now: int, fence: int) -> TaskRecord:
    """A person says that the task did its work; it hands on None."""
    _expect(task, "settle", Status.FAILED)
    return replace(
        task,
        status=Status.DONE,
        version=task.version + 1,
        fence=fence,
        percentage_complete=100.0,
        cause=Cause.NONE,
        error=None,
        task_ended_at=now,
        result=None,
        result_hash=0,
    )


def save(task: TaskRecord, *, processing_data: str, attempt: int) -> TaskRecord:
    """The body saved how far it is; its attempt counts as `attempt` from now on."""
    _expect(task, "save", Status.RUNNING)
    return replace(
        task,
        version=task.version + 1,
        processing_data=processing_data,
        attempt=attempt,
        # Who gets on is waited for anew.
        postponed_at=task.postponed_at if attempt else None,
    )


def check_out(task: TaskRecord, *, now: int, lease_ms: int) -> TaskRecord:
    """A client works on the task until its lease ends."""
    _expect(task, "check_out", *_STARTABLE, Status.RUNNING)
    return replace(
        task,
        status=Status.RUNNING,
        version=task.version + 1,
        invoke_count=task.invoke_count + 1,
        last_invoked_at=now,
        due=None,
        leased_till=now + lease_ms,
    )


def skip(
    task: TaskRecord, *, now: int, fence: int, cause: Cause, why: str
) -> TaskRecord:
    """The task is not needed."""
    _expect(task, "skip", *_STARTABLE, Status.RUNNING)
    began = task.status is Status.RUNNING
    return replace(
        task,
        status=Status.SKIPPED,
        version=task.version + 1,
        fence=fence,
        percentage_complete=100.0,
        status_text=cut(why, TEXT_LIMIT),
        cause=cause,
        due=None,
        task_ended_at=now,
        task_duration_ms=_duration(task, now) if began else None,
        result=None,
        result_hash=0,
    )


def reopen(task: TaskRecord, *, fence: int) -> TaskRecord:
    """A new run tries the task again with a fresh budget; what it saved stays."""
    _expect(task, "reopen", *_REOPENABLE)
    return replace(
        task,
        status=Status.PENDING,
        version=task.version + 1,
        fence=fence,
        attempt=0,
        began_at=None,
        postponed_at=None,
        due=None,
        cause=Cause.NONE,
        percentage_complete=(
            0.0 if task.status is Status.SKIPPED else task.percentage_complete
        ),
        status_text="" if task.status is Status.SKIPPED else task.status_text,
        task_ended_at=None,
        task_duration_ms=None,
        result=None,
        result_hash=0,
        made_from=0,
    )


def reset(task: TaskRecord, *, fence: int) -> TaskRecord:
    """A person wants the task run again from nothing; its count of invocations stays."""
    return replace(
        task,
        status=Status.PENDING,
        version=task.version + 1,
        fence=fence,
        attempt=0,
        began_at=None,
        postponed_at=None,
        percentage_complete=0.0,
        status_text="",
        due=None,
        task_ended_at=None,
        task_duration_ms=None,
        leased_till=None,
        error=None,
        cause=Cause.NONE,
        code_version="",
        code_hash="",
        processing_data=None,
        result=None,
        result_hash=0,
        made_from=0,
    )


def carry_on(task: TaskRecord, *, fence: int) -> TaskRecord:
    """A person wants the rest of the workflow to run although this step finished it."""
    _expect(task, "carry_on", Status.DONE)
    return replace(task, version=task.version + 1, fence=fence, cause=Cause.NONE)


def _ended(task: TaskRecord, status: Status, now: int, **fields: object) -> TaskRecord:
    return replace(
        task,
        status=status,
        version=task.version + 1,
        task_ended_at=now,
        task_duration_ms=_duration(task, now),
        **fields,
    )


def _uncounted(task: TaskRecord) -> dict[str, int | None]:
    attempt = max(0, task.attempt - 1)
    return {"attempt": attempt, "began_at": task.began_at if attempt else None}


def _duration(task: TaskRecord, now: int) -> int | None:
    # Where the body ran it was measured. Else a clock may step back; no duration does.
    if task.task_duration_ms is not None or task.last_invoked_at is None:
        return task.task_duration_ms
    return max(0, now - task.last_invoked_at)


def _expect(task: TaskRecord, event: str, *allowed: Status) -> None:
    if task.status not in allowed:
        raise ValueError(
            f"task {task.name!r} cannot {event}: it is {task.status}, "
            f"expected {' or '.join(allowed)}"
        )
