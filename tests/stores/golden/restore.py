"""Golden stores as they were made, put where a test can open and change them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo import IndexModel
from pymongo.database import Database

from ptsflow import stores

_HERE = Path(__file__).parent

#: The layouts of which there is a golden store, by the names of their folders.
LAYOUTS = sorted(made.parent.name for made in _HERE.glob("*/made.json"))


def restore_sqlite(layout: str, path: Path) -> None:
    """Write the SQLite store of a layout to `path`, and its log lines beside it."""
    for packed, file in (
        ("pts.db.gz", path.name),
        ("pts.db.logs.gz", f"{path.name}.logs"),
    ):
        with (
            gzip.open(_HERE / layout / packed) as source,
            path.with_name(file).open("wb") as target,
        ):
            shutil.copyfileobj(source, target)


def restore_mongo(layout: str, database: Database[dict[str, Any]]) -> None:
    """Write the MongoDB store of a layout into an empty database."""
    packed = (_HERE / layout / "mongodb.json.gz").read_bytes()
    dump = json_util.loads(gzip.decompress(packed).decode())
    for name, documents in dump["collections"].items():
        database[name].insert_many(documents)
    for name, indexes in dump["indexes"].items():
        models = [_index(index) for index in indexes.values()]
        if models:
            database[name].create_indexes(models)


def present_sqlite(path: Path) -> None:
    """Write the newest golden store, carried over to this version's layout."""
    restore_sqlite(LAYOUTS[-1], path)
    stores.upgrade_store(f"sqlite:///{path}")
    for copy in path.parent.glob(f"{path.name}.layout*"):
        copy.unlink()


def present_mongo(url: str, database: Database[dict[str, Any]]) -> None:
    """Do the same in the empty database of a URL."""
    restore_mongo(LAYOUTS[-1], database)
    stores.upgrade_store(url)


def _index(found: dict[str, Any]) -> IndexModel:
    options = {key: found[key] for key in found.keys() - {"key", "v", "ns"}}
    return IndexModel([tuple(pair) for pair in found["key"]], **options)
