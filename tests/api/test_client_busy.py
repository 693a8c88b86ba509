"""A container that a live runner holds is not changed; a dead one's is free."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ptsflow import Status
from ptsflow.client import Client, Container
from ptsflow.core.model import ContainerRecord
from ptsflow.display import format as fmt
from ptsflow.errors import ContainerBusy
from ptsflow.host.process_identity import this_process
from ptsflow.stores.base import Store
from tests.stores.making import Ticker, owner
from tests.support.processes import ROOT

Act = Callable[[Container], object]


ACTS = [
    pytest.param(lambda c: c.add_task("b"), id="add_task"),
    pytest.param(lambda c: c.update_task("a", status_text="x"), id="update_task"),
    pytest.param(lambda c: c.update_task("a", name="b"), id="rename"),
    pytest.param(lambda c: c.delete_task("a"), id="delete_task"),
    pytest.param(lambda c: c.lease_next_task(), id="lease_next_task"),
]


def held(store: Store, name: str, *, here: bool = False) -> ContainerRecord:
    """Hold the container as another host's runner does, or as this process."""
    record = store.container(name)
    assert record is not None
    by = this_process(store.now) if here else owner("other", store.now())
    claimed = store.claim(record.uid, by, 60_000)
    assert claimed is not None
    return claimed


@pytest.mark.parametrize("act", ACTS)
def test_a_container_that_a_live_runner_holds_is_not_changed(
    client: Client, container: Container, act: Act
) -> None:
    before = container.add_task("a")
    held(client.store, container.name)

    with pytest.raises(ContainerBusy) as refused:
        act(container)
    assert str(refused.value) == (
        f"container {container.name!r} is run by pid 42 on box since "
        f"{fmt.date_time(1_700_000_000_000)}, its lease lasts until "
        f"{fmt.date_time(1_700_000_060_000)}; wait until it has ended, or stop it "
        f"with ptsflow cancel {shlex.quote(container.name)}"
    )
    assert container.get_tasks() == [before]


def test_a_container_that_a_live_runner_holds_is_not_deleted(
    client: Client, container: Container
) -> None:
    held(client.store, container.name)

    with pytest.raises(ContainerBusy, match="is run by pid 42 on box"):
        client.delete_task_container(container.name)
    assert client.get_task_container(container.name) is not None


@pytest.mark.parametrize("act", ACTS)
def test_a_container_is_free_again_when_the_lease_has_ended(
    client: Client, container: Container, clock: Ticker, act: Act
) -> None:
    before = container.add_task("a")
    held(client.store, container.name)
    clock.now += 60_000
    act(container)

    assert container.get_tasks() != [before]


def test_reading_is_free_while_a_runner_holds_the_container(
    client: Client, container: Container
) -> None:
    added = container.add_task("a")
    held(client.store, container.name)
    container.refresh()

    assert container.get_tasks() == [added]
    assert container.get_task("a") == container.get_next_task() == added
    assert not container.is_complete


@pytest.mark.parametrize("act", ACTS)
def test_a_dead_runner_of_this_host_holds_nothing(
    client: Client, container: Container, act: Act
) -> None:
    before = container.add_task("a")
    _die_holding(client.store, container.name)
    act(container)
    record = client.store.container(container.name)

    assert container.get_tasks() != [before]
    assert record is not None
    assert (record.owner, record.status) == (None, Status.PENDING)


def test_what_a_dead_runner_of_this_host_held_can_be_deleted(
    client: Client, container: Container
) -> None:
    _die_holding(client.store, container.name)

    assert client.delete_task_container(container.name)


def test_a_live_runner_of_this_host_is_not_taken_for_dead(
    client: Client, container: Container
) -> None:
    held(client.store, container.name, here=True)

    with pytest.raises(ContainerBusy):
        container.add_task("a")


def _die_holding(store: Store, name: str) -> None:
    """Leave the container held by a process of this host that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""], cwd=ROOT)
    ended.wait()
    record = store.container(name)
    assert record is not None
    dead = replace(this_process(store.now), pid=ended.pid, started=1)
    assert store.claim(record.uid, dead, 60_000) is not None
