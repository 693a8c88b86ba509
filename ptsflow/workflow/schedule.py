"""Checks the schedule of a class, and makes the workflow object that a tick names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ptsflow.core.insight import ScheduleRecord
from ptsflow.core.names import listed, similar
from ptsflow.core.ticks import newest, ticks
from ptsflow.errors import DeclarationError, ParameterError
from ptsflow.host.clock import to_millis
from ptsflow.workflow.cron import AtTick, Cron
from ptsflow.workflow.secret import Secret
from ptsflow.workflow.template import named_in

if TYPE_CHECKING:
    from ptsflow.workflow.workflow import Workflow

#: The most ticks that can be caught up with: each is looked for in the store.
MOST_TICKS = 1000
#: What is checked does not depend on when: a class is right always, or never.
_SAMPLE_BEGIN = datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
_SAMPLE_DAYS = 400
#: How many neighbouring ticks are compared.
_NEIGHBOURS = 25
#: After how many days further ticks are compared: a name may lack the day, the year.
_LATER = (1, 2, 7, 28, 31, 365, 366, 730)
_DAY = timedelta(days=1)
#: How a text begins that becomes one with the day of the tick, and how long that is.
_WITH_THE_DAY, _LENGTH_OF_DAY = ("{tick}", "{tick:%Y-%m-%d"), len("2026-01-31")


def at(kind: type[Workflow], cron: Cron, tick: datetime) -> Workflow:
    """Return the workflow object that a tick names.

    Args:
        kind: the workflow class.
        cron: its schedule.
        tick: the tick, in UTC.

    Raises:
        ParameterError: a value does not fit, or a secret cannot be read.
    """
    given = {
        name: _value(kind, cron, name, how, tick)
        for name, how in _params(kind, cron).items()
    }
    return kind(**given)


def _params(kind: type[Workflow], cron: Cron) -> dict[str, AtTick]:
    return dict.fromkeys(_followed(kind, cron), "{tick}") | dict(cron.params)


def _followed(kind: type[Workflow], cron: Cron) -> Iterator[str]:
    """Yield the hours and days that must be given and are not: they are the tick's."""
    for name, parameter in kind.declared_parameters.items():
        if parameter.is_required and parameter.period and name not in cron.params:
            yield name


def _value(
    kind: type[Workflow], cron: Cron, name: str, how: AtTick, tick: datetime
) -> Any:
    label = f"{kind.__name__}.schedule: the parameter {name}"
    local = tick.astimezone(cron.zone)
    try:
        if not isinstance(how, str):
            return how(local)
        fields = {"tick": local}
        if "{previous" in how:
            fields["previous"] = _previous(cron, tick)
        text = how.format_map(fields)
    except Exception as error:  # What users wrote may raise anything.
        raise ParameterError(f"{label}: {type(error).__name__}: {error}") from error
    return kind.declared_parameters[name].parsed(text, label)


def _previous(cron: Cron, tick: datetime) -> datetime:
    found = newest(cron.expression, cron.zone, tick - timedelta(seconds=1))
    return (found or tick).astimezone(cron.zone)


def check_schedule(kind: type[Workflow], cron: Cron, keep_ms: int | None) -> None:
    """Refuse a schedule that its class cannot keep to.

    Raises:
        DeclarationError: a parameter is unknown or missing, two ticks name one container,
            or there are too many ticks.
    """
    label = f"{kind.__name__}.schedule"
    _check_parameters(kind, cron, label)
    sample = list(islice(ticks(cron.expression, cron.zone, _SAMPLE_BEGIN), _NEIGHBOURS))
    shortest = _shortest(sample)
    if shortest is not None and cron.jitter_ms >= shortest:
        raise DeclarationError(
            f"{label}: expected a jitter below the time between two ticks, found "
            f"{cron.jitter_ms / 1000:g}s; make it shorter than {shortest / 1000:g}s"
        )
    window = timedelta(milliseconds=cron.catch_up_ms)
    caught_up = ticks(cron.expression, cron.zone, sample[0], sample[0] + window)
    if sum(1 for _ in islice(caught_up, MOST_TICKS + 1)) > MOST_TICKS:
        raise DeclarationError(
            f"{label}: expected up to {MOST_TICKS} ticks in catch_up, found more; make "
            "catch_up= shorter"
        )
    if keep_ms is not None and keep_ms <= cron.catch_up_ms:
        raise DeclarationError(
            f"{kind.__name__}.keep: expected more than the schedule's catch_up, "
            f"{cron.catch_up_ms / 1000:g}s, found {keep_ms / 1000:g}s: without its "
            "container a tick would be due again; make keep longer or catch_up= shorter"
        )
    _check_names(kind, cron, chain(sample, _at_changes(cron), _later(cron)), label)


def no_schedule(kind: type[Workflow]) -> DeclarationError:
    """Return the refusal of a class without a schedule."""
    return DeclarationError(
        f"{kind.__name__} has no schedule; add for example "
        'schedule = Cron("5 * * * *") to the body of the class'
    )


def tick_named(workflow: Workflow, name: str, now: datetime) -> int | None:
    """Return the tick that names a container, as far back as can be caught up with.

    A run by hand of such a container does the work of the tick. None if there is none.
    """
    kind = type(workflow)
    cron = kind.declared_options.schedule
    if cron is None:
        return None
    plain = _without_secrets(kind, cron)
    begin, end = _may_be_named_from(workflow, plain)
    begin = max(begin, now - timedelta(milliseconds=cron.catch_up_ms))
    for tick in reversed(list(ticks(cron.expression, cron.zone, begin, min(now, end)))):
        try:
            if _has_values(workflow, plain, tick) and (
                at(kind, plain, tick).container_name == name
            ):
                return to_millis(tick)
        except ParameterError:
            return None
    return None


def _may_be_named_from(workflow: Workflow, cron: Cron) -> tuple[datetime, datetime]:
    """Return between which moments a tick has the days of a workflow object's parameters.

    The first moment is before them. They are wide: zones differ by less than a day.
    """
    begin, end = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for name, how in _params(type(workflow), cron).items():
        if not (isinstance(how, str) and how.startswith(_WITH_THE_DAY)):
            continue
        value = workflow.parameters[name]
        with contextlib.suppress(OverflowError, ValueError):
            if isinstance(value, str):
                value = date.fromisoformat(value[:_LENGTH_OF_DAY])
            if isinstance(value, date) and not isinstance(value, datetime):
                value = datetime.combine(value, time(), UTC)
            if isinstance(value, datetime):
                moment = value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
                begin, end = max(begin, moment - _DAY), min(end, moment + 2 * _DAY)
    return begin, end


def _has_values(workflow: Workflow, cron: Cron, tick: datetime) -> bool:
    """Whether a workflow object has the parameters that the schedule gives it by texts."""
    kind = type(workflow)
    return all(
        _value(kind, cron, name, how, tick) == workflow.parameters[name]
        for name, how in _params(kind, cron).items()
        if isinstance(how, str)
    )


def declared(kind: type[Workflow], cron: Cron, now: datetime) -> ScheduleRecord:
    """Return a schedule as the store keeps it, that begins with its newest tick.

    Args:
        kind: the workflow class.
        cron: its schedule.
        now: the time, in UTC.
    """
    first = newest(cron.expression, cron.zone, now) or now
    return ScheduleRecord(
        workflow=kind.__name__,
        cron=cron.expression,
        zone=cron.timezone,
        overlap=cron.overlap,
        catch_up_ms=cron.catch_up_ms,
        again_ms=cron.again_ms or shortest_period(cron) or cron.catch_up_ms,
        jitter_ms=cron.jitter_ms,
        since=to_millis(first),
    )


def kept(stored: ScheduleRecord | None, given: ScheduleRecord) -> ScheduleRecord:
    """Return a schedule as it is declared now, with what the store knows of it.

    If its ticks are others now, it begins anew: else all the new ones of the past would
    be due at once.
    """
    if stored is None:
        return given
    is_same = (stored.cron, stored.zone) == (given.cron, given.zone)
    return replace(
        given,
        since=stored.since if is_same else given.since,
        paused_at=stored.paused_at,
        paused_by=stored.paused_by,
        why=stored.why,
    )


def shortest_period(cron: Cron) -> int | None:
    """Return the shortest time between two neighbouring ticks, in milliseconds."""
    sample = islice(ticks(cron.expression, cron.zone, _SAMPLE_BEGIN), _NEIGHBOURS)
    return _shortest(list(sample))


def _shortest(sample: list[datetime]) -> int | None:
    between = [after - before for before, after in pairwise(sample)]
    return min(between) // timedelta(milliseconds=1) if between else None


def _check_parameters(kind: type[Workflow], cron: Cron, label: str) -> None:
    declared = kind.declared_parameters
    for name, how in cron.params.items():
        if name not in declared:
            raise DeclarationError(
                f"{label}: params names {name!r}{similar(name, declared)}; the class "
                f"has {listed(declared, name) or 'none'}"
            )
        if not isinstance(how, str):
            continue
        try:
            fields = named_in(how)
        except ValueError as error:
            raise DeclarationError(
                f"{label}: {name}: {how!r:.80} is no template: {error}"
            ) from error
        for field in fields:
            if field not in ("tick", "previous"):
                raise DeclarationError(
                    f"{label}: {name}: {how!r:.80} names {field!r}; it may name tick "
                    "and previous"
                )
    given = {*cron.params, *_followed(kind, cron)}
    for name, parameter in declared.items():
        if parameter.is_required and name not in given:
            raise DeclarationError(
                f"{label}: the parameter {name} has no value at a tick; give it one by "
                f'params={{"{name}": "{{tick:...}}"}}, or a default'
            )


def _check_names(
    kind: type[Workflow], cron: Cron, sample: Iterable[datetime], label: str
) -> None:
    """Refuse two ticks that name one container: the container tells what is done."""
    plain = _without_secrets(kind, cron)
    named: dict[str, datetime] = {}
    for tick in sample:
        try:
            name = at(kind, plain, tick).container_name
        except ParameterError as error:
            raise DeclarationError(str(error)) from error
        if named.setdefault(name, tick) != tick:
            first, second = (
                each.astimezone(cron.zone).isoformat() for each in (named[name], tick)
            )
            raise DeclarationError(
                f"{label}: the ticks {first} and {second} both name the container "
                f"{name!r:.80}; let the container's name tell them apart, by a parameter "
                'such as "{tick:%Y-%m-%dT%H%z}"'
            )


def _without_secrets(kind: type[Workflow], cron: Cron) -> Cron:
    """Return a schedule that reads no secret: none is a part of a name."""
    plain = Cron(cron.expression, timezone=cron.timezone)
    plain.params = {
        name: how
        if not kind.declared_parameters[name].is_secret
        else lambda _tick: Secret("-")
        for name, how in cron.params.items()
    }
    return plain


def _at_changes(cron: Cron) -> Iterator[datetime]:
    """Yield the ticks around each change of the zone's clock."""
    if cron.zone is UTC:
        return
    for day in range(_SAMPLE_DAYS):
        begin = _SAMPLE_BEGIN + day * _DAY
        offsets = {
            moment.astimezone(cron.zone).utcoffset() for moment in (begin, begin + _DAY)
        }
        if len(offsets) > 1:
            near = partial(ticks, cron.expression, cron.zone)
            yield from islice(near(begin - _DAY / 8, begin + _DAY * 9 / 8), MOST_TICKS)


def _later(cron: Cron) -> Iterator[datetime]:
    """Yield one tick after each of several days."""
    for days in _LATER:
        yield from islice(
            ticks(cron.expression, cron.zone, _SAMPLE_BEGIN + days * _DAY), 1
        )
