"""A damaged row is said to be damaged, and the rest is shown."""

from __future__ import annotations

import html
import json
import subprocess
from pathlib import Path

import apsw
import pytest

from ptsflow import run
from tests.support.processes import PTSFLOW, environment
from tests.web.conftest import MakeClient
from tests.web.flows import Import
from tests.web.serving import uid_of


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/pts.db"


def called(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Call a command."""
    return subprocess.run(
        [*PTSFLOW, *words],
        env=environment(PTSFLOW_STORE=url),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def uid(url: str, tmp_path: Path) -> str:
    """Return the uid of a container of which the row of an item is damaged."""
    run(Import(), url)
    with apsw.Connection(str(tmp_path / "pts.db")) as raw:
        raw.execute("UPDATE tasks SET status = 'x' WHERE name = 'load[albums]'")
    return uid_of(url, "import:13")


def test_a_container_with_a_damaged_row_says_so_and_the_others_are_shown(
    page: MakeClient, url: str, uid: str
) -> None:
    run(Import(hour="14"), url)
    client = page()

    text = client.get("/").text

    row = text.partition(f'id="listed-{uid}"')[2].partition("</tr>")[0]
    other = text.partition(f'id="listed-{uid_of(url, "import:14")}"')[2]
    assert "does not fit its check value" in row
    assert "5✔" in other.partition("</tr>")[0]
    assert client.get("/errors").status_code == 200


def test_a_damaged_container_is_named_and_the_others_are_shown(
    page: MakeClient, url: str, tmp_path: Path
) -> None:
    run(Import(), url)
    run(Import(hour="14"), url)
    other = uid_of(url, "import:14")
    with apsw.Connection(str(tmp_path / "pts.db")) as raw:
        raw.execute("UPDATE containers SET target = 'x' WHERE name = 'import:13'")
    client = page()

    first, found = client.get("/"), client.get(f"/c/{other}")

    assert first.status_code == 200
    assert "the row of container 'import:13'" in html.unescape(first.text)
    assert f'id="listed-{other}"' in first.text
    assert found.status_code == 200
    assert client.get("/w/Import").status_code == 200
    assert client.get("/errors").status_code == 200


@pytest.mark.parametrize(
    ("tab", "other"),
    [
        ("timeline", "load[artists]: attempt 1 failed"),
        ("graph", "publish: done"),
        ("items", "load[artists]"),
        ("errors", "No task is failed."),
        ("logs", "fetched the feed of 13"),
        ("results", '{"rows": 18}'),
    ],
)
def test_its_own_page_says_which_row_is_damaged_and_shows_the_others(
    page: MakeClient, uid: str, tab: str, other: str
) -> None:
    answer = page().get(f"/c/{uid}?tab={tab}")

    assert answer.status_code == 200
    said = answer.text.partition('<div class="problem">')[2].partition("</div>")[0]
    assert "1 task is damaged" in said
    assert "load[albums]" in html.unescape(said)
    assert other in html.unescape(answer.text)


def test_items_are_sent_without_the_damaged_one(page: MakeClient, uid: str) -> None:
    answer = page().get(f"/c/{uid}/items?step=load")

    assert answer.status_code == 200
    assert answer.text.count("<tr") == 2


@pytest.mark.parametrize(
    "words", [["list"], ["status", "import:13"], ["show", "import:13"]]
)
def test_commands_show_what_is_not_damaged_and_end_with_6(
    url: str, uid: str, words: list[str]
) -> None:
    assert uid
    run(Import(hour="14"), url)

    shown = called(url, *words)

    assert shown.returncode == 6
    assert "load[albums]" in shown.stderr
    if words == ["list"]:
        rows = shown.stdout.splitlines()
        assert any("damaged" in row and "import:13" in row for row in rows)
        assert any("done" in row and "import:14" in row for row in rows)
    else:
        assert "load" in shown.stdout
        assert "publish" in shown.stdout


def test_a_damaged_container_does_not_hide_the_others_of_a_list(
    url: str, tmp_path: Path
) -> None:
    run(Import(), url)
    run(Import(hour="14"), url)
    with apsw.Connection(str(tmp_path / "pts.db")) as raw:
        raw.execute("UPDATE containers SET target = 'x' WHERE name = 'import:13'")

    shown = called(url, "list", "--json")

    assert shown.returncode == 6
    assert "the row of container 'import:13'" in shown.stderr
    assert [json.loads(row)["container"] for row in shown.stdout.splitlines()] == [
        "import:14"
    ]


def test_what_failed_beside_a_damaged_task_is_told(
    page: MakeClient, url: str, tmp_path: Path
) -> None:
    run(Import(sound=False), url)
    run(Import(hour="14"), url)
    with apsw.Connection(str(tmp_path / "pts.db")) as raw:
        raw.execute("UPDATE tasks SET status = 'x' WHERE name = 'download'")
        raw.execute("UPDATE containers SET target = 'x' WHERE name = 'import:14'")

    errors, latest = called(url, "errors"), called(url, "status")

    assert "bad date" in errors.stdout
    assert "download" in errors.stderr
    assert "import:13" in latest.stdout
    assert "import:14" in latest.stderr
    assert (errors.returncode, latest.returncode) == (6, 6)
    assert "bad date" in page().get("/errors").text
