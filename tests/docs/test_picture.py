"""README's picture of the live screen is what a real run of its example shows.

With `PTSFLOW_DRAW=1` in the environment the picture is drawn anew.
"""

from __future__ import annotations

import html
import io
import os
import re
import signal
from pathlib import Path

import pyte.screens
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.cli.calling import Place
from tests.cli.terminal import Terminal
from tests.docs.blocks import blocks_of
from tests.support.processes import ROOT

README = ROOT / "README.md"
PICTURE = ROOT / ".github" / "live.svg"
#: The example, so slow that each of its frames is seen.
FLOW = next(
    block for block in blocks_of(README) if block.kind == "python"
).text.replace("time.sleep(0.05)", "time.sleep(0.5)")
_BRIGHT = {"brightblack": "bright_black", "brown": "yellow"}


def _style(cell: pyte.screens.Char) -> Style:
    colour = None if cell.fg == "default" else _BRIGHT.get(cell.fg, cell.fg)
    return Style(color=colour, bold=cell.bold)


def _rows(terminal: Terminal) -> list[Text]:
    """Return what a terminal shows, with colours."""
    rows = []
    for y in range(terminal.screen.cursor.y):
        row = terminal.screen.buffer[y]
        text = Text()
        for x in range(terminal.screen.columns):
            text.append(row[x].data, _style(row[x]))
        text.rstrip()
        rows.append(text)
    return rows


def _picture(rows: list[Text]) -> str:
    """Return rows as SVG, without the fonts that rich has loaded from elsewhere."""
    width = max(row.cell_len for row in rows) + 1
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, emoji=False
    )
    for row in rows:
        console.print(row)
    drawn = console.export_svg(
        title="ptsflow run flow.py", theme=MONOKAI, unique_id="live"
    )
    return re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", drawn, flags=re.DOTALL)


def _shape(drawn: str) -> list[str]:
    """Return the texts of a picture without its figures."""
    texts = re.findall(r"<text[^>]*>(.*?)</text>", drawn, re.DOTALL)
    plain = html.unescape("".join(texts)).replace("\xa0", " ")
    plain = re.sub(r"lease \S+", "lease", plain)
    return re.sub(r"[\d.]+m?s|\d+%?|[━╸─]+", "N", plain).split()


def test_readme_shows_the_live_screen_of_a_real_run(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    terminal = Terminal(place, "run", "flow.py", columns=96)
    terminal.until(r"load\[artists\].* [4-8]0%")
    drawn = _picture(_rows(terminal))
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.close()
    if os.environ.get("PTSFLOW_DRAW"):
        PICTURE.write_text(drawn, encoding="utf-8")
    kept = PICTURE.read_text(encoding="utf-8")

    assert _shape(kept) == _shape(drawn)
    assert len(kept.encode()) < 60_000
    assert "://" not in kept.replace("http://www.w3.org/2000/svg", "")
    assert f"]({PICTURE.relative_to(ROOT)})" in README.read_text(encoding="utf-8")
