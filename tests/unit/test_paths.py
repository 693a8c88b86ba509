"""What is asked of files that others may remove meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptsflow.host.paths import size_of
from ptsflow.stores.sqlite.left_log import look_at_log


def test_the_size_of_a_file_is_none_where_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert size_of(file) is None

    file.write_bytes(b"abc")
    assert size_of(file) == 3


def test_a_log_that_another_process_removes_just_now_is_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: True)

    assert look_at_log(tmp_path / "pts.db") == (False, False)
