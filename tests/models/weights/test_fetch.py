"""A file is fetched once, whole, and only if it is the right one: against a server on loopback."""

from __future__ import annotations

import errno
import hashlib
import socket
import threading
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes
from edgenets.models.weights import fetch as fetch_module
from edgenets.models.weights.fetch import fetch


def failure(url: str, sha256: str | None, cache: Path) -> str:
    with pytest.raises(EdgenetsError) as raised:
        fetch(url, sha256, cache)
    sentence = str(raised.value)
    assert "\n" not in sentence and not sentence.endswith(".")
    return sentence


def files_in(folder: Path) -> set[str]:
    return {file.name for file in folder.rglob("*") if file.is_file()}


def test_file_is_fetched_once_and_its_hash_is_recorded(server, tmp_path):
    path = fetch(server.url(), None, tmp_path)
    assert path.read_bytes() == server.content
    assert fetch(server.url(), None, tmp_path) == path
    assert server.asked == [None]
    assert files_in(tmp_path) == {"weights.h5", "weights.h5.sha256"}
    assert path.with_name("weights.h5.sha256").read_text().strip() == sha256_bytes(server.content)


def test_pinned_file_needs_no_record(server, tmp_path):
    fetch(server.url(), sha256_bytes(server.content), tmp_path)
    assert files_in(tmp_path) == {"weights.h5"}


def test_other_url_is_another_file(server, tmp_path):
    assert fetch(server.url("a/x.h5"), None, tmp_path) != fetch(
        server.url("b/x.h5"), None, tmp_path
    )


def test_cut_connection_is_gone_on_from(server, tmp_path):
    server.cut_after = 300_000
    assert "broke after 293.0 KiB of 976.6 KiB; repeat" in failure(server.url(), None, tmp_path)
    assert files_in(tmp_path) == {"weights.h5.part", "weights.h5.part.version"}
    server.cut_after = None
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content
    assert server.asked == [None, "bytes=300000-"]
    assert files_in(tmp_path) == {"weights.h5", "weights.h5.sha256"}


def test_part_of_another_version_is_not_gone_on_from(server, tmp_path):
    server.cut_after = 300_000
    failure(server.url(), None, tmp_path)
    server.cut_after, server.etag, server.content = None, '"2"', b"new" * 200_000
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content


def test_server_without_versions_sends_all_again(server, tmp_path):
    """What has come may be of another file than is there now, and nothing would tell."""
    server.cut_after, server.etag = 300_000, None
    assert failure(server.url(), None, tmp_path).endswith(
        "repeat the command to fetch it from its beginning"
    )
    server.cut_after, server.content = None, server.content[::-1]
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content
    assert server.asked == [None, None]


def test_server_that_takes_no_notice_of_versions_is_not_gone_on_from(server, tmp_path):
    server.cut_after, server.heeds_if_range = 300_000, False
    failure(server.url(), None, tmp_path)
    server.cut_after, server.etag, server.content = None, '"2"', server.content[::-1]
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content
    assert server.asked == [None, "bytes=300000-", None]


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'"1"\r\nHost: x', b"1"])
def test_damaged_record_of_a_version_is_removed_and_all_is_fetched(server, tmp_path, damage: bytes):
    server.cut_after = 300_000
    failure(server.url(), None, tmp_path)
    (version,) = tmp_path.rglob("*.version")
    version.write_bytes(damage)
    server.cut_after = None
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content
    assert server.asked == [None, None]
    assert files_in(tmp_path) == {"weights.h5", "weights.h5.sha256"}


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"0" * 63])
def test_damaged_record_of_a_hash_is_removed_and_said(server, tmp_path, capsys, damage: bytes):
    path = fetch(server.url(), None, tmp_path)
    record = path.with_name("weights.h5.sha256")
    record.write_bytes(damage)
    assert fetch(server.url(), None, tmp_path) == path
    assert f"{record} was damaged and is removed" in capsys.readouterr().err
    assert record.read_text().strip() == sha256_bytes(server.content)


def test_file_whose_publisher_says_its_md5_must_have_it(server, tmp_path):
    md5 = hashlib.md5(server.content).hexdigest()
    server.tells_size = False  # it tells a whole file from a cut one, too
    with pytest.raises(
        EdgenetsError, match=f"must have the MD5 {'0' * 32}, got {md5}; it was removed"
    ):
        fetch(server.url(), None, tmp_path, "0" * 32)
    assert not files_in(tmp_path)
    assert fetch(server.url(), None, tmp_path, md5).read_bytes() == server.content
    assert files_in(tmp_path) == {"weights.h5", "weights.h5.sha256"}


def test_server_without_ranges_sends_all_again(server, tmp_path):
    server.cut_after, server.has_ranges = 300_000, False
    failure(server.url(), None, tmp_path)
    server.cut_after = None
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content


@pytest.mark.parametrize("have", [1_000_000, 1_000_001], ids=["complete", "too long"])
def test_part_with_nothing_missing_is_finished_or_begun_again(server, tmp_path, have: int):
    server.cut_after = 0
    failure(server.url(), None, tmp_path)
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes((server.content + b"x")[:have])
    server.cut_after = None
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content


def test_body_of_unknown_size_is_fetched_if_its_hash_is_known(server, tmp_path):
    server.tells_size, known = False, sha256_bytes(server.content)
    assert fetch(server.url(), known, tmp_path).read_bytes() == server.content


def test_body_of_unknown_size_without_a_hash_is_refused(server, tmp_path):
    """Cut short, it would look whole, and its hash would be recorded."""
    server.tells_size, server.cut_after = False, 300_000
    sentence = failure(server.url(), None, tmp_path)
    assert "the server does not say how large the file is" in sentence
    assert sentence.endswith(f"; {fetch_module.BY_HAND}")
    assert "must have the SHA-256" in failure(server.url(), "0" * 64, tmp_path)
    assert not list(tmp_path.iterdir())


def test_recorded_hash_serves_where_the_size_is_unknown(server, tmp_path):
    fetch(server.url(), None, tmp_path).unlink()
    server.tells_size, server.cut_after = False, 300_000
    assert "must have the SHA-256" in failure(server.url(), None, tmp_path)
    server.cut_after = None
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content


def test_wrong_hash_removes_the_file_and_names_both(server, tmp_path):
    sentence = failure(server.url(), "0" * 64, tmp_path)
    assert f"must have the SHA-256 {'0' * 64}, got {sha256_bytes(server.content)}" in sentence
    assert not list(tmp_path.iterdir())


def test_recorded_hash_is_enforced(server, tmp_path):
    path = fetch(server.url(), None, tmp_path)
    path.unlink()
    server.content = server.content[::-1]
    sentence = failure(server.url(), None, tmp_path)
    assert f"remove {path}.sha256 to accept another file" in sentence
    path.with_name("weights.h5.sha256").unlink()
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content


def test_damaged_file_in_the_cache_is_noticed(server, tmp_path):
    path = fetch(server.url(), None, tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert "must have the SHA-256" in failure(server.url(), None, tmp_path)
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content


def test_missing_file_is_a_sentence(server, tmp_path):
    server.status = 404
    sentence = failure(server.url(), None, tmp_path)
    assert f"{server.url()} cannot be fetched: the server answers 404 Not Found" in sentence
    assert sentence.endswith(f"; {fetch_module.BY_HAND}")


def test_failure_removes_the_folders_it_made_and_no_others(server, tmp_path):
    server.status, cache = 404, tmp_path / "own" / "cache"
    (tmp_path / "own").mkdir()
    failure(server.url(), None, cache)
    assert list(tmp_path.rglob("*")) == [tmp_path / "own"]
    server.status, server.cut_after = None, 300_000
    failure(server.url(), None, cache)
    assert files_in(cache) == {"weights.h5.part", "weights.h5.part.version"}


def test_who_waits_for_a_fetch_that_fails_fetches_itself(server, tmp_path, monkeypatch):
    """The first one's failure removes the folder that the second one waits to lock."""
    waiting = threading.Event()
    monkeypatch.setattr(fetch_module, "say", lambda text: "waiting" in text and waiting.set())
    download, paths = fetch_module._download, []

    def fail_once(url: str, part: Path, *, needs_size: bool) -> None:
        monkeypatch.setattr(fetch_module, "_download", download)
        second.start()
        assert waiting.wait(10)
        raise EdgenetsError("the first one failed")

    second = threading.Thread(target=lambda: paths.append(fetch(server.url(), None, tmp_path)))
    monkeypatch.setattr(fetch_module, "_download", fail_once)
    assert failure(server.url(), None, tmp_path) == "the first one failed"
    second.join()
    assert paths[0].read_bytes() == server.content


def test_refused_connection_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x.h5"
        sentence = failure(url, None, tmp_path)
    assert sentence == (
        f"{url} cannot be reached (Connection refused); "
        "download it yourself and pass --weights FILE (run: --set train.weights=FILE)"
    )


def test_too_large_file_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "LARGEST_BYTES", 500_000)
    assert "is larger than 488.3 KiB" in failure(server.url(), None, tmp_path)
    server.tells_size = False
    assert "is larger than 488.3 KiB" in failure(server.url(), "0" * 64, tmp_path)
    assert not files_in(tmp_path)


@pytest.mark.parametrize("url", ["http://example.org/x.h5", "ftp://example.org/x", "file:///x"])
def test_only_https_is_fetched(tmp_path, url: str):
    assert failure(url, None, tmp_path).startswith(
        f"weights are fetched over https only, got {url}"
    )


def test_redirect_to_plain_http_is_refused(server, tmp_path):
    server.status, server.location = 302, "http://example.org/x.h5"
    assert "over https only, got http://example.org/x.h5" in failure(server.url(), None, tmp_path)


def test_full_disk_is_a_sentence_and_the_part_stays(server, tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / server.url().split("/")[2] / "release").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(fetch_module.os, "fsync", full)
        patch.setattr(fetch_module, "_note_version", lambda response, part: None)
        sentence = failure(server.url(), None, tmp_path)
    assert "No space left on device; free some space and repeat the command" in sentence
    assert fetch(server.url(), None, tmp_path).read_bytes() == server.content


def test_cache_that_is_no_folder_is_a_sentence(server, tmp_path):
    (tmp_path / "cache").write_text("")
    sentence = failure(server.url(), None, tmp_path / "cache")
    assert "set EDGENETS_CACHE to another folder" in sentence


def test_two_at_once_fetch_it_once(server, tmp_path):
    threads = [threading.Thread(target=fetch, args=(server.url(), None, tmp_path)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == [None]
