"""One look at all containers that are live, killed, or ended last. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from msgspec import Struct

from ptsflow.core import counts
from ptsflow.core.insight import Outlook
from ptsflow.core.model import ContainerRecord, Tally
from ptsflow.display import as_json, tables
from ptsflow.display import format as fmt
from ptsflow.display.format import Line, Piece
from ptsflow.display.look import ENDS_WATCHING

#: How many of those that ended are shown, the last ones.
_ENDED = 10
#: The rows beside those of containers: the heading, what is not shown, the last row.
_BESIDE = 3


class LookAtAll(Struct, frozen=True, kw_only=True):
    """What a store tells of some containers at one moment."""

    #: The time of the store, in milliseconds since the epoch.
    at: int
    #: With the owners that they really have, in the order in which they are shown.
    records: Sequence[ContainerRecord]
    tallies: Mapping[str, Sequence[Tally]]
    outlooks: Mapping[str, Outlook]

    def frame(self, now: int, *, width: int, height: int, remark: str) -> list[Line]:
        """Return a table of the containers, at most `height` rows.

        Args:
            now: the time, which this look is older than.
            width: columns of the terminal.
            height: the most rows.
            remark: what a person should know, in a row of its own.
        """
        said: list[Line] = (
            [[Piece(f" {fmt.clean(remark)}", "notice")]] if remark else []
        )
        room = max(1, height - _BESIDE - len(said))
        shown = self.records[:room]
        lines = tables.containers(shown, self.tallies, self.at, self.outlooks)
        rest = len(self.records) - len(shown)
        if rest:
            lines.append([Piece(f"… and {rest} more", "dim")])
        live = sum(record.is_leased(self.at) for record in self.records)
        count = fmt.many(live, "run", "runs")
        end = f" {count}   {fmt.clock_time(now)}   {ENDS_WATCHING}"
        lines += [*said, [Piece(end, "dim")]]
        return [fmt.cut_line(line, width) for line in lines[-height:]]

    def objects(self) -> list[as_json.Json]:
        """Return what `list --json` prints of each."""
        return [
            as_json.container(
                record,
                self.tallies.get(record.uid, ()),
                now=self.at,
                outlook=self.outlooks.get(record.uid),
            )
            for record in self.records
        ]

    def changes(self, before: Self | None) -> Iterator[tuple[str, str]]:
        """Yield what changed since the look before, as lines: a name, and what is said."""
        known = {} if before is None else before.lines()
        for name, line in self.lines().items():
            if known.get(name) != line:
                yield name, line

    def lines(self) -> dict[str, str]:
        """Return a line for each container, by name."""
        return {
            record.name: tables.in_a_line(
                record, self.tallies.get(record.uid, ()), self.at, None
            )
            for record in self.records
        }


def in_order(records: Sequence[ContainerRecord], now: int) -> list[ContainerRecord]:
    """Return the containers to show: live ones, killed ones, and those that ended last."""
    live = [record for record in records if record.is_leased(now)]
    killed = [r for r in records if tables.is_orphan(r, counts.status_of(r, ()), now)]
    shown = {record.uid for record in (*live, *killed)}
    ended = [r for r in records if r.ended_at is not None and r.uid not in shown]
    ended.sort(key=lambda record: record.ended_at or 0, reverse=True)
    return [*live, *killed, *ended[:_ENDED]]
