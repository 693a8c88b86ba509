"""`download`: a file from a web server, resumed where it was cut. Needs the extra `http`.

```python
from ptsflow.contrib.http import download

@step(retry=Retry(10, delay=10))
def fetch(self, task: TaskHandle) -> Path:
    return download(task, f"{self.server}/songs.tbz", "songs.tbz", sha256=self.sum)
```
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import msgspec

from ptsflow.contrib.http_headers import (
    content_range,
    etag,
    number,
    retry_after,
    validator,
)
from ptsflow.contrib.partial_file import PartialFile
from ptsflow.errors import ExtraMissing, Fail, RetryLater
from ptsflow.stores import mask
from ptsflow.workflow.handle import TaskHandle

try:
    import httpx
except ImportError:
    raise ExtraMissing(
        "ptsflow.contrib.http: needs httpx, which is not installed; "
        "pip install 'ptsflow[http]'"
    ) from None

#: How much is read at a time to make a checksum, in bytes.
_CHUNK = 1 << 20
#: How much is written until it is made to survive a power cut, in bytes.
SYNC_EVERY = 1 << 26
#: Refusals of a moment: the server, or something before it, is busy or restarts.
_BUSY = frozenset({408, 425, 429, *range(500, 600)})
#: Files that are compressed themselves, which some servers call an encoding.
_COMPRESSED = (".gz", ".tgz", ".bz2", ".tbz", ".xz", ".zst", ".br", ".Z")


class DownloadError(OSError):
    """The download was cut, or the server is away or busy: the next attempt goes on."""


class WrongContent(DownloadError):
    """What came has another size or checksum. It is dropped; the next attempt begins anew."""


class RequestRefused(Fail):
    """The server refuses the request, most likely for good: no attempt follows.

    Attributes:
        status: the status of the answer, e.g. 404.
    """

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


def download(  # noqa: PLR0913 - what is expected of the file, and how to ask for it
    task: TaskHandle,
    url: str,
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 60,
    checkpoint: bool = False,
) -> Path:
    """Fetch a file, check it, and rename it to `path`; return the path.

    What came is kept in `task.workdir`, so the next attempt goes on where this one ended,
    however it ended, if the server can send a part of a file. An ETag or a date of the
    file, or a checksum, has to say that the file is still the same one.

    Args:
        task: the handle of the body; it is told how far the download is.
        url: where the file is. Its user and password are sent as basic authentication.
        path: where the file is to be; it is replaced whole, as by `task.output`.
        size: how many bytes the file must have.
        sha256: its SHA-256, in hexadecimal digits.
        md5: its MD5.
        headers: more headers of the request.
        timeout: seconds without a byte after which the connection is given up.
        checkpoint: whether to save with `task.checkpoint` how many bytes there are, for
            `ptsflow show`, and for `Retry(renew_on_checkpoint=True)`. The body has no
            processing data of its own then.

    Raises:
        DownloadError: an attempt that follows may do better.
        WrongContent: the size or a checksum does not fit.
        RetryLater: the server is busy, and says for how long; or the run is stopped.
        RequestRefused: the server answers with another 4xx: no attempt follows.
        Fail: the URL is none, or the server compresses the file.
    """
    expected = _Expected(size, sha256, md5)
    part = PartialFile(task.workdir, Path(path))
    one = _Download(task, url, part, expected, checkpoint=checkpoint)
    if not one.is_whole():
        one.fetch(dict(headers or {}), timeout)
    one.verify()
    with task.output(path) as whole:
        shutil.move(part.path, whole)
    part.forget()
    return Path(path)


class _Expected(msgspec.Struct, frozen=True):
    """What must be true of the file."""

    size: int | None
    sha256: str | None
    md5: str | None

    @property
    def sums(self) -> dict[str, str]:
        """The checksums by the names of their algorithms."""
        given = {"sha256": self.sha256, "md5": self.md5}
        return {name: text.strip().lower() for name, text in given.items() if text}


class _Restart(Exception):
    """What is kept is of another version of the file."""


class _Download:
    def __init__(
        self,
        task: TaskHandle,
        url: str,
        part: PartialFile,
        expected: _Expected,
        *,
        checkpoint: bool,
    ) -> None:
        self._task = task
        self._part = part
        self._expected = expected
        self._checkpoint = checkpoint
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            raise Fail(f"download: {mask(str(url))!r} is no URL: {error}") from None
        self._auth = (parsed.username, parsed.password) if parsed.userinfo else None
        self._url = parsed.copy_with(username=None, password=None)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise Fail(f"download: expected http://... or https://..., found {self}")
        self._start = part.resumed_at(
            str(self._url), has_sum=bool(expected.sums), size=expected.size
        )

    def __str__(self) -> str:
        """Return the URL without secrets."""
        return mask(str(self._url))

    def is_whole(self) -> bool:
        """Whether nothing is left to fetch: an earlier attempt ended behind the last byte."""
        return self._part.total is not None and self._start == self._part.total

    # -- the request ------------------------------------------------------------------

    def fetch(self, headers: dict[str, str], timeout: float) -> None:
        """Fetch what is missing."""
        with httpx.Client(
            auth=self._auth, timeout=timeout, follow_redirects=True
        ) as client:
            try:
                self._ask(client, headers)
            except _Restart:
                self._part.drop()
                self._start = 0
                self._ask(client, headers)

    def _ask(self, client: httpx.Client, headers: dict[str, str]) -> None:
        wanted = {"Accept-Encoding": "identity", **headers}
        if self._start:
            wanted["Range"] = f"bytes={self._start}-"
            if self._part.validator:
                wanted["If-Range"] = self._part.validator
        with (
            self._said(),
            client.stream("GET", self._url, headers=wanted) as response,
        ):
            self._check(response)
            with self._part.begun(
                str(self._url),
                validator(response.headers),
                self._total(response),
                self._start,
            ) as file:
                self._receive(response, file)

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Say of every error which file it is of, and how far it came."""
        try:
            yield
        except DownloadError:
            raise
        except httpx.UnsupportedProtocol as error:
            raise Fail(
                self._at(f"redirected to what is no web page: {error}")
            ) from None
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            text = getattr(error, "strerror", None) or str(error)
            why = f"{type(error).__name__}: {text}" if text else type(error).__name__
            raise DownloadError(self._at(why)) from error

    def _at(self, why: str) -> str:
        of = "" if self._part.total is None else f" of {self._part.total:,}"
        return f"{self}: {why}, at byte {self._part.size():,}{of}"

    # -- the answer ---------------------------------------------------------------------

    def _check(self, response: httpx.Response) -> None:
        """Raise where the answer is not the file from `_start` on, or all of it."""
        status = response.status_code
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and self._start:
            raise _Restart
        if status == HTTPStatus.PARTIAL_CONTENT and self._start:
            if not self._continues(response):
                raise _Restart
        elif status == HTTPStatus.OK:
            self._start = 0
        else:
            raise self._refusal(response)
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        is_file = self._expected.sums or self._url.path.endswith(_COMPRESSED)
        if encoding != "identity" and not is_file:
            raise Fail(
                self._at(
                    f"the server sends it with the encoding {encoding}, though none was "
                    "asked for; give a checksum, if these are the bytes you want"
                )
            )
        wanted, total = self._expected.size, self._total(response)
        if wanted is not None and total not in (None, wanted):
            self._part.drop()
            raise WrongContent(
                self._at(f"expected {wanted:,} bytes, the server has {total:,}")
            )

    def _continues(self, response: httpx.Response) -> bool:
        """Whether a part of the file is the one asked for, of the version that is kept."""
        first = content_range(response.headers)[0]
        known, total = self._part.total, self._total(response)
        is_same = etag(response.headers) in ("", self._part.validator) or not (
            self._part.validator.startswith('"')
        )
        return (
            first == self._start
            and is_same
            and (known is None or total in (None, known))
        )

    def _total(self, response: httpx.Response) -> int | None:
        if response.status_code == HTTPStatus.PARTIAL_CONTENT:
            return content_range(response.headers)[1]
        return number(response.headers.get("Content-Length", ""))

    def _refusal(self, response: httpx.Response) -> Exception:
        status = response.status_code
        why = self._at(
            f"the server answered {status} {response.reason_phrase}".rstrip()
        )
        if status in _BUSY:
            seconds = retry_after(response.headers)
            return DownloadError(why) if seconds is None else RetryLater(seconds, why)
        is_refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        return RequestRefused(why, status) if is_refused else DownloadError(why)

    def _receive(self, response: httpx.Response, file: BinaryIO) -> None:
        done, total = self._start, self._part.total
        most = self._expected.size
        synced = done
        try:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                self._report(done, total or most)
                if most is not None and done > most:
                    self._part.drop()
                    raise WrongContent(self._at(f"expected {most:,} bytes, more came"))
                if done - synced >= SYNC_EVERY:
                    self._save(file)
                    synced = done
                if self._task.cancelled:
                    raise RetryLater(0, self._at("stopped"))
        finally:
            self._save(file)

    def _save(self, file: BinaryIO) -> None:
        self._part.sync(file)
        if self._checkpoint and file.tell() > self._start:
            self._task.checkpoint({"bytes": file.tell()})

    def _report(self, done: int, total: int | None) -> None:
        if total is None:
            self._task.progress(0, text=f"{done:,} bytes")
        else:
            text = f"{done:,} of {total:,} bytes"
            self._task.progress(done, max(done, total), text)

    # -- the end --------------------------------------------------------------------------

    def verify(self) -> None:
        """Compare size and checksums; drop what does not fit."""
        size, wanted = self._part.size(), self._expected.size
        wrong = ""
        if wanted is not None and size != wanted:
            wrong = f"expected {wanted:,} bytes, found {size:,}"
        for name, text in {} if wrong else self._expected.sums.items():
            found = self._sum(name)
            if found != text:
                wrong = f"expected the {name} {text}, found {found}"
        if wrong:
            why = self._at(wrong)
            self._part.drop()
            raise WrongContent(why)

    def _sum(self, name: str) -> str:
        digest = hashlib.new(name, usedforsecurity=False)
        size = self._part.size()
        with self._part.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                text = f"{name} of {file.tell():,} of {size:,} bytes"
                self._task.progress(file.tell(), size, text)
                if self._task.cancelled:
                    raise RetryLater(0, self._at("stopped while it was checked"))
        return digest.hexdigest()
