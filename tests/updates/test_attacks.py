"""Attacks of TUF's specification, by the command: each is refused by its own sentence."""

from __future__ import annotations

import datetime
import json
import shutil
import threading
import types
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tuf.api.metadata import MetaFile
from tuf.ngclient._internal import trusted_metadata_set

import edgenets as en
from edgenets.errors import EdgenetsError
from edgenets.quantize.package.epk import pack
from edgenets.updates import trust
from edgenets.updates.keys import load_keys
from edgenets.updates.repository import add_target, open_repository, rotate_key, set_release


def newest(world, role: str) -> Path:
    found = (world.repository / "metadata").glob(f"*.{role}.json")
    return max(found, key=lambda path: int(path.name.split(".")[0]))


def test_an_older_state_signed_rightly_is_refused(world):
    assert world.update()["release"]["number"] == 2
    world.on_board("--confirm")
    with world.refused(r"first offers an older state than this board has seen.*nothing was"):
        world.update(source=world.first)


def test_an_older_release_in_new_metadata_is_refused(world):
    world.update()
    world.on_board("--confirm")
    world.forge(lambda repository: repository.targets.signed.targets.pop(f"{world.name}/2.epk"))
    with world.refused("newest release of colours is 1, and 2 is installed: an older one"):
        world.update()


def test_a_frozen_timestamp_is_refused(world):
    world.forge(lambda repository: None, days=-1)
    with world.refused(r"timestamp\.json is expired: it may be held back.*release renew"):
        world.update()


@pytest.fixture
def clock_in_1970(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let python-tuf and edgenets see the first hour of 1970, as on a board without a clock."""
    then = datetime.datetime(1970, 1, 1, 1, tzinfo=datetime.timezone.utc)
    stopped = types.SimpleNamespace(now=lambda zone: then)
    fake = types.SimpleNamespace(datetime=stopped, timezone=datetime.timezone)
    monkeypatch.setattr(trusted_metadata_set, "datetime", fake)
    monkeypatch.setattr(trust, "now", lambda: then)


def test_a_board_without_a_clock_updates(world, clock_in_1970: None):
    assert world.update()["release"]["number"] == 2


def test_without_a_clock_metadata_are_expired_by_when_the_newest_were_signed(
    world, clock_in_1970: None
):
    repository, keys = open_repository(world.repository), load_keys(world.keys)
    repository.snapshot.signed.expires = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    version = repository.snapshot.signed.version + 1
    resign(world, repository.snapshot, f"{version}.snapshot.json", keys)
    repository.timestamp.signed.snapshot_meta = MetaFile(version)
    resign(world, repository.timestamp, "timestamp.json", keys)
    with world.refused(r"snapshot\.json is expired"):
        world.update()


def test_a_mixed_snapshot_is_refused(world):
    path = newest(world, "snapshot")
    shutil.copy(world.first / "metadata" / "2.snapshot.json", path)
    with world.refused("offers files that do not belong together"):
        world.update()


def test_metadata_of_another_key_are_refused(world, tmp_path: Path):
    world.edgenets("release", "init", tmp_path / "theirs", "--keys", tmp_path / "their keys")
    with world.refused(r"theirs is not signed as the root asks \(timestamp was signed by 0/1"):
        world.update(source=tmp_path / "theirs")


def test_the_root_of_another_repository_replaces_no_trust(world, tmp_path: Path):
    other = en.Releases(tmp_path / "other", tmp_path / "keys").init()
    with world.refused("is not signed as the root asks"):
        world.update(root=other)
    update = ("update", world.repository, "--into", world.board, "--model", world.name)
    assert world.edgenets(*update)["release"]["number"] == 2


def test_a_root_that_is_none_is_refused(world):
    with world.refused(r"the root that was passed cannot be used"):
        world.update(root=world.file(1))


def test_a_root_below_its_threshold_is_refused(world, tmp_path: Path):
    folder, keys = tmp_path / "two", tmp_path / "two keys"
    two = ("--root-keys", 2, "--threshold", 2)
    world.edgenets("release", "init", folder, "--keys", keys, *two)
    first = tmp_path / "first.json"
    shutil.copy(folder / "metadata" / "1.root.json", first)
    world.edgenets("release", "rotate", folder, "targets", "--keys", keys)
    path = folder / "metadata" / "2.root.json"
    root = json.loads(path.read_text())
    assert len(root["signatures"]) == 2
    path.write_text(json.dumps({**root, "signatures": root["signatures"][:1]}))
    with world.refused("root was signed by 1/2 keys"):
        world.update(source=folder, root=first)


def test_endless_data_are_stopped(world):
    sent = []

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            missing = "root" in self.path
            self.send_response(404 if missing else 200)
            self.end_headers()
            while not missing:
                sent.append(self.wfile.write(bytes(2**14)))

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the board went away
                return

    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with world.refused("sends more than such a file may have .*and was stopped"):
            world.update(source=f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert sum(sent) < 2**24


def change_packages(world, change: Callable[[bytes], bytes]) -> None:
    """Change release 2 on the server: its package, and its delta to release 1."""
    for name in ("2.epk", "2-from-1.epk"):
        (path,) = (world.repository / "targets" / world.name).glob(f"*.{name}")
        path.write_bytes(change(path.read_bytes()))


def test_a_package_larger_than_stated_is_stopped(world):
    change_packages(world, lambda content: content + b"more")
    with world.refused(r"is larger than [\d,]+ bytes.*and was stopped"):
        world.update()


def test_another_package_of_the_same_size_is_refused(world):
    change_packages(world, lambda content: content[:-1] + b"?")
    with world.refused("offers files that do not belong together"):
        world.update()


@pytest.mark.parametrize("part", ["*.inputs", "*.2.answers"])
@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda content: content + b"more", r"is larger than [\d,]+ bytes.*and was stopped"),
        (lambda content: content[:-1] + b"?", "offers files that do not belong together"),
    ],
    ids=["larger", "another"],
)
def test_probes_that_were_changed_on_the_server_are_refused(part: str, change, sentence, world):
    (path,) = (world.repository / "targets" / world.name).glob(f"{part}.epk")
    path.write_bytes(change(path.read_bytes()))
    shutil.rmtree(world.board / "probes")
    with world.refused(sentence):
        world.update()


def test_a_release_that_names_what_is_listed_otherwise_is_refused(world):
    def another_size(repository):
        release = repository.releases()[1]
        release.probes["inputs"]["size_bytes"] += 1
        set_release(repository, release)

    world.forge(another_size)
    with world.refused(r"inputs\.epk, which the repository does not list as it says"):
        shutil.rmtree(world.board / "probes")
        world.update()


def test_a_release_for_another_class_of_devices_is_refused(world):
    def for_ovens(repository):
        for release in repository.releases():
            set_release(repository, type(release)(**{**vars(release), "device_class": "oven"}))

    world.forge(for_ovens)
    with world.refused("colours is released for devices of class oven alone, and this one is of"):
        world.update()
    with world.refused("and this one is of class camera"):
        world.update("--device-class", "camera")


def test_a_package_that_holds_another_file_is_refused(world):
    def another_hash(repository):
        release = repository.releases()[1]
        set_release(repository, type(release)(**{**vars(release), "sha256": "0" * 64}))

    world.forge(another_hash)
    with world.refused("package of release 2 holds another file than the release says"):
        world.update()


def test_a_package_that_is_none_is_refused(world):
    def no_package(repository):
        package = add_target(repository, f"{world.name}/2.epk", b"EPK? no")
        release = repository.releases()[0]
        changes = {"number": 2, "package": package, "deltas": ()}
        set_release(repository, type(release)(**{**vars(release), **changes}))

    world.forge(no_package)
    with world.refused("package of release 2 is signed and cannot be unpacked"):
        world.update()


def test_a_delta_on_another_base_falls_back_to_the_package(world):
    def on_another_base(repository):
        release = repository.releases()[1]
        (delta,) = release.deltas
        delta |= add_target(repository, delta["target"], pack(b"new", world.file(3).read_bytes()))
        set_release(repository, release)

    world.forge(on_another_base)
    record = world.update()
    assert record["release"]["number"] == 2 and record["base_sha256"] is None
    assert "the package was fetched, because the delta is refused" in record["notes"][0]
    assert world.answers() == world.file(2).read_bytes()


def test_a_delta_to_another_file_falls_back_to_the_package(world):
    def to_another_file(repository):
        release = repository.releases()[1]
        (delta,) = release.deltas
        delta |= add_target(repository, delta["target"], pack(b"new", world.file(1).read_bytes()))
        set_release(repository, release)

    world.forge(to_another_file)
    record = world.update()
    assert "holds another file than the release says" in record["notes"][0]
    assert world.answers() == world.file(2).read_bytes()


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_a_board_follows_a_new_key_and_refuses_the_old_one(role: str, world):
    old = load_keys(world.keys)
    world.edgenets("release", "rotate", world.repository, role, "--keys", world.keys)
    assert world.update()["release"]["number"] == 2
    world.on_board("--confirm")
    sign_with_a_revoked_key(world, role, old)
    with world.refused(f"is not signed as the root asks .{role} was signed by 0/1 keys"):
        world.update()


def test_a_board_follows_a_new_key_of_the_root_and_refuses_the_old_one(world):
    old = load_keys(world.keys)
    world.edgenets("release", "rotate", world.repository, "root", "--keys", world.keys)
    assert world.update()["release"]["number"] == 2
    world.on_board("--confirm")
    repository = open_repository(world.repository)
    with pytest.raises(EdgenetsError, match="root needs 1 of its keys"):
        rotate_key(repository, "targets", old, world.folder / "theirs")
    resign(world, repository.root, f"{repository.root.signed.version + 1}.root.json", old)
    with world.refused("is not signed as the root asks .root was signed by 0/1 keys"):
        world.update()


def resign(world, metadata, name: str, keys) -> None:
    """Write a next version of metadata, signed by all of the keys."""
    metadata.signed.version += 1
    metadata.signatures.clear()
    for key in keys.values():
        metadata.sign(key, append=True)
    (world.repository / "metadata" / name).write_bytes(metadata.to_bytes())


def sign_with_a_revoked_key(world, role: str, old) -> None:
    """Sign a role's metadata by its old key, and what refers to them by the right ones."""
    repository, keys = open_repository(world.repository), load_keys(world.keys)
    roles = ("targets", "snapshot", "timestamp")
    for each in roles[roles.index(role) :]:
        metadata = getattr(repository, each)
        version = metadata.signed.version + 1
        name = f"{each}.json" if each == "timestamp" else f"{version}.{each}.json"
        resign(world, metadata, name, old if each == role else keys)
        if each == "targets":
            repository.snapshot.signed.meta["targets.json"] = MetaFile(version)
        elif each == "snapshot":
            repository.timestamp.signed.snapshot_meta = MetaFile(version)


def test_a_key_in_the_repository_is_refused(world, tmp_path: Path):
    with pytest.raises(EdgenetsError, match="which is for everyone"):
        world.edgenets("release", "init", tmp_path / "r", "--keys", tmp_path / "r" / "keys")
