"""Which store a URL opens, which are refused, and what is shown of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptsflow import stores
from ptsflow.core.model import ContainerRecord
from ptsflow.errors import StoreURLError
from ptsflow.host.clock import Clock
from ptsflow.stores import mask, open_store, store_exists
from ptsflow.stores.memory.opener import MemoryOpener
from ptsflow.stores.memory.store import MemoryStore
from ptsflow.stores.sqlite.store import SqliteStore
from tests.stores.making import Ticker
from tests.support.processes import python

_EXPECTED = (
    "expected sqlite:///FILE, mongodb://HOST/DATABASE, mongodb+srv://HOST/DATABASE or "
    "memory:"
)
_NO_FILE = (
    "expected sqlite:///FILE, found no file; name one, or use memory: for what "
    "nothing need outlive"
)
_SLASHES = (
    "expected three slashes and a path, as in sqlite:///pts.db or "
    "sqlite:////srv/pts.db; write it so"
)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param(
            "", f"store URL: {_EXPECTED}, found nothing; give one of these", id="empty"
        ),
        pytest.param(
            "pts.db",
            f"store URL 'pts.db': {_EXPECTED}, found no scheme; for a file, put "
            "sqlite:/// before it",
            id="a path",
        ),
        pytest.param(
            "redis://u:secret@h/0",
            f"store URL 'redis://u:***@h/0': {_EXPECTED}, found 'redis'; "
            "use one of these",
            id="another scheme",
        ),
        pytest.param(
            "memory:x",
            "store URL 'memory:x': expected memory: alone; leave out the rest",
            id="memory with a name",
        ),
        pytest.param("sqlite://", f"store URL 'sqlite://': {_NO_FILE}", id="no path"),
        pytest.param("sqlite:", f"store URL 'sqlite:': {_NO_FILE}", id="scheme alone"),
        pytest.param(
            "sqlite:///:memory:",
            f"store URL 'sqlite:///:memory:': {_NO_FILE}",
            id="ram",
        ),
        pytest.param(
            "sqlite:pts.db", f"store URL 'sqlite:pts.db': {_SLASHES}", id="no slashes"
        ),
        pytest.param(
            "sqlite://pts.db", f"store URL 'sqlite://pts.db': {_SLASHES}", id="a host"
        ),
        pytest.param(
            "sqlite:///a%00b", f"store URL 'sqlite:///a%00b': {_SLASHES}", id="a NUL"
        ),
        pytest.param(
            "sqlite:///pts.db?mode=ro&cache=shared",
            "store URL 'sqlite:///pts.db?mode=ro&cache=shared': expected a path alone, "
            "found the parameter 'mode'; leave out the question mark and what follows "
            "it",
            id="a parameter",
        ),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, message: str) -> None:
    with pytest.raises(StoreURLError) as caught:
        open_store(url)

    assert str(caught.value) == message


def test_three_slashes_are_relative_and_four_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for url in ("sqlite:///pts.db", f"sqlite:///{tmp_path}/abs%20olute.db"):
        store = open_store(url)
        assert isinstance(store, SqliteStore)
        assert store.url == url
        store.close()

    assert (tmp_path / "here" / "pts.db").exists()
    assert (tmp_path / "abs olute.db").exists()


def test_a_sibling_stays_with_the_file_when_the_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///pts.db")
    store.create("feed")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    sibling = store.sibling()

    assert sibling.container("feed") is not None
    assert sibling.url == "sqlite:///pts.db"
    sibling.close()
    store.close()


@pytest.mark.parametrize("url", ["memory:", "memory://"])
def test_memory_is_a_fresh_store_with_the_given_clock(url: str) -> None:
    store = open_store(url, clock=Ticker(5))
    store.create("feed")

    assert isinstance(store, MemoryStore)
    assert store.now() == 5
    assert open_store(url).container("feed") is None


def test_opening_a_file_loads_none_of_mongodb(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from ptsflow.stores import open_store\n"
        "open_store(sys.argv[1]).close()\n"
        "print([name for name in ('pymongo', 'mongoengine') if name in sys.modules])\n"
    )
    url = f"sqlite:///{tmp_path}/pts.db"
    done = python("-c", program, url)

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////srv/pts.db", "sqlite:////srv/pts.db"),
        ("mongodb://h:27017/pts", "mongodb://h:27017/pts"),
        ("mongodb://u@h/pts", "mongodb://u@h/pts"),
        ("mongodb://u:p%40x@h/pts?w=1", "mongodb://u:***@h/pts?w=1"),
        ("mongodb://u:p@ss/w@h1,h2/pts", "mongodb://u:***@h1,h2/pts"),
        ("u:p@h/pts", "u:***@h/pts"),
        ("mongodb:u:p@h/pts", "mongodb:***@h/pts"),
        ("mongodb:/u:p@h/pts", "mongodb:***@h/pts"),
        ("h/pts?password=x&w=1", "h/pts?password=***&w=1"),
        ("h/pts?pwd=x&dbPass=y&passwd=z", "h/pts?pwd=***&dbPass=***&passwd=***"),
        (
            "mongodb://h/pts?user=a@b&password=x",
            "mongodb://h/pts?user=a@b&password=***",
        ),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("pts.db", "pts.db"),
        (
            "mongodb+srv://h/?tlsCertificateKeyFilePassword=x&tls=true",
            "mongodb+srv://h/?tlsCertificateKeyFilePassword=***&tls=true",
        ),
        (
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:abc,CANON:x",
            "mongodb://h/?authMechanismProperties=***",
        ),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert mask(url) == shown


def test_a_file_is_one_store_however_its_url_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    urls = [f"{tmp_path}/pts.db", "pts.db", f"{tmp_path}/link/pts.db", "other.db"]
    keys = []
    for url in urls:
        store = open_store(f"sqlite:///{url}")
        keys.append(store.key_of(ContainerRecord(uid=url, name="feed")))
        store.close()

    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


class ToyOpener(MemoryOpener):
    """Opens stores of a third kind."""

    @staticmethod
    def open(url: str, *, clock: Clock, **_: object) -> MemoryStore:
        store = MemoryStore(clock=clock)
        store.url = url
        return store

    @staticmethod
    def exists(url: str) -> bool:
        return "absent" not in url


def test_a_third_kind_of_store_takes_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stores._OPENERS, "toy://HOST", f"{__name__}:ToyOpener")

    with pytest.raises(StoreURLError) as caught:
        open_store("toys://here")
    assert "memory: or toy://HOST, found 'toys'" in str(caught.value)
    assert open_store("toy://here").url == "toy://here"
    assert store_exists("toy://here")
    assert not store_exists("toy://absent")


@pytest.mark.parametrize(
    ("url", "exists"),
    [
        ("sqlite:///{}/pts.db", True),
        ("sqlite:///{}/absent.db", False),
        ("mongodb://127.0.0.1:1/absent", True),
        ("memory:", True),
    ],
)
def test_a_store_exists_unless_opening_it_would_make_its_file(
    url: str, tmp_path: Path, *, exists: bool
) -> None:
    open_store(f"sqlite:///{tmp_path}/pts.db").close()

    assert store_exists(url.format(tmp_path)) is exists
    assert [path.name for path in tmp_path.iterdir()] == ["pts.db"]


def test_no_store_in_memory_is_another_one() -> None:
    feed = ContainerRecord(uid="1", name="feed")

    assert open_store("memory:").key_of(feed) != open_store("memory:").key_of(feed)
