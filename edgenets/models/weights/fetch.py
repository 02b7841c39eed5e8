"""Fetch a file once: over HTTPS, resumable, whole or absent, checked by its SHA-256.

While it is fetched, `NAME.part` holds what has come, and `NAME.part.version` what the server calls
its version (ETag or Last-Modified): a later fetch goes on only from a part of the same version, and
begins anew where the server names none. A file whose SHA-256 is not known beforehand gets it
recorded in `NAME.sha256`, enforced from then on. A record that is no record is removed.

Source: RFC 9110, sections 13.1.5 (If-Range), 14 (ranges) and 15.5.17 (status 416).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import edgenets
from edgenets.cache import ANOTHER
from edgenets.errors import EdgenetsError
from edgenets.files import locked_folder, read_bytes, remedy, rename, sha256_file, write_bytes
from edgenets.progress import progress_bar, say
from edgenets.units import format_bytes

LARGEST_BYTES = 256 * 2**20  # the largest published file has 92 MB
CHUNK_BYTES = 256 * 2**10
TIMEOUT_SECONDS = 30
BROKEN_CONNECTION = (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
SHA256 = re.compile("[0-9a-f]{64}")
VERSION = re.compile('"[!#-~]*"|[A-Z][a-z]{2}, [0-9A-Za-z :]{20,30}')  # an ETag or a date
LOOPBACK = ("127.0.0.1", "::1", "localhost")
BY_HAND = "download it yourself and pass --weights FILE (run: --set train.weights=FILE)"


def fetch(url: str, sha256: str | None, cache: Path, md5: str | None = None) -> Path:
    """Return the file of `url`: from `cache` if it is there, else fetched into it.

    Two processes may fetch the same file: the second one waits for the first. Interrupted at any
    moment, the next call goes on from what has come.

    Args:
        url: https, or http on the loopback interface.
        sha256: of the file; None: the one recorded when it was first fetched, if it was.
        cache: a folder, made if it is missing; the file's place in it mirrors its URL.
        md5: of the file, where its publisher says no SHA-256: what is fetched must have it.

    Raises:
        EdgenetsError: the URL is neither, cannot be reached or does not answer with the file; the
            file has another SHA-256 or MD5 (it is removed) or is too large; neither of these nor
            the server's answer tells a whole file from a cut one; the cache cannot be written.
    """
    _require_secure(url)
    parts = urllib.parse.urlsplit(url)
    path = cache / parts.netloc / parts.path.lstrip("/")
    record = path.with_name(f"{path.name}.sha256")
    with locked_folder(
        path.parent,
        wait=lambda: say(f"waiting for another edgenets process that fetches into {path.parent}"),
        way_out=ANOTHER,
    ):
        expected = sha256 or _recorded(record, SHA256)
        found = path
        if not path.exists():
            found = path.with_name(f"{path.name}.part")
            _download(url, found, needs_size=not (expected or md5))
        if md5 and not expected:
            _check_md5(found, url, md5)
        actual = sha256_file(found)
        if expected and actual != expected:
            _remove(found)
            again = "" if sha256 else f", or remove {record} to accept another file from now on"
            raise EdgenetsError(
                f"{found} from {url} must have the SHA-256 {expected}, got {actual}; it was "
                f"removed: repeat the command to fetch it again{again}"
            )
        if not expected:
            write_bytes(record, f"{actual}\n".encode())
        if found != path:
            rename(found, path)
            _version_of(found).unlink(missing_ok=True)
    return path


def _recorded(record: Path, form: re.Pattern[str]) -> str | None:
    """Return what is recorded in a file of the cache; what is of no such form is removed."""
    if not record.exists():
        return None
    text = read_bytes(record).decode("latin-1").strip()
    if form.fullmatch(text):
        return text
    record.unlink()
    say(f"{record} was damaged and is removed")
    return None


def _check_md5(found: Path, url: str, md5: str) -> None:
    actual = hashlib.md5(read_bytes(found), usedforsecurity=False).hexdigest()
    if actual != md5:
        _remove(found)
        raise EdgenetsError(
            f"{found} from {url} must have the MD5 {md5}, got {actual}; it was removed: repeat the "
            "command to fetch it again"
        )


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none to a URL that `fetch` would refuse."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _require_secure(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_secure(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and (parts.scheme, parts.hostname in LOOPBACK) != ("http", True):
        raise EdgenetsError(f"weights are fetched over https only, got {url}; {BY_HAND}")


def _download(url: str, part: Path, *, needs_size: bool) -> None:
    """Append to `part` what is missing of the file; where the server does not, write all of it."""
    version = _recorded(_version_of(part), VERSION)
    # What is of no version may be of another file than is there now.
    have = part.stat().st_size if version and part.exists() else 0
    try:
        response = _open(url, have, version)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return  # all had come
            _remove(part)
            return _download(url, part, needs_size=needs_size)
        raise EdgenetsError(
            f"{url} cannot be fetched: the server answers {error.code} {error.reason}; {BY_HAND}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise EdgenetsError(
            f"{url} cannot be reached ({getattr(reason, 'strerror', None) or reason}); {BY_HAND}"
        ) from error
    with response:
        start, total = _extent(response, url)
        if start > have:
            raise EdgenetsError(f"{url} cannot be fetched: the server left bytes out; {BY_HAND}")
        if start and _version(response) != version:  # it takes no notice of If-Range
            _remove(part)
            return _download(url, part, needs_size=needs_size)
        if total is None and needs_size:
            raise EdgenetsError(
                f"{url} cannot be fetched: the server does not say how large the file is, and "
                f"nothing else tells whether all of it has come; {BY_HAND}"
            )
        try:
            _note_version(response, part)
            _write(response, url, part, start, total)
        except OSError as error:
            raise _unwritable(part, error) from error


def _open(url: str, have: int, version: str | None) -> http.client.HTTPResponse:
    request = urllib.request.Request(url)
    request.add_header("User-Agent", f"edgenets/{edgenets.__version__}")
    if have and version:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)
    opener = urllib.request.build_opener(_SecureRedirects)
    response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_SECONDS)
    return response


def _extent(response: http.client.HTTPResponse, url: str) -> tuple[int, int | None]:
    """Return where the response's bytes begin in the file, and the file's size if it is told."""
    start, size = 0, response.headers.get("Content-Length", "")
    if response.status == http.client.PARTIAL_CONTENT:
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        if not match:
            raise EdgenetsError(
                f"{url} cannot be fetched: the server sends the range {content_range!r}; {BY_HAND}"
            )
        start, size = int(match[1]), match[2]
    total = int(size) if size.isdecimal() else None
    if total is not None and total > LARGEST_BYTES:
        raise _too_large(url)
    return start, total


def _write(
    response: http.client.HTTPResponse, url: str, part: Path, start: int, total: int | None
) -> None:
    """Write the response's bytes to `part`, from `start` on."""
    size = format_bytes(total) if total is not None else "unknown size"
    say(f"fetching {url} ({size})")
    done, is_broken = start, False
    with (
        progress_bar(f"{part.stem}, KiB", (total or 0) // 1024) as advance,
        part.open("r+b" if part.exists() else "wb") as file,
    ):
        file.seek(start)
        file.truncate()
        advance(start // 1024)
        try:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                advance((done + len(chunk)) // 1024 - done // 1024)
                done += len(chunk)
                if done > LARGEST_BYTES:
                    _remove(part)
                    raise _too_large(url)
        except BROKEN_CONNECTION:
            is_broken = True
        file.flush()
        os.fsync(file.fileno())
    if is_broken or total not in (None, done):
        remedy = "go on from there" if _version_of(part).exists() else "fetch it from its beginning"
        raise EdgenetsError(
            f"the connection to {url} broke after {format_bytes(done)} of {size}; "
            f"repeat the command to {remedy}"
        )


def _version(response: http.client.HTTPResponse) -> str | None:
    """Return what the server calls the file's version; None if it does not."""
    etag = response.headers.get("ETag", "")  # If-Range takes no weak one
    strong = etag if etag.startswith('"') else ""
    version = strong or response.headers.get("Last-Modified", "")
    return version if VERSION.fullmatch(version) else None


def _note_version(response: http.client.HTTPResponse, part: Path) -> None:
    if version := _version(response):
        write_bytes(_version_of(part), version.encode())
    else:
        _version_of(part).unlink(missing_ok=True)


def _version_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_of(part).unlink(missing_ok=True)


def _too_large(url: str) -> EdgenetsError:
    limit = format_bytes(LARGEST_BYTES)
    return EdgenetsError(f"{url} is larger than {limit}, the limit for a file of weights")


def _unwritable(path: Path, error: OSError) -> EdgenetsError:
    return EdgenetsError(
        f"cannot write {path}: {error.strerror or error}; "
        f"{remedy(error, f'{ANOTHER} and repeat the command')}"
    )
