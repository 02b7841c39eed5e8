"""Fetching: in ranges, bounded, and what a server may do wrong."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    SlowRetrievalError,
)

from edgenets.errors import EdgenetsError
from edgenets.updates import fetch
from edgenets.updates.fetch import address_of, fetch_target


def test_a_file_that_was_cut_off_is_gone_on_with(server, tmp_path: Path):
    part, size = tmp_path / "part", len(server.content)
    server.cut_after = 300_000
    with pytest.raises(DownloadError):
        fetch_target(server.url(), part, size)
    have = part.stat().st_size
    assert 0 < have <= 300_000
    server.cut_after = None
    assert fetch_target(server.url(), part, size) == size - have
    assert server.asked == [None, f"bytes={have}-"]
    assert part.read_bytes() == server.content
    assert fetch_target(server.url(), part, size) == 0


def test_a_server_without_ranges_sends_all_again(server, tmp_path: Path):
    part = tmp_path / "part"
    part.write_bytes(b"begun")
    server.has_ranges = False
    assert fetch_target(server.url(), part, len(server.content)) == len(server.content)
    assert part.read_bytes() == server.content


def test_a_file_that_became_smaller_than_its_part_is_fetched_anew(server, tmp_path: Path):
    part = tmp_path / "part"
    part.write_bytes(bytes(len(server.content)))
    with pytest.raises(DownloadError, match=r"ended after 1,000,000 of 1,000,001 bytes"):
        fetch_target(server.url(), part, len(server.content) + 1)
    assert part.read_bytes() == server.content


def test_more_than_is_stated_is_not_kept(server, tmp_path: Path):
    with pytest.raises(DownloadLengthMismatchError):
        fetch_target(server.url(), tmp_path / "part", 100)
    assert not (tmp_path / "part").exists()


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch, "SILENCE_SECONDS", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(DownloadError, match="timed out"):
            fetch_target(address, tmp_path / "part", 10)


def test_a_server_that_sends_almost_nothing_is_given_up(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fetch, "GRACE_SECONDS", 0)
    monkeypatch.setattr(fetch, "LEAST_RATE", 1e15)
    with pytest.raises(SlowRetrievalError, match="sends less than"):
        fetch_target(server.url(), tmp_path / "part", len(server.content))


def test_a_status_is_an_error(server, tmp_path: Path):
    server.status = 503
    with pytest.raises(DownloadHTTPError, match="503"):
        fetch_target(server.url(), tmp_path / "part", 100)


@pytest.mark.parametrize("source", ["ftp://example.org/models", "file:///models", "nowhere"])
def test_what_is_no_repository_is_refused(source: str):
    with pytest.raises(EdgenetsError, match=r"is no (address|repository)"):
        address_of(source)


def test_a_board_updates_over_https(world, https_server, monkeypatch: pytest.MonkeyPatch):
    address, certificate = https_server(world.repository)
    with world.refused("its certificate is not trusted"):
        world.update(source=address)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert world.update(source=address)["release"]["number"] == 2
    assert world.answers() == world.file(2).read_bytes()
