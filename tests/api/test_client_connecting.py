"""Clients come and go, and what they read stays as it was until it is refreshed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ptsflow
from ptsflow import Status
from ptsflow.client import Client, Container
from ptsflow.errors import ContainerNotFound
from tests.api.conftest import only_task

# -- containers as they were read -----------------------------------------------------


def test_a_container_that_was_read_is_as_it_was_until_refreshed(
    client: Client, container: Container
) -> None:
    other = client.get_task_container(container.name)
    assert other is not None
    before = (other.is_complete, other.percentage_complete)
    container.add_task("a")
    meanwhile = (other.is_complete, other.percentage_complete)
    other.refresh()

    assert before == meanwhile == (True, 100.0)
    assert (other.is_complete, other.percentage_complete) == (False, 0.0)


def test_tasks_are_always_read_as_they_are(
    client: Client, container: Container
) -> None:
    other = client.get_task_container(container.name)
    assert other is not None
    container.add_task("a")
    container.update_task("a", status_text="changed")

    assert only_task(other).status_text == "changed"


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda c: c.refresh(), id="refresh"),
        pytest.param(lambda c: c.add_task("a"), id="add_task"),
        pytest.param(lambda c: c.update_task("a", status_text="x"), id="update_task"),
    ],
)
def test_a_container_that_was_deleted_says_so(
    client: Client, container: Container, act: Any
) -> None:
    container.add_task("a")
    client.delete_task_container(container.name)
    client.get_or_create_task_container(container.name)

    with pytest.raises(ContainerNotFound) as refused:
        act(container)

    assert str(refused.value) == (
        f"container {container.name!r}: it was deleted; get or create it again"
    )


def test_a_container_that_was_deleted_touches_no_tasks_of_its_successor(
    client: Client, container: Container
) -> None:
    client.delete_task_container(container.name)
    successor, _ = client.get_or_create_task_container(container.name)
    successor.add_task("a")

    assert container.get_tasks() == []
    assert container.delete_task("a") is None
    assert container.lease_next_task() is None
    assert only_task(successor).status is Status.PENDING


# -- connecting -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_client_in_a_with_is_closed_and_what_it_wrote_stays(
    url: str, name: str
) -> None:
    with ptsflow.connect(url) as client:
        client.get_or_create_task_container(name)[0].add_task("a")
    client.close()
    with ptsflow.connect(url) as client:
        container = client.get_task_container(name)
        assert container is not None
        assert only_task(container).name == "a"


def test_connect_takes_the_environment_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PTSFLOW_STORE", raising=False)
    with ptsflow.connect() as by_default:
        by_default.get_or_create_task_container("feed")
    monkeypatch.setenv("PTSFLOW_STORE", "sqlite:///other.db")
    with ptsflow.connect() as by_environment:
        absent = by_environment.get_task_container("feed")
    with ptsflow.connect("sqlite:///.ptsflow/ptsflow.db") as by_url:
        present = by_url.get_task_container("feed")

    assert absent is None
    assert present is not None
    assert by_environment.url.endswith("other.db")


def test_the_example_of_the_ancestor_works(url: str, name: str) -> None:
    with ptsflow.connect(url) as client:
        container, _ = client.get_or_create_task_container(name)
        container.add_task("download", task_data={"url": "x"}, max_retries=5)
        container.update_task(
            "download",
            percentage_complete=65,
            status_text="3 of 7 files",
            processing_data={"offset": 123},
        )
        half = container.get_task("download")
        container.update_task("download", is_complete=True)
        done = container.get_task("download")
        deleted = container.delete_task("download")

    assert half is not None
    assert (half.percentage_complete, half.processing_data) == (65.0, {"offset": 123})
    assert done is not None
    assert (done.percentage_complete, done.max_retries) == (100.0, 5)
    assert deleted == done
