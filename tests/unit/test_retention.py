"""Which containers are old enough to be deleted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ptsflow.core.model import ContainerRecord, Owner, Status
from ptsflow.core.retention import Retention, expendable

_NOW = 1_000
_OWNER = Owner(id="a", host="box", boot="b", pid=1, started=1, since=0)


def container(name: str, **fields: object) -> ContainerRecord:
    """Return a container that ended at 100, unless its fields say else."""
    made = ContainerRecord(
        uid=name,
        name=name,
        workflow="Feed",
        status=Status.DONE,
        created_at=50,
        started_at=60,
        ended_at=100,
    )
    return replace(made, **fields)


def names(retention: Retention, *records: ContainerRecord) -> list[str]:
    return [record.name for record in expendable(records, retention, _NOW)]


@pytest.mark.parametrize(
    ("fields", "retention", "is_deleted"),
    [
        pytest.param({}, Retention(before=101), True, id="old"),
        pytest.param({}, Retention(before=100), False, id="not old enough"),
        pytest.param(
            {"owner": _OWNER, "leased_till": _NOW + 1},
            Retention(before=500, unfinished=True),
            False,
            id="leased",
        ),
        pytest.param(
            {"owner": _OWNER, "leased_till": _NOW},
            Retention(before=500),
            True,
            id="lease over",
        ),
        pytest.param(
            {"status": Status.FAILED}, Retention(before=500), False, id="failed"
        ),
        pytest.param(
            {"status": Status.FAILED},
            Retention(before=500, unfinished=True),
            True,
            id="failed, too",
        ),
        pytest.param(
            {"status": Status.RUNNING, "ended_at": None, "started_at": 500},
            Retention(before=500, unfinished=True),
            False,
            id="begun again",
        ),
        pytest.param(
            {"status": Status.PENDING, "ended_at": None, "started_at": None},
            Retention(before=500, unfinished=True),
            True,
            id="never begun",
        ),
        pytest.param(
            {"workflow": None},
            Retention(before=500, unfinished=True),
            False,
            id="a client's",
        ),
        pytest.param(
            {}, Retention(before=500, workflow="Feed"), True, id="its workflow"
        ),
        pytest.param(
            {}, Retention(before=500, workflow="Other"), False, id="another workflow"
        ),
        pytest.param(
            {}, Retention(before=500, since={"Feed": 50}), False, id="within catch_up"
        ),
        pytest.param(
            {}, Retention(before=500, since={"Feed": 51}), True, id="beyond catch_up"
        ),
    ],
)
def test_a_container_is_deleted_or_stays(
    fields: dict[str, object], retention: Retention, *, is_deleted: bool
) -> None:
    assert names(retention, container("a", **fields)) == ["a"] * is_deleted


def test_the_newest_of_each_workflow_stay_whatever_they_are() -> None:
    records = [
        container("a"),
        container("x", workflow="Other"),
        container("b"),
        container("c", status=Status.FAILED),
        container("y", workflow="Other"),
    ]

    assert names(Retention(before=500), *records) == ["a", "x", "b", "y"]
    assert names(Retention(before=500, keep=1), *records) == ["a", "x", "b"]
    assert names(Retention(before=500, keep=2), *records) == ["a"]
    assert names(Retention(before=500, keep=3), *records) == []
