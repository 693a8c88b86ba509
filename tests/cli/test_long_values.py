"""Values that are long: `status` and `show` say their sizes, and print them if asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

import ptsflow
from ptsflow.client import status_object
from ptsflow.core.model import TaskRecord
from ptsflow.stores.memory.store import MemoryStore
from tests.cli.calling import Place

LONG = "x" * 70_000
SHORT = "é" * 32_000


@pytest.fixture
def filled(place: Place) -> Place:
    with ptsflow.connect(place.store) as client:
        container, _ = client.get_or_create_task_container("values")
        container.add_task("a", task_data=LONG, processing_data=SHORT)
        container.update_task("a", is_complete=True, result=[LONG, "é" * 9])
        container.add_task("b", task_data=SHORT)
    return place


def test_a_long_value_is_left_out_of_json_unless_it_is_asked_for(filled: Place) -> None:
    first, second = filled.json("status", "values")["tasks"]
    whole, _ = filled.json("status", "values", "--values")["tasks"]
    alone = filled.json("show", "values", "a")
    same = filled.json("show", "values", "--values")["tasks"][0]

    assert first["left_out"] == {"task_data": 70_002, "result": 70_025}
    assert (first["task_data"], first["result"]) == (None, None)
    assert first["processing_data"] == second["task_data"] == SHORT
    assert "left_out" not in second
    assert whole | {"task_data": None, "result": None} == {
        name: value for name, value in first.items() if name != "left_out"
    }
    assert (whole["task_data"], whole["result"]) == (LONG, [LONG, "é" * 9])
    assert alone["left_out"] == first["left_out"]
    assert same == whole


def test_a_person_is_told_the_size_of_a_long_value(filled: Place) -> None:
    told = filled.call("show", "values", "a").stdout
    whole = filled.call("show", "values", "a", "--values").stdout

    assert "68 KiB; --values shows it" in told
    assert SHORT in told
    assert LONG not in told
    assert LONG in whole


def test_few_long_values_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    tasks = MemoryStore.tasks

    def noting(
        self: MemoryStore,
        uid: str,
        names: Iterable[str] | None = None,
        *,
        payloads: bool = False,
    ) -> list[TaskRecord]:
        found = tasks(self, uid, names, payloads=payloads)
        sizes.append(
            sum(len(t.task_data) for t in found if isinstance(t.task_data, str))
        )
        return found

    with ptsflow.connect("memory:") as client:
        container, _ = client.get_or_create_task_container("values")
        for number in range(60):
            container.add_task(f"t{number}", task_data=LONG * 15)
        store: Any = client.store
        record = store.container("values")
        monkeypatch.setattr(MemoryStore, "tasks", noting)
        found = status_object.status_object(store, record)

    assert [task["name"] for task in found["tasks"]] == [f"t{n}" for n in range(60)]
    assert max(sizes) < 2**24 + 2**20
