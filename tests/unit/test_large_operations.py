"""What a person does to a container of many tasks holds its lease all the time."""

from __future__ import annotations

import pytest

from ptsflow import Status, Workflow, step
from ptsflow.client import Client, admin
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.testing import run_inline


class Wide(Workflow):
    """Five items."""

    container = "wide"

    @step
    def numbers(self) -> list[int]:
        return list(range(5))

    @step(each=numbers)
    def item(self, number: int) -> None:
        """Do nothing."""


class Patient(MemoryStore):
    """Counts commits and renewals."""

    said: str = ""

    def commit(self, *args: object, **kwargs: object) -> None:
        self.said += "c"
        super().commit(*args, **kwargs)  # type: ignore[arg-type]

    def renew(self, uid: str, fence: int, lease_ms: int) -> bool:
        self.said += "r"
        return super().renew(uid, fence, lease_ms)


def test_the_reset_of_many_tasks_renews_its_lease_between_commits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin, "_AT_ONCE", 2)
    store = Patient()
    run_inline(Wide(), client=Client(store))
    store.said = ""
    record = store.container("wide")
    assert record is not None

    assert len(admin.reset(store, record)) == 6
    assert store.said == "cr" * 3
    assert {task.status for task in store.tasks(record.uid)} == {Status.PENDING}
