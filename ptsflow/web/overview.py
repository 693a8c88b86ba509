"""The first page: what runs, what was killed, what ended, and how all of it went."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from urllib.parse import quote

from markupsafe import Markup
from msgspec import Struct

from ptsflow.client.looking import outlooks, seen
from ptsflow.client.sound import sound_tallies
from ptsflow.core import counts
from ptsflow.core.model import ContainerRecord, Status, Tally
from ptsflow.display import tables
from ptsflow.display.late import late_in_words
from ptsflow.stores.base import Store
from ptsflow.web.container_row import ContainerRow, row_of
from ptsflow.web.drawing import GridColumn, grid
from ptsflow.web.pages import Page, Part
from ptsflow.web.schedules import LateOnes

#: How many containers a page of the table has.
PAGE = 100
#: How many of the newest containers are counted.
_COUNTED = 1_000
#: How many workflows have a grid, and how many containers are in it.
_GRIDS, _COLUMNS = 12, 48
#: So many grids are shown, further ones are folded away.
_OPEN_GRIDS = 3
#: How many containers are shown that run, or were killed.
_NOW = 50
#: How many counts of containers that ended are kept.
_KEPT = 4_000

#: What a container's counts depend on, once nobody runs it.
_Version = tuple[str, int, int | None, Status]


class Filter(Struct, frozen=True):
    """Which containers are wanted."""

    workflow: str | None = None
    status: Status | None = None
    part: str | None = None
    #: The uid of the last container of the page before.
    before: str | None = None

    @property
    def is_any(self) -> bool:
        """Whether not all containers are wanted."""
        return any((self.workflow, self.status, self.part, self.before))


class Grid(Struct, frozen=True, kw_only=True):
    """The newest containers of a workflow, the oldest of them first."""

    workflow: str
    columns: Sequence[ContainerRow]
    #: The steps of the newest plan, in order.
    steps: Sequence[str]

    @property
    def drawn(self) -> Markup:
        """The grid as a drawing."""
        columns = [
            GridColumn(
                name=column.record.name,
                stands=column.stands.text,
                status=column.status,
                took_ms=column.took_ms,
                is_killed=column.is_killed,
                killed=column.killed,
                at=column.record.started_at or column.record.created_at,
                steps=column.steps,
                href=f"/c/{quote(column.record.uid, safe='')}",
            )
            for column in self.columns
        ]
        return grid(self.workflow, self.steps, columns)


class Overview(Struct, frozen=True, kw_only=True):
    """One look at the containers of a store."""

    at: int
    #: How many of the newest containers there are by how they are stored.
    by_status: Mapping[Status, int]
    #: Whether there are more than were counted.
    is_part: bool
    #: Those that run or were killed.
    current: Sequence[ContainerRow]
    #: What is late: the workflow, and a line of it.
    late: Sequence[tuple[str, str]]
    grids: Sequence[Grid]
    #: One page of the table.
    rows: Sequence[ContainerRow]
    has_more: bool
    #: What is said of containers that are damaged.
    damaged: Sequence[str] = ()


class Counted:
    """Counts tasks of containers; those that nobody runs are asked for once."""

    def __init__(self) -> None:
        #: What is said of containers of which a row is damaged, by their uids.
        self.damaged: dict[str, str] = {}
        self._kept: dict[_Version, Sequence[Tally]] = {}

    def of(
        self, store: Store, records: Iterable[ContainerRecord], now: int
    ) -> dict[str, Sequence[Tally]]:
        """Return the tasks of each container, counted."""
        found: dict[str, Sequence[Tally]] = {}
        asked: dict[str, _Version] = {}
        for record in records:
            version = (record.uid, record.fence, record.ended_at, record.status)
            kept = self._kept.get(version)
            if kept is None or record.is_leased(now) or record.workflow is None:
                asked[record.uid] = version
            else:
                found[record.uid] = kept
        tallies, damaged = sound_tallies(store, asked)
        self.damaged = {u: t for u, t in self.damaged.items() if u not in tallies}
        self.damaged |= damaged
        for uid, version in asked.items():
            found[uid] = tallies.get(uid, ())
            if uid not in damaged:
                self._kept[version] = found[uid]
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return found


def look_at_overview(
    store: Store,
    wanted: Filter,
    before: ContainerRecord | None,
    counted: Counted,
    late_ones: LateOnes,
) -> Overview:
    """Return the containers to show.

    Args:
        store: where they are.
        wanted: which ones the table has.
        before: the last container of the page before.
        counted: counts their tasks.
        late_ones: knows what is late.
    """
    now = store.now()
    damaged: list[str] = []
    recent = partial(store.recent, damaged=damaged)
    newest = [_seen(store, record, now) for record in recent(_COUNTED)]
    if wanted.is_any:
        found = recent(PAGE + 1, before, wanted.workflow, wanted.status, wanted.part)
        current: list[ContainerRecord] = []
        columns: dict[str, list[ContainerRecord]] = {}
    else:
        found = newest[: PAGE + 1]
        current = _current(store, recent, newest, now)
        columns = _columns(newest)
    page = [_seen(store, record, now) for record in found[:PAGE]]
    every = {r.uid: r for of_one in columns.values() for r in of_one}
    every |= {record.uid: record for record in (*current, *page)}
    late_of = {} if wanted.is_any else late_ones.of(store, now)
    tallies = counted.of(store, every.values(), now)
    told = outlooks(store, [*current, *page], now)
    rows = {
        uid: row_of(
            record, tallies[uid], told.get(uid), now, counted.damaged.get(uid, "")
        )
        for uid, record in every.items()
    }
    by_status = dict.fromkeys(Status, 0)
    for record in newest:
        by_status[counts.status_of(record, tallies.get(record.uid, ()))] += 1
    return Overview(
        at=now,
        by_status=by_status,
        is_part=len(newest) == _COUNTED,
        current=[rows[record.uid] for record in current],
        late=[
            (workflow, late_in_words(each, now))
            for workflow, late in late_of.items()
            for each in late
        ],
        grids=_grids(columns, rows, late_of),
        rows=[rows[record.uid] for record in page],
        has_more=len(found) > PAGE,
        damaged=list(dict.fromkeys(damaged)),
    )


def _seen(store: Store, record: ContainerRecord, now: int) -> ContainerRecord:
    """Return a container with its real owner; of one that ended there is none."""
    is_open = record.owner is not None or record.status is Status.RUNNING
    return seen(store, record, now) if is_open else record


def _current(
    store: Store,
    recent: Callable[..., list[ContainerRecord]],
    newest: Sequence[ContainerRecord],
    now: int,
) -> list[ContainerRecord]:
    """Return the containers that were killed, then those that run."""
    known = {record.uid for record in newest}
    running = recent(_COUNTED, status=Status.RUNNING)
    older = [_seen(store, r, now) for r in running if r.uid not in known]
    records = [*newest, *older]
    killed = [r for r in records if tables.is_orphan(r, counts.status_of(r, ()), now)]
    live = [record for record in records if record.is_leased(now)]
    return [*killed, *live][:_NOW]


def _columns(newest: Iterable[ContainerRecord]) -> dict[str, list[ContainerRecord]]:
    """Return the newest containers of each workflow, the newest first."""
    found: dict[str, list[ContainerRecord]] = {}
    for record in newest:
        if record.workflow is not None:
            columns = found.setdefault(record.workflow, [])
            if len(columns) < _COLUMNS:
                columns.append(record)
    return dict(list(found.items())[:_GRIDS])


def _grids(
    columns: Mapping[str, Sequence[ContainerRecord]],
    rows: Mapping[str, ContainerRow],
    late: Collection[str],
) -> list[Grid]:
    """Return a grid for each workflow: with killed containers, late and failed ones first."""
    found = [
        Grid(
            workflow=workflow,
            columns=[rows[record.uid] for record in reversed(records)],
            steps=[step.name for step in records[0].plan],
        )
        for workflow, records in columns.items()
    ]
    return sorted(found, key=lambda grid: _urgency(grid, late))


def _urgency(grid: Grid, late: Collection[str]) -> int:
    if any(column.is_killed for column in grid.columns):
        return 0
    if grid.workflow in late:
        return 1
    return 2 if grid.columns[-1].status is Status.FAILED else 3


def overview_page(found: Overview, wanted: Filter) -> Page:
    """Return the first page."""
    values = {"found": found, "wanted": wanted, "now": found.at, "open": _OPEN_GRIDS}
    parts = {"chips": "_chips.html", "damaged": "_damaged.html"}
    if not wanted.is_any:
        parts |= {
            "late": "_late.html",
            "current": "_current.html",
            "grids": "_grids.html",
        }
    parts["table"] = "_table.html"
    return Page(
        title="ptsflow",
        parts={name: Part(template, values) for name, template in parts.items()},
    )
