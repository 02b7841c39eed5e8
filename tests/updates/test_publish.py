"""`edgenets release`: what is published, signed, rotated and listed."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

import edgenets as en
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_file
from edgenets.results.updates import Release
from edgenets.updates.release import parse_runtime, read_release, release_json


def test_a_release_says_what_the_issue_of_a_board_needs(world):
    evaluation = world.folder / "evaluation.json"
    evaluation.write_text(json.dumps({"top1": 0.9, "ci95": [0.8, 0.95], "samples": 100}))
    world.file(3).with_name("3.tflite.json").write_text(
        json.dumps({"sha256": sha256_file(world.file(3)), "target": "rpi4"})
    )
    release = world.publish(3, "--evaluation", evaluation, "--device-class", "camera")
    assert release["number"] == 3 and release["sha256"] == sha256_file(world.file(3))
    assert release["targets"] == ["rpi4"] and release["device_class"] == "camera"
    assert (release["top1"], release["ci95"], release["samples"]) == (0.9, [0.8, 0.95], 100)
    assert release["preparation"]["resolution"] == 8
    listing = world.edgenets("release", "list", world.repository)
    assert listing["releases"][-1] == release
    assert [each["number"] for each in listing["releases"]] == [1, 2, 3]


def test_keys_are_for_their_owner_alone_and_may_be_in_the_environment(
    world, monkeypatch: pytest.MonkeyPatch
):
    paths = list(world.keys.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    monkeypatch.setenv("EDGENETS_KEYS", "\n".join(path.read_text() for path in paths))
    releases = en.Releases(world.repository)
    assert releases.publish(world.file(3), model=world.name).number == 3
    monkeypatch.setenv("EDGENETS_KEYS", "")
    with pytest.raises(EdgenetsError, match=r"targets needs 1 of its keys \(targets-\w{8}\.pem\)"):
        releases.renew()
    with pytest.raises(EdgenetsError, match="pass one with keys"):
        releases.rotate("targets")


def test_a_root_of_several_keys_is_rotated_by_name(world, tmp_path):
    folder, keys = tmp_path / "several", tmp_path / "several keys"
    several = ("--root-keys", 3, "--threshold", 2)
    world.edgenets("release", "init", folder, "--keys", keys, *several)
    listing = world.edgenets("release", "list", folder)
    assert listing["threshold"] == 2 and len(listing["keys"]["root"]) == 3
    rotate = ("release", "rotate", folder, "root", "--keys", keys)
    with pytest.raises(EdgenetsError, match="pass how the id of the one to replace begins"):
        world.edgenets(*rotate)
    old = listing["keys"]["root"][1]
    next(keys.glob(f"root-{old[:8]}.pem")).unlink()  # lost: two are enough
    assert world.edgenets(*rotate, "--revoke", old[:8])["old"] == old
    assert old not in world.edgenets("release", "list", folder)["keys"]["root"]


def test_what_was_cut_off_at_the_beginning_is_begun_anew(world, tmp_path: Path):
    metadata = tmp_path / "half" / "metadata"
    metadata.mkdir(parents=True)
    shutil.copy(world.root, metadata)
    world.edgenets("release", "init", tmp_path / "half", "--keys", tmp_path / "keys")
    assert (metadata / "timestamp.json").is_file()
    assert (metadata / "1.root.json").read_bytes() != world.root.read_bytes()


def test_a_file_beside_it_that_is_none_of_edgenets_is_passed_over(world):
    world.file(3).with_name("3.tflite.json").write_text("[]")
    assert world.publish(3)["targets"] == []


def test_metadata_are_renewed(world):
    ends = world.edgenets("release", "list", world.repository)["expires"]["timestamp"]
    renew = ("release", "renew", world.repository, "--keys", world.keys, "--days", 90)
    assert world.edgenets(*renew)["expires"]["timestamp"] > ends


@pytest.mark.parametrize(
    "options, sentence",
    [
        (("--model", "Photos!"), "name of a model must be 1 to 64 of a-z"),
        (("--model", "p", "--device-class", "a/b"), "class of devices must be"),
        (("--model", "p", "--runtime", "litert=2"), "a runtime must be a package and its versions"),
    ],
)
def test_what_cannot_be_published_is_refused(options, sentence: str, world):
    publish = ("release", "publish", world.repository, world.file(3), "--keys", world.keys)
    with pytest.raises(EdgenetsError, match=sentence):
        world.edgenets(*publish, *options)
    assert len(world.edgenets("release", "list", world.repository)["releases"]) == 2


def test_of_a_release_only_its_share_is_changed(world):
    with pytest.raises(EdgenetsError, match="is release 2 of colours already, of which only"):
        world.publish(2, "--device-class", "camera")


def test_a_release_of_a_class_is_widened_whatever_other_classes_got_since(world):
    for number, of_class in ((1, "camera"), (3, "door")):
        world.publish(number, "--device-class", of_class, "--percent", 10)
    widened = world.publish(1, "--device-class", "camera", "--percent", 100)
    assert (widened["number"], widened["percent"]) == (3, 100)
    assert world.publish(3, "--device-class", "door")["number"] == 4
    assert world.publish(3, "--device-class", "camera")["number"] == 5


def test_what_is_no_repository_is_a_sentence(world, tmp_path):
    with pytest.raises(EdgenetsError, match="is no repository of releases; make one"):
        world.edgenets("release", "list", tmp_path)
    with pytest.raises(EdgenetsError, match="is a repository already"):
        world.edgenets("release", "init", world.repository, "--keys", world.keys)


def a_release(world) -> dict:
    (release, _) = world.edgenets("release", "list", world.repository)["releases"]
    return json.loads(release_json(Release.from_json(release)))


@pytest.mark.parametrize(
    "key, value",
    [
        ("model", "../x"),
        ("number", True),
        ("sha256", "0"),
        ("size_bytes", -1),
        ("package", {"target": "x"}),
        ("runtimes", [{"name": "x", "oldest": "a", "before": None}]),
        ("ci95", [0.1]),
        ("probes", {}),
        ("percent", 101),
        ("yanked", 0),
    ],
)
def test_a_field_that_cannot_be_is_refused(key: str, value, world):
    with pytest.raises(EdgenetsError, match=f"has no right '{key}'"):
        read_release(json.dumps({**a_release(world), key: value}), "here")


def test_a_newer_format_asks_for_a_newer_edgenets(world):
    with pytest.raises(EdgenetsError, match="has format 3, this edgenets reads 2; install a newer"):
        read_release(json.dumps({**a_release(world), "format": 3}), "here")
    with pytest.raises(EdgenetsError, match="is no release of edgenets"):
        read_release("[format", "here")


def test_a_runtime_is_a_range_of_versions():
    assert parse_runtime("tflite-runtime") == {
        "name": "tflite-runtime",
        "oldest": None,
        "before": None,
    }
    assert parse_runtime("tflite-runtime<3")["before"] == "3"
