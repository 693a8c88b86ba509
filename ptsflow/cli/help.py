"""The command that shows the manual."""

from __future__ import annotations

from pathlib import Path

import click

from ptsflow.cli import complete, streams
from ptsflow.cli.shared import show, show_text
from ptsflow.core.names import listed, similar
from ptsflow.display.format import Line, Piece
from ptsflow.display.streams import is_drawable
from ptsflow.errors import UsageError

MANUAL = Path(__file__).parent.parent / "manual"


@click.command("help")
@click.argument("topic", required=False, shell_complete=complete.topics)
def help_topic(topic: str | None) -> None:
    """Show a TOPIC of the manual; without one, what topics there are."""
    topics = {path.stem: path for path in sorted(MANUAL.glob("*.md"))}
    if topic is None:
        show(_contents(topics))
        return
    if topic not in topics:
        raise UsageError(
            f"help: there is no topic {topic!r}{similar(topic, topics)}; there are "
            f"{listed(topics, topic)}"
        )
    text = topics[topic].read_text(encoding="utf-8")
    if not is_drawable(streams.data()):
        show_text(text)
        return
    from ptsflow.display import live  # noqa: PLC0415 - rich is for terminals alone.

    live.write_markdown(streams.data(), text)


def _contents(topics: dict[str, Path]) -> list[Line]:
    width = max(map(len, topics))
    return [
        [Piece(name.ljust(width), "name"), Piece(f"  {_summary(path)}")]
        for name, path in topics.items()
    ]


def _summary(path: Path) -> str:
    """Return the sentence under the title of a topic."""
    with path.open(encoding="utf-8") as lines:
        return next(line.rstrip() for line in lines if not line.startswith(("#", "\n")))
