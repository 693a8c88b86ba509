"""Progress bars: what tqdm and programs draw with carriage returns becomes progress."""

from __future__ import annotations

import pytest

from ptsflow.core.lines import Splitter
from ptsflow.core.progress_bars import Bar, BarReader, bar_of, is_redrawn


@pytest.mark.parametrize(
    ("text", "percentage", "said"),
    [
        (
            "rows:  45%|████▌     | 45/100 [00:04<00:05, 10.0it/s]",
            45.0,
            "rows 45/100 [00:04<00:05, 10.0it/s]",
        ),
        ("  7%|▋         | 7/100", 7.0, "7/100"),
        ("\x1b[32mReceiving objects:  12.5 % (1/8)\x1b[0m", 12.5, None),
        ("150% of the old size", 100.0, None),
        ("300 rows", None, None),
    ],
)
def test_a_bar_has_a_percentage_and_a_text(
    text: str, percentage: float | None, said: str | None
) -> None:
    bar = bar_of(text)

    assert bar is not None
    assert bar.percentage == percentage
    assert bar.text == said or said is None
    assert "\x1b" not in bar.text


@pytest.mark.parametrize("text", ["", "   ", "\x1b[A", "\x1b[K"])
def test_a_blank_line_says_nothing(text: str) -> None:
    assert bar_of(text) is None


@pytest.mark.parametrize(
    ("line", "is_state"),
    [
        ("\rrows:  10%|█         | 10/100", True),
        ("\rrows:  99%|█████████▉| 99/100\rrows: 100%|██████████| 100/100", False),
        ("\rinner: 100%|██████████| 5/5\x1b[A", True),
        ("\rinner: 90%|#| 9/10\x1b[A\router: 100%|#| 5/5", False),
        ("\r        \r", True),
        ("\x1b[A", True),
        ("loaded 10 rows\rloaded 20 rows", False),
        ("a line as Windows ends it\r", False),
        ("10% of the rows are bad", False),
        ("", False),
    ],
)
def test_only_the_last_state_of_a_bar_is_a_line(line: str, *, is_state: bool) -> None:
    assert is_redrawn(line) is is_state


def read(*parts: str) -> list[Bar]:
    reader = BarReader()
    found = [reader.feed(part) for part in parts]
    return [bar for bar in found if bar is not None]


def test_a_bar_that_comes_in_parts_is_read_whole() -> None:
    bars = read(
        "\rrows:  10%|█   ", "      | 10/100", "\rrows:  11%|█         | 11/100"
    )

    assert [bar.percentage for bar in bars] == [10.0, 10.0, 11.0]
    assert bars[1].text == "rows 10/100"


def test_of_nested_bars_the_topmost_counts() -> None:
    parts = ["\router:   0%|#| 0/2"]
    for outer in range(2):
        for share in (0, 50, 100):
            parts += ["\n", f"\rinner: {share}%|#| x", "\x1b[A"]
        parts += ["\n", "\r          \r", "\x1b[A"]
        parts.append(f"\router: {outer * 50 + 50}%|#| {outer + 1}/2")
    parts.append("\n")

    assert [bar.percentage for bar in read(*parts)] == [0.0, 50.0, 100.0]
    lines = Splitter("\n").feed("".join(parts))
    kept = [line for line in lines if not is_redrawn(line)]
    assert len(kept) == 1
    assert kept[0].endswith("outer: 100%|#| 2/2")


def test_a_bar_below_those_of_other_tasks_counts() -> None:
    # tqdm counts positions over all bars of a process, whatever thread draws them.
    parts: list[str] = []
    for share in (0, 50, 99):
        parts += ["\n\n", f"\rrows: {share}%|#| x", "\x1b[A\x1b[A"]
    parts += ["\rrows: 100%|#| x", "\n"]

    bars = read(*parts)

    assert [bar.percentage for bar in bars] == [0.0, 50.0, 99.0, 100.0]


def test_a_blank_line_is_one_unless_a_bar_is_drawn() -> None:
    assert not is_redrawn("")
    assert is_redrawn("", is_within_a_bar=True)
    assert not is_redrawn("rows", is_within_a_bar=True)


def test_what_follows_a_bar_is_no_bar() -> None:
    reader = BarReader()
    reader.feed("\rrows: 100%|#| 9/9\n")

    assert not reader.is_within_a_bar
    assert reader.feed("50% of it was bad\n") is None
