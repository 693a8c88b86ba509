"""Who may use what lies beside a SQLite store: the owner of the store, after any run."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import ptsflow
from ptsflow import TaskHandle, Workflow, step
from tests.support.processes import ROOT

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs for others")
#: A user and a group that need not exist.
USER, GROUP = 54321, 54322


class Writes(Workflow):
    """Leaves a file, and a line."""

    @step(keep_workdir=True)
    def load(self, task: TaskHandle) -> None:
        (task.workdir / "kept").write_text("x")
        sys.stdout.write("loaded\n")


def places(folder: Path) -> dict[str, os.stat_result]:
    """Return all files and folders beside the store, and the folders within."""
    found = [*folder.glob("pts.db*"), *folder.glob("pts.db.work/**/")]
    return {str(path.relative_to(folder)): path.stat() for path in found}


@AS_ROOT
def test_a_run_as_root_leaves_all_to_the_owner_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "pts.db"
    ptsflow.connect(f"sqlite:///{path}").close()
    os.chown(path, USER, GROUP)
    with ptsflow.connect(f"sqlite:///{path}") as client:
        ptsflow.run(Writes(), store=client)
        found = places(tmp_path)

    assert {"pts.db.logs", "pts.db.work", "pts.db-wal"} <= set(found)
    assert len([name for name in found if name.startswith("pts.db.work/")]) >= 2
    assert {(each.st_uid, each.st_gid) for each in found.values()} == {(USER, GROUP)}


@AS_ROOT
def test_a_store_that_root_makes_in_a_folder_of_a_user_is_the_users(
    tmp_path: Path,
) -> None:
    os.chown(tmp_path, USER, GROUP)
    made = tmp_path / ".ptsflow" / "deep"
    with ptsflow.connect(f"sqlite:///{made}/pts.db") as client:
        ptsflow.run(Writes(), store=client)
        found = [*places(made).values(), made.stat(), made.parent.stat()]

    assert len(found) >= 6
    assert {(each.st_uid, each.st_gid) for each in found} == {(USER, GROUP)}


def test_files_beside_a_shared_store_are_shared_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pts.db"
    ptsflow.connect(f"sqlite:///{path}").close()
    path.chmod(0o660)
    ptsflow.run(Writes(), store=f"sqlite:///{path}")

    modes = {
        name: stat.S_IMODE(path.with_name(name).stat().st_mode)
        for name in ("pts.db.logs", "pts.db.work")
    }
    assert modes == {"pts.db.logs": 0o660, "pts.db.work": 0o770}


@AS_ROOT
def test_a_folder_that_another_user_left_is_named_with_its_cure(tmp_path: Path) -> None:
    folder = tmp_path / "pts.db.work"
    folder.mkdir(mode=0o700)
    call = (
        "import os, sys; from ptsflow.core.model import TaskRecord; "
        "from ptsflow.workflow.handle import TaskHandle; "
        f"os.setgid({GROUP}); os.setuid({USER}); "
        "task = TaskRecord(name='load', task_data=None, processing_data=None, result=None); "
        f"handle = TaskHandle('box', task, saved=None, reporter=None, cancelled=bool, folder=lambda: {str(folder / 'x')!r}); "
        "handle.workdir"
    )
    ended = subprocess.run(
        [sys.executable, "-c", call],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr.strip().splitlines()[-1] == (
        "PermissionError: [Errno 13] Permission denied; give the folders to this user, "
        f"such as with sudo chown -R: '{folder / 'x'}'"
    )
