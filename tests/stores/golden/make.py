"""Makes the golden stores of a layout, with the version of ptsflow that has it.

Run in a checkout of that version, with its tests' requirements installed:

    PYTHONPATH=. python THIS_FILE FOLDER

A golden store is made once, by the first version of its layout, and is never made
again: `made.json` in its folder says by which. Nothing of `ptsflow` that is not public
is used here, as the version is another one than that of the code around this file.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import util
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import apsw
import pymongo
from bson import json_util

import ptsflow
from tests.support.mongod import running

FLOW = Path(__file__).with_name("flow.py")
DAY = datetime(2011, 9, 1, 12, tzinfo=UTC)
UNFINISHED = "golden:20110901"
_LOGGED = "the rest is late"
#: How long ago a store says that it was made, in nanoseconds: its leases have ended on
#: any machine's clock.
_BACK = "PTSFLOW_GOLDEN_BACK"
_MADE = datetime(2025, 1, 1, tzinfo=UTC)


def _flow() -> ModuleType:
    """Load the workflows so that no traceback names a folder of this machine."""
    spec = util.spec_from_loader("flow", None)
    assert spec is not None
    flow = util.module_from_spec(spec)
    sys.modules["flow"] = flow
    exec(compile(FLOW.read_text(), FLOW.name, "exec"), flow.__dict__)  # noqa: S102
    return flow


# -- what runs in processes of their own -----------------------------------------------


def _run(workflow: str, url: str, container: str) -> None:
    # No store says on which machine it was made; nor is its owner ever found here.
    os.uname = lambda: os.uname_result(("Linux", "golden", "", "", ""))
    if url.startswith("sqlite:"):
        _turn_back_the_clock()
    flow = _flow()
    made = flow.Golden(day=DAY) if workflow == "Golden" else flow.Early()
    ptsflow.run(made, url, container, jobs=4, lease=5)


def _turn_back_the_clock() -> None:
    back, now = int(os.environ[_BACK]), time.time_ns
    time.time_ns = lambda: now() - back
    time.time = lambda: (now() - back) / 10**9


def _in_a_process(
    workflow: str, url: str, container: str, **environment: str
) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "run", workflow, url, container]
    return subprocess.Popen(command, env=os.environ | environment)


# -- making ----------------------------------------------------------------------------


def _fill(url: str, folder: Path) -> None:
    """Make the four containers of a golden store."""
    os.environ["PTSFLOW_GOLDEN_JOURNAL"] = str(folder / "journal")
    for workflow, container in (("Golden", "golden:done"), ("Early", "early")):
        process = _in_a_process(workflow, url, container)
        assert process.wait() == 0
    with ptsflow.connect(url) as client:
        _fill_by_client(client)
    process = _in_a_process("Golden", url, UNFINISHED, PTSFLOW_GOLDEN_WORLD="broken")
    try:
        _wait(lambda: _is_left_off(url))
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()


def _fill_by_client(client: ptsflow.Client) -> None:
    feed, _ = client.get_or_create_task_container("feed")
    feed.add_task("first", task_data={"url": "http://example.org", "at": DAY})
    feed.add_task("second", max_retries=7, delay_between_retries=1.5)
    feed.add_task("third", processing_data=[1, (2, b"3")], percentage_complete=12.5)
    feed.add_task("fourth")
    feed.add_task("fifth")
    feed.update_task("first", is_complete=True, status_text="loaded")
    feed.update_task("second", is_complete=True, has_failed=True)
    feed.update_task("fifth", name="last")
    leased = feed.lease_next_task(1)
    assert leased is not None
    assert leased.name == "third"


def _is_left_off(url: str) -> bool:
    with ptsflow.connect(url) as client:
        container = client.get_task_container(UNFINISHED)
        tasks = container.get_tasks() if container else []
    stands = {task.name: (task.status, task.percentage_complete) for task in tasks}
    if stands.get("fetch[d]") != ("running", 40) or "unpack[a]" not in stands:
        return False
    command = [sys.executable, "-m", "ptsflow", "logs", UNFINISHED, "--store", url]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return stands["unpack[a]"][0] == "done" and _LOGGED in said


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


# -- packing ---------------------------------------------------------------------------


def _pack(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, mtime=0))


def _sqlite(target: Path) -> int:
    """Make the SQLite store; return the number of its layout."""
    _turn_back_the_clock()
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "pts.db"
        _fill(f"sqlite:///{path}", folder)
        layout = 0
        for file in (path, path.with_name("pts.db.logs")):
            connection = apsw.Connection(str(file))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            layout = layout or int(connection.pragma("user_version"))
            connection.close()
            _pack(target / f"{file.name}.gz", file.read_bytes())
    return layout


def _mongo(target: Path) -> int:
    """Make the MongoDB store; return the number of its layout."""
    with running() as mongod, TemporaryDirectory() as name:
        _fill(f"{mongod.url}/golden", Path(name))
        with pymongo.MongoClient[dict[str, Any]](mongod.url, tz_aware=True) as client:
            database = client["golden"]
            names = sorted(database.list_collection_names())
            dump = {
                "collections": {
                    name: list(database[name].find().sort("_id")) for name in names
                },
                "indexes": {name: _indexes(database[name]) for name in names},
            }
            meta = database["ptsflow_meta"].find_one({"_id": "schema"})
            assert meta is not None
            options = json_util.CANONICAL_JSON_OPTIONS
            text = json_util.dumps(dump, json_options=options, indent=1)
    back = int(os.environ[_BACK]) // 1_000_000
    # The server's clock cannot be turned back: all milliseconds since 1970 in the text.
    text = re.sub(r"\b\d{13}\b", lambda found: str(int(found[0]) - back), text)
    _pack(target / "mongodb.json.gz", text.encode())
    return int(meta["schema"])


def _indexes(
    collection: pymongo.collection.Collection[dict[str, Any]],
) -> Mapping[str, Any]:
    return {
        name: dict(index)
        for name, index in collection.index_information().items()
        if name != "_id_"
    }


def _commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    folder = Path(ptsflow.__file__).parent
    found = subprocess.run(
        command, cwd=folder, capture_output=True, check=True, text=True
    )
    return found.stdout.strip()


def main(target: Path) -> None:
    """Make both stores, and say by what."""
    target.mkdir(parents=True)
    os.environ[_BACK] = str(time.time_ns() - int(_MADE.timestamp()) * 10**9)
    (layout,) = {_mongo(target), _sqlite(target)}
    made = {"layout": layout, "version": ptsflow.__version__, "commit": _commit()}
    (target / "made.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        _run(*sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
