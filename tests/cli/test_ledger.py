"""`ptsflow show NAME TASK`: the attempts of a task."""

from __future__ import annotations

from tests.cli.calling import Place, flow


def test_attempts_are_shown_with_the_last_traceback(stored: Place) -> None:
    for _ in range(2):
        stored.call("run", flow("Broken"), "-p", "flag=no", "-c", "one")
    shown = stored.call("show", "one", "fragile").stdout
    table = shown[shown.index("ATTEMPT") :].splitlines()

    assert table[0].split() == ["ATTEMPT", "ENDED", "BEGAN", "TOOK", "BY"]
    assert [row.split()[:2] for row in table[1:3]] == [["1", "failed"], ["2", "failed"]]
    assert r"OSError: the disk \x1b[31mis\x1b[0m [red]away[/red]" in table[2]
    assert table[4:6] == ["attempt 2:", "Traceback (most recent call last):"]
    assert table[6].endswith(", in fragile")
    assert "raise OSError(" in table[7]


def test_attempts_in_json_say_who_made_them_and_when(stored: Place) -> None:
    ran = stored.start("run", flow("Broken"), "-p", "flag=no", "-c", "one")
    ran.communicate(timeout=100)
    attempts = stored.json("show", "one", "fragile")["attempts"]
    done = stored.json("show", "one", "before")["attempts"]

    assert [a["number"] for a in attempts] == [1]
    assert (attempts[0]["ending"], attempts[0]["error_type"]) == ("failed", "OSError")
    assert attempts[0]["pid"] == done[0]["pid"] == ran.pid
    assert attempts[0]["host"] == done[0]["host"]
    assert attempts[0]["began_at"] <= attempts[0]["ended_at"]
    assert "Traceback" in attempts[0]["traceback"]
    assert (done[0]["ending"], done[0]["error"]) == ("done", None)
