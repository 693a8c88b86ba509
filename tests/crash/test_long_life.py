"""A process that makes run after run for long, with faults: nothing of it grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.processes import python

FLOW = """
import gc, json, os, random, sys, threading
from pathlib import Path
import ptsflow
from ptsflow import Retry, TaskHandle, Workflow, step

KEPT = 5

def may_fail(task):
    # One in twenty attempts fails in some way, and the next one is well.
    chance = random.Random(f"{task.idempotency_key} {task.attempt}").random()
    if task.attempt == 1 and chance < 0.05:
        if chance < 0.03 and task.name.startswith("unpack"):
            os._exit(1)  # it runs in a process
        raise OSError("away")

class Import(Workflow):
    hour: int

    @step(retry=Retry(2, delay=0))
    def check(self, task: TaskHandle) -> list[int]:
        may_fail(task)
        return list(range(4))

    @step(each=check, retry=Retry(2, delay=0))
    def download(self, number: int, task: TaskHandle) -> str:
        may_fail(task)
        part = task.workdir / "part"
        part.write_bytes(b"x" * 10_000)
        task.checkpoint(number)
        task.progress(50)
        print("downloaded", number)
        return "x" * 2000

    @step(each=download, executor="process", retry=Retry(2, delay=0))
    def unpack(self, text: str, task: TaskHandle) -> int:
        may_fail(task)
        task.log.info("unpacked")
        return len(text)

    @step
    def verify(self, unpack: list[int]) -> int:
        return sum(unpack)

def measured():
    gc.collect()
    rows = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "memory": int(rows["VmRSS"].split()[0]) * 1024,
        "store": sum(p.stat().st_size for p in Path().glob("pts.db*") if p.is_file()),
        "folders": len([*Path().rglob("*")]),
    }

if __name__ == "__main__":
    url, seen = "sqlite:///pts.db", []
    few, many = map(int, sys.argv[1:])
    for hour in range(few + many):
        report = ptsflow.run(Import(hour=hour), url, jobs=2)
        assert report.ok and report.result("verify") == 8000, hour
        with ptsflow.connect(url) as client:
            client.delete_task_container(f"Import:hour={hour - KEPT}")
        if hour + 1 in (few, few + many):
            seen.append(measured())
    print(json.dumps(seen), file=sys.stderr)
"""


#: What one run may take in the history, in bytes; its container takes twenty times that.
_HISTORY = 1_000


@pytest.mark.parametrize(
    ("few", "many"),
    [
        (12, 12),
        pytest.param(
            100, 900, marks=[pytest.mark.soak, pytest.mark.timeout(3600)], id="long"
        ),
    ],
)
def test_nothing_grows_with_the_number_of_runs(
    few: int, many: int, tmp_path: Path
) -> None:
    (tmp_path / "flow.py").write_text(FLOW)
    done = python("flow.py", few, many, cwd=tmp_path, TMPDIR=tmp_path, seconds=3500)

    assert done.returncode == 0, done.stderr
    early, late = json.loads(done.stderr.splitlines()[-1])
    print(early, late)  # noqa: T201 - the figures.
    assert late["files"] <= early["files"]
    assert late["threads"] <= early["threads"]
    assert late["folders"] <= early["folders"]
    # The history of the newest 2,000 runs outlives their containers.
    assert late["store"] <= 1.5 * early["store"] + many * _HISTORY
    assert late["memory"] <= early["memory"] + 20_000_000
