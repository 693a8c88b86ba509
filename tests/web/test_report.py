"""`ptsflow report`: one file that needs nothing, of any container."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest
from msgspec.structs import replace
from playwright.sync_api import Browser

import ptsflow
from ptsflow.core.model import Owner, StepSummary
from ptsflow.stores import open_store
from ptsflow.web.report import report_of
from tests.support.processes import PTSFLOW, environment
from tests.web.chromium import launched
from tests.web.filling import fill_many
from tests.web.flows import Import
from tests.web.hostile import PAYLOADS, RUN, fill
from tests.web.serving import Shelf

LIMIT = 2_000_000
SAID = "parameter-or-result-or-line"


def report(url: str, name: str, **options: bool) -> str:
    """Return the report of a container."""
    with closing(open_store(url)) as store:
        record = store.container(name)
        assert record is not None
        return report_of(store, record, url, **options)


def call(
    url: str, *words: str | Path, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Call `ptsflow report`."""
    return subprocess.run(
        [*PTSFLOW, "report", *words],
        env=environment(PTSFLOW_STORE=url, **variables),
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "kind", ["done", "failed", "many", "client", "orphaned", "running"]
)
def test_every_container_has_a_report_without_anything_from_elsewhere(
    stored: Shelf, kind: str
) -> None:
    html = report(stored.url, stored.names[kind])

    assert len(html.encode()) < LIMIT
    assert not re.search(r"<(script|link|img|iframe|form|a|base)\b", html)
    assert not re.search(r"\b(src|href|action)=|https?://|url\(", html)
    assert "default-src 'none'" in unescape(html)
    assert ">Timeline<" in html


def test_a_report_of_a_live_run_says_so(stored: Shelf) -> None:
    assert ", while it runs" in report(stored.url, stored.names["running"])
    assert ", while it runs" not in report(stored.url, stored.names["done"])


def test_a_killed_attempt_has_a_look_of_its_own_and_a_legend(stored: Shelf) -> None:
    killed, done = (report(stored.url, stored.names[k]) for k in ("orphaned", "done"))

    assert 'class="is-killed"' in killed
    assert "killed with its runner" in killed
    assert "killed with its runner" not in done


def test_a_failed_task_is_told_with_its_traceback_and_what_it_printed(
    stored: Shelf,
) -> None:
    html = report(stored.url, stored.names["failed"])

    assert "Traceback (most recent call last)" in html
    assert "songs: attempt 2" in html
    assert html.index(">Timeline<") < html.index(">Failed<") < html.index(">Steps<")


def test_without_values_there_is_neither_parameter_nor_data_nor_result_nor_line(
    url: str,
) -> None:
    ptsflow.run(Talking(said=SAID), store=url, container="talking")

    whole = report(url, "talking")
    without = report(url, "talking", values=False)

    assert whole.count(SAID) >= 3
    assert SAID not in without
    assert "Without parameters, data, results and log lines." in without


class Talking(ptsflow.Workflow):
    said: str

    @ptsflow.step
    def first(self) -> str:
        return self.said

    @ptsflow.step(retry=0)
    def second(self, first: str) -> str:
        print(first)  # noqa: T201 - a log line
        raise ValueError("no")


@pytest.mark.parametrize(
    ("error", "count"), [("ValueError: bad date", 100_000), ("<&>" * 2_000, 10_000)]
)
def test_many_items_make_a_small_report_in_two_seconds(
    tmp_path: Path, error: str, count: int
) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    fill_many(url, count, error)

    began = time.process_time()
    html = report(url, "wide")
    took = time.process_time() - began

    assert took <= 2
    assert len(html.encode()) < LIMIT
    assert html.count("<tr>") <= 2_010
    assert re.search(r"and \d+ tasks more", html)
    if "&" not in error:
        assert "and 9900 failed tasks more" in html
        assert html.count("<tr>") > 2_000


def test_what_cannot_be_cut_is_left_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    name = "\U0001f469" * 45
    with closing(open_store(url)) as store:
        made, _ = store.create("long")
        owner = Owner(id="o", host="h", boot="b", pid=1, started=1, since=0)
        record = store.claim(made.uid, owner, 1)
        assert record is not None
        plan = tuple(
            StepSummary(name=f"{n}{name}", text="&" * 4_000) for n in range(3_000)
        )
        store.save(replace(record, workflow="Long", plan=plan))

    html = report(url, "long")

    assert len(html.encode()) < LIMIT
    assert re.search(r"and \d+ steps more", html)


# -- the command -------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a SQLite store with a finished container, import:12."""
    url = f"sqlite:///{tmp_path_factory.mktemp('imported')}/pts.db"
    ptsflow.run(Import(hour="12"), store=url)
    return url


def test_the_command_writes_a_file_whole(imported: str, tmp_path: Path) -> None:
    target = tmp_path / "new" / "run.html"

    ended = call(imported, "import:12", "-o", target)

    assert (ended.returncode, ended.stdout) == (0, b"")
    assert target.read_text(encoding="utf-8").endswith("</html>")
    assert [path.name for path in target.parent.iterdir()] == ["run.html"]


def test_a_dash_is_standard_output(imported: str) -> None:
    ended = call(imported, "import:12", "-o", "-")

    assert ended.returncode == 0
    assert ended.stdout.startswith(b"<!doctype html>")


def test_a_file_is_left_as_it_was_if_the_report_cannot_be_made(
    imported: str, tmp_path: Path
) -> None:
    target = tmp_path / "run.html"
    target.write_text("before")

    ended = call(imported, "import:99", "-o", target)

    assert ended.returncode == 4
    assert b"no container 'import:99'" in ended.stderr
    assert target.read_text() == "before"


def test_no_store_is_exit_4_and_a_broken_one_6(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all" * 100)

    missing = call(f"sqlite:///{tmp_path}/none.db", "x", "-o", "-")
    damaged = call(f"sqlite:///{broken}", "x", "-o", "-")

    assert (missing.returncode, damaged.returncode) == (4, 6)
    assert missing.stdout == damaged.stdout == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_clear_line(
    imported: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)

    ended = call(imported, "import:12", "-o", tmp_path / "run.html")

    assert ended.returncode == 2
    assert ended.stderr.count(b"\n") == 1


def test_a_device_is_written_and_not_replaced(imported: str) -> None:
    ended = call(imported, "import:12", "-o", "/dev/null")

    assert ended.returncode == 0
    assert not Path("/dev/null").is_file()


def test_without_the_extra_it_is_said_what_to_install(
    imported: str, tmp_path: Path
) -> None:
    # A module of that name that cannot be imported, found first.
    (tmp_path / "jinja2.py").write_text(
        "raise ModuleNotFoundError('none', name='jinja2')"
    )
    ended = call(imported, "import:12", "-o", "-", PYTHONPATH=str(tmp_path))

    assert ended.returncode == 4
    assert b"pip install 'ptsflow[ui]'" in ended.stderr


# -- in a browser ------------------------------------------------------------


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with launched() as found:
        yield found


def opened(chrome: Browser, *files: Path, width: int = 1280) -> tuple[list[str], bool]:
    """Open files; return what is asked for and complained of, and whether all fit."""
    context = chrome.new_context(viewport={"width": width, "height": 900})
    fit = True
    try:
        page = context.new_page()
        seen: list[str] = []
        page.on("request", lambda request: seen.append(request.url))
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: seen.append(dialog.message))
        for file in files:
            page.goto(file.as_uri(), wait_until="load")
            assert page.evaluate("typeof window.harmed") == "undefined"
            assert page.evaluate("document.styleSheets.length") == 1
            fit &= page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        own = {file.as_uri() for file in files}
        return [text for text in seen if text not in own], fit
    finally:
        context.close()


@pytest.mark.parametrize("width", [1280, 360])
def test_a_browser_shows_the_file_and_asks_nobody(
    chrome: Browser, imported: str, tmp_path: Path, width: int
) -> None:
    file = tmp_path / "run.html"
    file.write_text(report(imported, "import:12"), encoding="utf-8")

    assert opened(chrome, file, width=width) == ([], True)


def test_a_report_is_printed_light_and_whole(
    chrome: Browser, imported: str, tmp_path: Path
) -> None:
    file = tmp_path / "run.html"
    file.write_text(report(imported, "import:12"), encoding="utf-8")
    page = chrome.new_page(color_scheme="dark")
    page.goto(file.as_uri(), wait_until="load")

    page.emulate_media(media="print", color_scheme="dark")

    style = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g)"
    shades = page.evaluate(style)[:3]
    cut = "[...document.querySelectorAll('.wide')].filter(box => getComputedStyle(box).overflowX != 'visible').length"
    assert min(map(int, shades)) > 200
    assert page.evaluate(cut) == 0
    page.close()


def test_hostile_texts_are_shown_and_never_obeyed(
    chrome: Browser, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    fill(url)
    with closing(open_store(url)) as store:
        records = store.containers()
    assert len(records) == len(PAYLOADS)
    files = []
    for number, record in enumerate(records):
        html = report(url, record.name)
        assert f"<script>{RUN}" not in html
        files.append(tmp_path / f"{number}.html")
        files[-1].write_text(html, encoding="utf-8")

    assert opened(chrome, *files)[0] == []


def test_a_run_that_ended_before_is_a_bar(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pts.db"
    for hour in ("12", "13"):
        ptsflow.run(Import(hour=hour), store=url)

    html = report(url, "import:13")

    assert ">History<" in html
    assert html.count('class="sign"') == 2
