"""What a URL of MongoDB says, and the client that is opened for it."""

from __future__ import annotations

import pymongo
from pymongo import MongoClient, uri_parser
from pymongo.errors import PyMongoError

from ptsflow.errors import StoreUnavailable, StoreURLError
from ptsflow.stores.mongo.documents import Raw
from ptsflow.stores.mongo.refusals import SHORT, check_shortage, quoted, reason_of
from ptsflow.stores.url_mask import mask

#: How long a call may take, in seconds, if the URL does not say.
DEADLINE = 5.0

# The errors of pymongo, and of the files that it opens, about a URL.
_REFUSED = (PyMongoError, OSError, ValueError, TypeError)


def parsed(url: str) -> Raw:
    """Return what the URL says, as pymongo understands it."""
    try:
        with pymongo.timeout(DEADLINE):
            found: Raw = uri_parser.parse_uri(url)
    except _REFUSED as error:
        if type(error.__cause__).__module__.startswith("dns."):
            raise StoreUnavailable(
                f"the hosts of MongoDB at {mask(url)} cannot be found: "
                f"{reason_of(error)}; check the name and that DNS works"
            ) from error
        raise _misunderstood(url, quoted(error)) from None
    if found["collection"]:
        raise _misunderstood(url, "a database's name with a dot")
    return found


def opened(url: str, place: str) -> MongoClient[Raw]:
    """Return a small client for one thread; no server is asked yet."""
    try:
        return MongoClient(url, **_client_options())
    except _REFUSED as error:
        raise _misunderstood(url, quoted(error)) from None
    except SHORT as error:
        check_shortage(error, place)
        raise


def _misunderstood(url: str, found: str) -> StoreURLError:
    return StoreURLError(
        f"store URL {mask(url)!r}: expected mongodb://HOST:PORT/DATABASE, found "
        f"{found}; correct it"
    )


def _client_options() -> Raw:
    # One thread at a time uses a store, so that two connections are enough.
    return {
        "appname": "ptsflow",
        "maxPoolSize": 2,
        "journal": True,
        "readPreference": "primary",
        "serverSelectionTimeoutMS": int(DEADLINE * 1000),
        "connectTimeoutMS": int(DEADLINE * 1000),
        # A server that failed is checked again well within the deadline of a call.
        "heartbeatFrequencyMS": 1000,
        "tz_aware": True,
        "uuidRepresentation": "standard",
        "w": "majority",
    }
