"""Fetching from a repository: a web server, or a folder such as a USB stick.

What is fetched is bounded by what it may be, a server that sends almost nothing is given up, and a
target that was fetched in part is gone on with.
"""

from __future__ import annotations

import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient import FetcherInterface

from edgenets.errors import EdgenetsError
from edgenets.updates import disk

CHUNK_BYTES = 2**16
SILENCE_SECONDS = 30
"""That a server may say nothing."""
LEAST_RATE, GRACE_SECONDS = 100, 30
"""Bytes per second that it sends on average, and from when on it is asked for them."""
NOT_FOUND, NO_SUCH_RANGE = 404, 416


class Fetcher(FetcherInterface):
    """What python-tuf fetches metadata with; it bounds their length."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        _, chunks = _open(url, 0)
        yield from chunks


def address_of(source: str) -> str:
    """Return the address of a repository: a URL as it is, a folder as one.

    Raises:
        EdgenetsError: it is no folder, and no address of HTTP.
    """
    if re.match(r"https?://[^/]", source):
        return source.rstrip("/")
    if re.match(r"[a-z]+://", source):
        raise EdgenetsError(f"{source} is no address; pass one with https:// or a folder")
    if not (Path(source) / "metadata").is_dir():
        raise EdgenetsError(f"{source} is no repository of releases; pass its folder or address")
    return Path(source).absolute().as_uri()


def fetch_target(url: str, part: Path, size_bytes: int) -> int:
    """Fetch a file of a known size into `part`, going on where it ends; return the bytes fetched.

    Raises:
        DownloadError: it cannot be fetched, or is larger or smaller.
        OSError: it cannot be written.
    """
    have = part.stat().st_size if part.exists() else 0
    if have >= size_bytes:
        return 0
    try:
        start, chunks = _open(url, have)
    except DownloadHTTPError as error:
        if error.status_code != NO_SUCH_RANGE:
            raise
        start, chunks = _open(url, 0)
    if start != have:
        disk.remove(part)
    size = start
    for chunk in chunks:
        size += len(chunk)
        if size > size_bytes:
            raise DownloadLengthMismatchError(f"{url} is larger than {size_bytes:,} bytes")
        disk.append(part, chunk)
    if size < size_bytes:
        raise DownloadError(f"{url} ended after {size:,} of {size_bytes:,} bytes")
    return size - start


def _open(url: str, start: int) -> tuple[int, Iterator[bytes]]:
    """Return where what comes begins, and what comes."""
    if url.startswith("file:"):
        return start, _of_file(Path(unquote(urlsplit(url).path)), start)
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        # A context of its own: from Python 3.12 on that of the first request would serve all.
        context = ssl.create_default_context() if url.startswith("https:") else None
        response = urllib.request.urlopen(request, timeout=SILENCE_SECONDS, context=context)
    except urllib.error.HTTPError as error:
        with closing(error):
            raise DownloadHTTPError(f"{url}: {error.code} {error.reason}", error.code) from error
    except (OSError, HTTPException, ValueError) as error:
        raise DownloadError(f"{url}: {_reason(error)}") from error
    return (start if response.status == 206 else 0), _of_server(url, response)


def _of_file(path: Path, start: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError as error:
        raise DownloadHTTPError(f"{path} is missing", NOT_FOUND) from error
    except OSError as error:
        raise DownloadError(f"{path}: {error.strerror}") from error


def _of_server(url: str, response: BinaryIO) -> Iterator[bytes]:
    begun, size = time.monotonic(), 0
    with closing(response):
        while True:
            try:
                chunk = response.read1(CHUNK_BYTES)  # type: ignore[attr-defined]
            except (OSError, HTTPException, ValueError) as error:
                raise DownloadError(f"{url}: {_reason(error)}") from error
            if not chunk:
                return
            yield chunk
            size += len(chunk)
            seconds = time.monotonic() - begun
            if seconds > GRACE_SECONDS and size < LEAST_RATE * seconds:
                raise SlowRetrievalError(f"{url} sends less than {LEAST_RATE} bytes a second")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)  # of a URLError
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message})"
    return str(getattr(reason, "strerror", None) or reason)
