"""The file that a container's bodies hold, where it cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptsflow.errors import StoreUnavailable
from ptsflow.executors import presence
from ptsflow.executors.processes import Processes
from ptsflow.executors.wire import Setting
from ptsflow.loading import refer
from tests.executors.flows import Whose


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("absent", "No such file or directory", id="absent"),
        pytest.param("file", "Not a directory", id="a file"),
    ],
)
def test_a_folder_that_cannot_be_made_is_said_in_one_line(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", f"{tmp_path}/{name}")
    with pytest.raises(StoreUnavailable) as caught:
        presence.file_of("sqlite:///pts.db", "1")

    folder = str(caught.value).partition(":")[0]
    assert folder.startswith(f"{tmp_path}/{name}/ptsflow-")
    assert str(caught.value) == (
        f"{folder}: expected a folder that can be made there, found: {why}; set TMPDIR "
        "to one that this user can write to"
    )


def test_a_file_that_cannot_be_made_is_why_no_process_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "absent" / "x.lock"
    processes = Processes(refer(Whose), Setting("c", {}), lock)
    assert processes._nursery.has_ended.wait(20)
    processes.stop()

    assert processes.problem == f"{lock}: No such file or directory"
    assert capfd.readouterr().err == ""
