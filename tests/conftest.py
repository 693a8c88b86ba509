"""What all tests share: a real MongoDB, standalone and as a replica set."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support.mongod import Mongod, running
from tests.support.replica_set import ReplicaSet, three_members

#: A server that shares a busy machine with other tests may take longer than five seconds.
_PATIENT = "timeoutMS=60000"


def pytest_configure() -> None:
    """Let the tests be begun in any way.

    Ctrl-C reaches what they start, though pytest may be a job in the background; what is
    to be typed next names Python by its place, whatever word pytest was begun with; and
    what they start keeps its bytecode.
    """
    sys.orig_argv[0] = sys.executable
    # Each of some thousand processes would compile the whole package.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod]:
    """Return a standalone mongod of this session."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def mongod_rs() -> Iterator[Mongod]:
    """Return a mongod of this session that is a replica set of one."""
    with running(replica_set=True) as server:
        yield server


@pytest.fixture(scope="session")
def _three_members() -> Iterator[ReplicaSet]:
    with three_members() as made:
        yield made


@pytest.fixture
def replica_set(_three_members: ReplicaSet) -> ReplicaSet:
    """Return the replica set of three of this session, with all members at work."""
    _three_members.heal()
    return _three_members


@pytest.fixture(scope="session")
def mongod_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a standalone server; it names no database."""
    given = os.environ.get("PTSFLOW_TEST_MONGODB_URI")
    if given:
        return given
    server: Mongod = request.getfixturevalue("mongod")
    return f"{server.url}/?{_PATIENT}"


@pytest.fixture(scope="session")
def mongod_rs_url(mongod_rs: Mongod) -> str:
    """Return the URL of a replica set; it names no database."""
    return f"{mongod_rs.url}&{_PATIENT}"
