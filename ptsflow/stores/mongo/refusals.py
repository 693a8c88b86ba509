"""What the errors of pymongo and of the server mean to whoever uses a database."""

from __future__ import annotations

import re
from typing import Any

from pymongo.errors import BulkWriteError, OperationFailure

from ptsflow.errors import StoreUnavailable

#: The errors of Python, among others, where the system grants no memory or no thread.
SHORT = (MemoryError, RuntimeError)

#: What an error can mean.
TRANSIENT, LOGIN, RIGHTS, FULL = "transient", "login", "rights", "full"

# The meanings of the server's error codes. After a transient error the call had no effect,
# or its effect is unknown; in both cases the same call may be repeated. Every other code
# is a refusal, which a repeated call would only meet again.
_MEANING = {
    6: TRANSIENT,  # HostUnreachable
    7: TRANSIENT,  # HostNotFound
    13: RIGHTS,  # Unauthorized
    18: LOGIN,  # AuthenticationFailed
    24: TRANSIENT,  # LockTimeout
    43: TRANSIENT,  # CursorNotFound
    46: TRANSIENT,  # LockBusy
    50: TRANSIENT,  # MaxTimeMSExpired
    64: TRANSIENT,  # WriteConcernFailed: written, and not yet by a majority
    89: TRANSIENT,  # NetworkTimeout
    91: TRANSIENT,  # ShutdownInProgress
    112: TRANSIENT,  # WriteConflict
    133: TRANSIENT,  # FailedToSatisfyReadPreference
    134: TRANSIENT,  # ReadConcernMajorityNotAvailableYet
    189: TRANSIENT,  # PrimarySteppedDown
    202: TRANSIENT,  # NetworkInterfaceExceededTimeLimit
    262: TRANSIENT,  # ExceededTimeLimit
    9001: TRANSIENT,  # SocketException
    10107: TRANSIENT,  # NotWritablePrimary
    11600: TRANSIENT,  # InterruptedAtShutdown
    11601: TRANSIENT,  # Interrupted
    11602: TRANSIENT,  # InterruptedDueToReplStateChange
    13388: TRANSIENT,  # StaleConfig
    13435: TRANSIENT,  # NotPrimaryNoSecondaryOk
    13436: TRANSIENT,  # NotPrimaryOrSecondary
    14031: FULL,  # OutOfDiskSpace
}

# The details after the cause in an error's text: settings, the topology, or the whole
# command with its data.
_DETAILS = re.compile(
    r" \(configured timeouts|, Timeout:|, full error| to execute command |\n"
)

# EAI_NONAME, EAI_AGAIN and EAI_NODATA: pymongo keeps no more than the text.
UNKNOWN_HOST = re.compile(r"\[Errno -[235]\]")


def reason_of(error: Exception) -> str:
    """Return the cause in an error's text."""
    if isinstance(error, BulkWriteError):
        problems = _problems(error)
        text = str(problems[0].get("errmsg", "")) if problems else str(error)
    else:
        text = str(error)
    return _DETAILS.split(text, maxsplit=1)[0].rstrip(".")


def check_shortage(error: Exception, place: str) -> None:
    """Refuse a call for which this process is granted no memory or no thread.

    A body in this process may have used up either, and lets go of it when it ends.

    Raises:
        StoreUnavailable: the error says so.
    """
    if isinstance(error, MemoryError):
        lacking = "no memory is left"
    elif "new thread" in str(error):  # Python has no class of its own for it.
        lacking = str(error)
    else:
        return
    raise StoreUnavailable(
        f"MongoDB at {place} cannot be asked: {lacking}; raise what limits the threads "
        "and the memory of this user (ulimit -u, ulimit -v)",
        may_pass=True,
    ) from error


def quoted(error: Exception) -> str:
    """Return an error's cause as something that was found in a URL."""
    return f"a mistake (pymongo: {reason_of(error)})"


def _problems(error: BulkWriteError) -> list[dict[str, Any]]:
    details: dict[str, Any] = dict(error.details or {})
    return [*details.get("writeConcernErrors", ()), *details.get("writeErrors", ())]


def code_of(error: Exception) -> int | None:
    """Return the server's code of an error."""
    if isinstance(error, BulkWriteError):
        problems = _problems(error)
        return problems[0].get("code") if problems else None
    return error.code if isinstance(error, OperationFailure) else None


def meaning_of(error: Exception) -> str:
    """Return what an error means to whoever calls: "" for a refusal."""
    code = code_of(error)
    # For a full disk, the server sometimes gives no better code than UnknownError.
    if code == 8 and "No space left" in reason_of(error):  # noqa: PLR2004
        return FULL
    return _MEANING.get(code or 0, "")
