"""Commands about a whole store: what it is, whether it is sound, copies, upgrades."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from ptsflow.cli.common import Common, common_options, pass_common
from ptsflow.cli.shared import (
    Group,
    open_to_change,
    open_to_look,
    say,
    say_left,
    show,
    show_json,
    show_text,
)
from ptsflow.client.looking import seen
from ptsflow.core import model
from ptsflow.core.model import Status
from ptsflow.core.names import listed
from ptsflow.display import as_json
from ptsflow.display import format as fmt
from ptsflow.display.format import Piece
from ptsflow.errors import (
    ContainerBusy,
    ContainerMismatch,
    PtsflowError,
    StoreDamaged,
    UsageError,
)
from ptsflow.stores import absolute, mask, open_care, open_store, upgrade_store
from ptsflow.stores.base import Store
from ptsflow.stores.care import Fault, Grade, StoreCare

#: What `store check` exits with by the worst that it found.
_EXIT = {Grade.NOTE: 0, Grade.FINDING: 1, Grade.DAMAGE: StoreDamaged.exit_code}


@click.group(cls=Group)
@common_options
def store() -> None:
    """Look at a store, check, copy or upgrade it."""


@store.command()
@common_options
@pass_common
def upgrade(common: Common) -> None:
    """Carry a store over to this version's layout.

    Upgrade ptsflow on all hosts first. A SQLite file is also upgraded by the next
    command that changes a container; a copy of the old file is kept beside it.
    """
    done = upgrade_store(common.url)
    where = mask(common.url)
    say(done or f"{where}: layout {model.SCHEMA} is up to date")
    if common.json:
        upgraded = {
            "store": where,
            "layout": model.SCHEMA,
            "upgraded": done is not None,
        }
        show_json({"schema": as_json.SCHEMA} | upgraded)


@store.command()
@common_options
@pass_common
def info(common: Common) -> None:
    """Say what a store is, how large, and what is in it."""
    with (
        contextlib.closing(open_care(common.url)) as care,
        contextlib.closing(open_to_look(common.url)) as opened,
    ):
        facts = care.facts()
        now = opened.now()
        records = [
            seen(opened, record, now) for record in opened.containers(plans=False)
        ]
        tallies = opened.tallies([record.uid for record in records])
    tasks = sum(tally.count for some in tallies.values() for tally in some)
    by_status = Counter(record.status for record in records)
    live = [record.name for record in records if record.is_leased(now)]
    found: dict[str, Any] = {
        "store": care.url,
        "engine": facts.engine,
        "layout": facts.layout,
        "containers": len(records),
        "by_status": {status.value: by_status[status] for status in Status},
        "tasks": tasks,
        "leased": live,
        "bytes": {room.name: room.size for room in facts.rooms},
        "free_bytes": facts.free,
    }
    if common.json:
        show_json({"schema": as_json.SCHEMA} | found)
        return
    statuses = ", ".join(
        f"{by_status[each]} {each.value}" for each in Status if by_status[each]
    )
    rows = [
        ("store", care.url),
        ("engine", f"{facts.engine}, layout {facts.layout}"),
        ("containers", f"{len(records)}" + (f": {statuses}" if statuses else "")),
        ("tasks", str(tasks)),
        ("leased", listed(live) or "none"),
        *((room.name, fmt.size(room.size)) for room in facts.rooms),
    ]
    if facts.free is not None:
        rows.append(("free on the disk", fmt.size(facts.free)))
    show(fmt.columns([[Piece(name), Piece(fmt.clean(text))] for name, text in rows]))


@store.command()
@click.option("--deep", is_flag=True, help="Also read all results and log lines.")
@click.option(
    "--repair",
    is_flag=True,
    help="Remove what belongs to nothing, and make missing indexes.",
)
@common_options
@pass_common
def check(common: Common, *, deep: bool, repair: bool) -> int:
    """Look for what is wrong with a store: a line of each fault.

    Exit codes: 0 sound, 1 something was found, 6 damaged.
    """
    with contextlib.closing(open_care(common.url)) as care:
        found = list(found_faults(care, common.url, deep=deep))
        if repair and not any(fault.grade is Grade.DAMAGE for fault in found):
            done = list(care.repair())
            for line in done:
                say(f"repaired: {line}")
            found = list(found_faults(care, common.url, deep=deep))
    for fault in found:
        if common.json:
            show_json(_as_json(fault))
        else:
            show_text(f"{fault.grade}: {fault.kind}: {fmt.clean(fault.text)}\n")
    _conclude(care, found, repair=repair)
    return max((_EXIT[fault.grade] for fault in found), default=0)


def found_faults(care: StoreCare, url: str, *, deep: bool) -> Iterable[Fault]:
    """Yield what is wrong with the store; with its records, if these can be read."""
    is_whole = True
    for fault in care.faults(deep=deep):
        is_whole = is_whole and not _keeps_from_reading(fault)
        yield fault
    if not is_whole:
        return
    from ptsflow.client.checking import faults_of_records  # noqa: PLC0415 - seldom

    try:
        with contextlib.closing(open_store(url, upgrade=False)) as opened:
            yield from faults_of_records(opened, deep=deep)
    except StoreDamaged as error:
        yield Fault("damage", str(error), Grade.DAMAGE)


def _keeps_from_reading(fault: Fault) -> bool:
    # A store opens no file on a network disk, and makes indexes that are missing.
    is_refused = fault.kind in ("missing index", "network disk")
    return fault.grade is Grade.DAMAGE or is_refused


def _as_json(fault: Fault) -> dict[str, Any]:
    return {
        "schema": as_json.SCHEMA,
        "grade": fault.grade.value,
        "kind": fault.kind,
        "text": fault.text,
        "repairable": fault.is_repairable,
    }


def _conclude(care: StoreCare, found: Sequence[Fault], *, repair: bool) -> None:
    grades = Counter(fault.grade for fault in found)
    if any(f.grade is Grade.DAMAGE and f.kind != "earlier layout" for f in found):
        say(f"ptsflow: {care.url}: is damaged; restore it from a backup")
    elif grades[Grade.DAMAGE]:
        say(f"ptsflow: {care.url}: is to be upgraded before it can be checked")
    elif grades[Grade.FINDING]:
        count = fmt.many(grades[Grade.FINDING], "finding", "findings")
        can = any(f.is_repairable and f.grade is Grade.FINDING for f in found)
        say(f"{care.url}: {count}{'; --repair mends' if can and not repair else ''}")
    else:
        say(f"{care.url}: is sound")


@store.command()
@click.argument("file", type=click.Path(path_type=Path))
@common_options
@pass_common
def backup(common: Common, file: Path) -> None:
    """Copy a SQLite store to FILE, whole, while runs go on."""
    with contextlib.closing(open_care(common.url)) as care:
        care.backup(file.absolute())
    say(f"{care.url}: was copied to {file}")
    if common.json:
        show_json({"schema": as_json.SCHEMA, "store": care.url, "file": str(file)})


@store.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--name",
    "parts",
    metavar="PART",
    multiple=True,
    help="Only containers with this in their names.",
)
@click.option("--unfinished", is_flag=True, help="Only those that are not complete.")
@click.option(
    "--no-workdirs", is_flag=True, help="Leave the folders of unfinished tasks."
)
@click.option("-n", "--dry-run", is_flag=True, help="Say which; write nothing.")
@common_options
@pass_common
def copy(  # noqa: PLR0913 - they are its options
    common: Common,
    source: str,
    target: str,
    *,
    parts: tuple[str, ...],
    unfinished: bool,
    no_workdirs: bool,
    dry_run: bool,
) -> int:
    """Copy containers and the history from the store SRC to the store DST.

    SRC keeps all. The same command again goes on where it was stopped. A container that
    a live runner has is left, which makes the exit code 5.
    """
    from ptsflow.client.copying import Copying, chosen  # noqa: PLC0415 - seldom

    if absolute(source) == absolute(target):
        raise UsageError(f"store copy: expected two stores, found {mask(source)} twice")
    with contextlib.closing(open_to_change(source)) as old:
        records = chosen(old.containers(), parts, unfinished=unfinished)
        if dry_run:
            return _say_would_copy(common, old, [record.name for record in records])
        with contextlib.closing(open_store(target, notice=say)) as new:
            copying = Copying(
                old,
                new,
                with_files=not no_workdirs,
                refused=partial(say_left, Common(store=source)),
            )
            copying.copy(records)
            copying.copy_queue()
            if not parts and not unfinished:
                copying.copy_history()
                copying.copy_schedules()
    count = fmt.many(len(copying.copied), "container", "containers")
    also = f", {len(copying.there)} were there" if copying.there else ""
    say(f"copied {count} to {mask(target)}{also}")
    if common.json:
        found = {"copied": copying.copied, "there": copying.there}
        show_json({"schema": as_json.SCHEMA} | found | {"left": [*copying.left]})
    return _worst(copying.left.values())


def _say_would_copy(common: Common, old: Store, names: list[str]) -> int:
    count = fmt.many(len(names), "container", "containers")
    say(f"{old.url}: would copy {count}: {listed(names) or 'none'}")
    if common.json:
        show_json({"schema": as_json.SCHEMA, "copied": names, "dry_run": True})
    return 0


def _worst(errors: Iterable[PtsflowError]) -> int:
    kinds = {type(error) for error in errors}
    if ContainerMismatch in kinds:
        return ContainerMismatch.exit_code
    return ContainerBusy.exit_code if kinds else 0
