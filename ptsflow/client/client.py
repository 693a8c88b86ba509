"""A connection to a store: task containers by name are made, read and deleted."""

from __future__ import annotations

import os
from typing import Self

from ptsflow.client.container import Container
from ptsflow.client.fields import (
    check_name,
)
from ptsflow.client.lease import free
from ptsflow.host import workdirs
from ptsflow.stores import open_store
from ptsflow.stores.base import Store

#: The store that is used if neither the call nor $PTSFLOW_STORE names one.
DEFAULT_STORE = "sqlite:///.ptsflow/ptsflow.db"


def store_url(url: str | None) -> str:
    """Return `url`, else $PTSFLOW_STORE, else the default store."""
    # An empty `url` is a mistake: it is returned, and refused when it is opened.
    return (os.environ.get("PTSFLOW_STORE") or DEFAULT_STORE) if url is None else url


class Client:
    """A connection to a store; made by `connect`.

    Use it from one thread at a time, and close it, or use it in a `with`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """The URL of the store, with its password masked."""
        return self._store.url

    @property
    def store(self) -> Store:
        """The store itself, for runners."""
        return self._store

    def get_or_create_task_container(self, name: str) -> tuple[Container, bool]:
        """Return the container of that name, and whether this call made it.

        Raises:
            InvalidName: the name is no str, empty, or over 200 bytes.
        """
        check_name(name, "container")
        record, created = self._store.create(name)
        return Container(self._store, record), created

    def get_task_container(self, name: str) -> Container | None:
        """Return the container of that name, or None."""
        check_name(name, "container")
        record = self._store.container(name)
        return None if record is None else Container(self._store, record)

    def get_task_containers(self) -> list[Container]:
        """Return all containers, oldest first."""
        return [Container(self._store, record) for record in self._store.containers()]

    def delete_task_container(self, name: str) -> bool:
        """Delete a container and its tasks; return False where there is none.

        The folders that its tasks have in `task.workdir` on this machine are deleted too.

        Raises:
            ContainerBusy: a live runner holds it.
        """
        check_name(name, "container")
        while True:
            record = self._store.container(name)
            if record is None:
                return False
            if self._store.delete(record.uid):
                workdirs.forget(self._store.work_root, record)
                return True
            held = self._store.container(name)
            if held is not None and held.uid == record.uid:
                free(self._store, held)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(url: str | None = None) -> Client:
    """Open a store.

    Args:
        url: `sqlite:///path.db`, `mongodb://host/database`, or `memory://`. Without it
            $PTSFLOW_STORE, then `sqlite:///.ptsflow/ptsflow.db`.

    Raises:
        StoreURLError: the URL is not understood.
        StoreError: the store cannot be reached, is damaged, or is another program's.
    """
    return Client(open_store(store_url(url)))
