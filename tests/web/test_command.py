"""What the command `ui` refuses before it serves anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("--no-token", "--host", "0.0.0.0"), "--no-token is for this host alone"),  # noqa: S104
        (("--no-token", "--token-file", "t"), "--no-token goes without --token-file"),
        (("--host", "203.0.113.7"), "cannot listen at 203.0.113.7"),
        (("--port", "70000"), "70000 is not in the range"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(
    place: Place, words: tuple[str, ...], refusal: str
) -> None:
    ended = place.call("ui", "--token-file", "token", *words)
    if "--no-token" in words:
        ended = place.call("ui", *words)

    assert ended.returncode == 2
    assert refusal in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_without_the_extra_it_is_said_what_to_install(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(name='uvicorn')")
    place.env["PYTHONPATH"] = str(tmp_path)

    ended = place.call("ui", "--token-file", "token")

    assert ended.returncode == 4
    assert "pip install 'ptsflow[ui]'" in ended.stderr
    assert "uvicorn" in ended.stderr
    assert not (tmp_path / "token").exists()


def test_a_damaged_store_is_refused_at_once(place: Place, tmp_path: Path) -> None:
    (tmp_path / "pts.db").write_bytes(b"no database" * 1000)

    ended = place.call("ui", "--port", "0", "--token-file", "token")

    assert ended.returncode == 6
