"""README's picture of the page is the page of a real run of its example.

With `PTSFLOW_DRAW=1` in the environment the picture is taken anew.
"""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from playwright.sync_api import Browser

import ptsflow
from tests.docs.blocks import blocks_of
from tests.support.processes import PTSFLOW, ROOT, environment
from tests.support.waiting import until
from tests.web.browser.conftest import tab_of
from tests.web.serving import end, served, uid_of

README = ROOT / "README.md"
PICTURE = ROOT / ".github" / "page.png"
SIZE = {"width": 880, "height": 640}
NAME = "Import:day=2011-09-30"
#: Puts one text in the place of another one in a page.
CALL = """([text, other]) => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
        const node = walker.currentNode
        node.nodeValue = node.nodeValue.replaceAll(text, other)
    }
}"""


def is_halfway(url: str) -> bool:
    """Whether the last item of README's example is about half done."""
    with ptsflow.connect(url) as client:
        container = client.get_task_container(NAME)
        task = container and container.get_task("load[albums]")
        return bool(task and 30 <= task.percentage_complete <= 80)


def test_readme_shows_the_page_of_a_real_run(browser: Browser, tmp_path: Path) -> None:
    flow = next(block for block in blocks_of(README) if block.kind == "python").text
    slow = flow.replace("time.sleep(0.05)", "time.sleep(0.4)")
    (tmp_path / "flow.py").write_text(slow, encoding="utf-8")
    url = f"sqlite:///{tmp_path}/pts.db"
    run = subprocess.Popen(
        [*PTSFLOW, "run", "flow.py", "-q"],
        cwd=tmp_path,
        env=environment(PTSFLOW_STORE=url),
    )
    try:
        until(lambda: is_halfway(url))
        with (
            served(url, tmp_path) as server,
            tab_of(browser, server, viewport=SIZE, color_scheme="light") as tab,
        ):
            # Nothing changes any more, so that the folder can be called by another name.
            tab.page.route("**/live?**", lambda route: route.abort())
            tab.open(f"/c/{uid_of(url, NAME)}")
            tab.page.evaluate(CALL, [f"{' '.join(PTSFLOW)} ", "ptsflow "])
            tab.page.evaluate(CALL, [str(tmp_path), "/home/me/.ptsflow"])
            tab.complaints.clear()
            assert tab.page.get_by_role("link", name="load", exact=True).count() > 0
            assert str(tmp_path) not in tab.page.inner_text("body")
            taken = tab.page.screenshot(type="png")
            tab.complaints.clear()
    finally:
        end(run)
    if os.environ.get("PTSFLOW_DRAW"):
        PICTURE.write_bytes(taken)
    kept = PICTURE.read_bytes()

    assert struct.unpack(">II", kept[16:24]) == struct.unpack(">II", taken[16:24])
    assert len(kept) < 80_000
    assert f"]({PICTURE.relative_to(ROOT)})" in README.read_text(encoding="utf-8")
