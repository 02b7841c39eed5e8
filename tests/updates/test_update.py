"""`edgenets update`: to be confirmed, going back, staged and yanked releases, and resumption."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import edgenets as en
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_bytes
from edgenets.updates import expected, slots
from edgenets.updates.expected import make_probes
from edgenets.updates.release import reaches
from edgenets.updates.repository import open_repository


def test_the_first_model_needs_no_confirmation(world, untried):
    record = world.update(into=world.empty)
    assert record["action"] == "installed" and record["release"]["number"] == 2
    assert record["pending"] is None and record["previous"] is None
    probes = record["release"]["probes"]
    files = (record["release"]["package"], probes["inputs"], probes["answers"])
    assert record["downloaded_bytes"] == sum(file["size_bytes"] for file in files)
    model = world.empty / "current" / "model.tflite"
    assert model.read_bytes() == world.file(2).read_bytes()
    assert en.current(world.empty).samefile(model)


def test_a_delta_is_fetched_where_the_file_before_is_there(world, untried):
    record = world.update()
    (delta,) = record["release"]["deltas"]
    assert delta["target"] == "colours/2-from-1.epk"
    answers = record["release"]["probes"]["answers"]["size_bytes"]
    assert record["downloaded_bytes"] == delta["size_bytes"] + answers
    assert delta["size_bytes"] < record["release"]["package"]["size_bytes"] / 2
    assert record["base_sha256"] == delta["base_sha256"] == sha256_bytes(world.file(1).read_bytes())
    assert world.answers() == world.file(2).read_bytes()


def test_deltas_are_made_to_the_last_three_releases(world):
    bases = []
    for number in (3, 1, 2, 3, 1):
        bases.append([d["target"] for d in world.publish(number)["deltas"]])
    assert bases[0] == ["colours/3-from-1.epk", "colours/3-from-2.epk"]
    assert bases[-1] == ["colours/7-from-4.epk", "colours/7-from-5.epk", "colours/7-from-6.epk"]


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("--status", "--retry", "--starts", 9), "--starts, --retry: only for an update from URL"),
        (("--confirm", "--program", "camera.service"), "--program: only for --install-service"),
        (("https://example.org", "--units", "u"), "--units: only for --install-service"),
        (("https://example.org", "--install-service", "--retry"), "--retry: not for --install"),
    ],
)
def test_options_that_are_not_read_are_refused(words, sentence: str, world, capsys):
    with pytest.raises(click.UsageError, match=sentence):
        world.edgenets("update", *words, "--into", world.board)


def test_old_releases_are_listed_no_more_and_their_boards_fetch_the_package(world, untried):
    world.publish(3, "--runtime", "ai-edge-litert<3")
    for number in (1, 2, 3, 2, 3, 2):
        newest = world.publish(number)
    listed = world.edgenets("release", "list", world.repository)["releases"]
    assert [release["number"] for release in listed] == [5, 6, 7, 8, 9]
    assert [bool(release["deltas"]) for release in listed] == 3 * [False] + 2 * [True]
    targets = open_repository(world.repository).targets.signed.targets
    deltas = sum(len(release["deltas"]) for release in listed)
    assert len(targets) == 5 + deltas  # none has probes
    assert world.update()["downloaded_bytes"] == newest["package"]["size_bytes"]
    assert world.answers() == world.file(2).read_bytes()


def test_a_release_stays_listed_with_its_deltas_until_all_its_boards_get_newer_ones(world):
    world.publish(3, "--runtime", "ai-edge-litert<2")
    for number in (1, 2, 3, 1, 2, 3):
        world.publish(number, "--device-class", "camera")
    world.publish(1, "--device-class", "camera", "--percent", 10)
    listed = world.edgenets("release", "list", world.repository)["releases"]
    assert [release["number"] for release in listed] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert [release["number"] for release in listed if release["deltas"]] == [2, 3, 8, 9, 10]
    answers = [release["probes"]["answers"]["target"] for release in listed[:2]]
    assert answers == ["colours/1.answers.epk", "colours/2.answers.epk"]


def test_a_new_model_answers_until_it_was_started_too_often(world, untried):
    assert world.update("--starts", 2)["pending"]["starts_allowed"] == 2
    paths = [en.current(world.board, start=True) for _ in range(4)]
    assert [path.parent.name for path in paths] == ["b", "b", "a", "a"]
    status = world.on_board("--status")
    assert status["release"]["number"] == 1 and status["pending"] is None
    assert status["left"][0]["reason"] == "it was not confirmed in 2 starts"
    assert world.update()["action"] == "current"
    assert world.update("--retry")["release"]["number"] == 2


def test_a_new_model_goes_after_its_minutes_whatever_the_clock_says(
    world, untried, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slots, "clock", lambda: ("first boot", 100.0))
    world.update("--minutes", 5)
    monkeypatch.setattr(slots, "clock", lambda: ("first boot", 300.0))
    assert world.on_board("--start")["pending"]["seconds"] == 200
    monkeypatch.setattr(slots, "clock", lambda: ("second boot", 90.0))
    assert world.on_board("--start")["pending"]["seconds"] == 290
    monkeypatch.setattr(slots, "clock", lambda: ("second boot", 101.0))
    assert world.on_board("--start")["release"]["number"] == 1
    assert "in 5 minutes" in world.on_board("--status")["left"][0]["reason"]


def test_a_model_is_not_confirmed_after_its_time(world, untried, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slots, "clock", lambda: ("boot", 100.0))
    world.update("--minutes", 1)
    monkeypatch.setattr(slots, "clock", lambda: ("boot", 161.0))
    shown = CliRunner().invoke(edgenets_command, ["update", "--status", "--into", str(world.board)])
    assert "1.02 of 1 minutes; its time is over: the next update or start" in shown.output
    with pytest.raises(EdgenetsError, match="release 2 was left, it was not confirmed in 1 minut"):
        world.on_board("--confirm")
    assert world.on_board("--confirm")["release"]["number"] == 1


def test_nothing_is_fetched_while_a_model_is_on_trial(world, untried):
    world.update()
    world.publish(3)
    record = world.update()
    assert (record["action"], record["release"]["number"]) == ("waiting", 2)
    assert world.on_board("--confirm")["pending"] is None
    assert world.update()["release"]["number"] == 3


def test_rollback_leads_back_and_is_remembered(world, untried):
    with pytest.raises(EdgenetsError, match="holds no model from before"):
        en.rollback(world.board)
    world.update()
    assert world.on_board("--rollback")["release"]["number"] == 1
    assert world.on_board("--status")["left"][0]["reason"] == "it was rolled back"
    assert world.update()["notes"] == ["release 2 was left before; --retry tries it again"]
    world.update("--retry")
    assert world.on_board("--confirm")["left"] == []


def test_rollback_does_not_lead_to_a_model_that_was_left(
    world, untried, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slots, "clock", lambda: ("boot", 100.0))
    world.update("--minutes", 1)
    monkeypatch.setattr(slots, "clock", lambda: ("boot", 161.0))
    assert world.on_board("--rollback")["release"]["number"] == 1  # its minutes were over
    assert world.on_board("--status")["left"][0]["reason"] == "it was not confirmed in 1 minutes"
    assert world.on_board("--status")["previous"] is None
    with pytest.raises(EdgenetsError, match="no model from before that was not left"):
        world.on_board("--rollback")
    assert world.on_board("--status")["release"]["number"] == 1


def test_a_program_confirms_the_model_that_it_has_loaded(world, untried):
    loaded = en.current(world.board, start=True)
    world.update()
    assert en.confirm(world.board, loaded).pending is not None
    assert en.confirm(world.board, en.current(world.board)).pending is None


def test_a_start_needs_to_be_noted_on_trial_alone(world, untried, monkeypatch: pytest.MonkeyPatch):
    def refused(folder: Path) -> None:
        raise EdgenetsError("cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(slots, "locked", refused)
        assert en.current(world.board, start=True).is_file()
    world.update()
    with monkeypatch.context() as patch, pytest.raises(EdgenetsError, match="cannot be written"):
        patch.setattr(slots, "locked", refused)
        en.current(world.board, start=True)


def test_a_release_on_trial_that_is_listed_no_more_is_left(world, untried):
    world.update()
    for number in (1, 3, 1, 3, 1):
        world.publish(number)
    assert world.update()["release"]["number"] == 7
    (left,) = world.on_board("--status")["left"]
    assert (left["number"], left["reason"]) == (2, "newer ones have replaced it")


def test_a_yanked_release_is_left_for_the_one_before(world, untried):
    world.update()
    world.on_board("--confirm")
    yank = ("--model", world.name, "--keys", world.keys)
    assert world.edgenets("release", "yank", world.repository, 2, *yank)["yanked"]
    record = world.update()
    assert record["release"]["number"] == 1 and record["pending"] is None
    answers = record["release"]["probes"]["answers"]["size_bytes"]
    assert record["downloaded_bytes"] == answers  # the model is in the other slot
    assert world.answers() == world.file(1).read_bytes()
    with pytest.raises(EdgenetsError, match="lists no release 9"):
        world.edgenets("release", "yank", world.repository, 9, *yank)


def test_a_release_that_is_yanked_on_trial_is_left_at_once(world, untried):
    assert world.update()["pending"]
    yank = ("--model", world.name, "--keys", world.keys)
    world.edgenets("release", "yank", world.repository, 2, *yank)
    record = world.update()
    assert record["action"] == "current" and record["pending"] is None
    assert record["release"]["number"] == 1 and record["left"][0]["reason"] == "it was yanked"
    assert world.answers() == world.file(1).read_bytes()


def test_a_staged_release_reaches_the_devices_of_its_share(world, untried):
    assert world.publish(3, "--percent", 40)["percent"] == 40
    release = en.Releases(world.repository).list().releases[-1]
    devices = [f"device {number}" for number in range(1000)]
    reached = [device for device in devices if reaches(release, device)]
    assert 340 <= len(reached) <= 460  # 400, and four standard deviations
    (other, *_) = set(devices) - set(reached)
    record = world.update("--device-id", other)
    assert record["release"]["number"] == 2
    assert record["notes"] == ["release 3 is for 40 % of the devices yet, and not for this one"]
    assert world.update("--device-id", reached[0], into=world.empty)["release"]["number"] == 3
    world.on_board("--confirm")
    assert world.publish(3)["number"] == 3  # the same release, for all
    assert world.update("--device-id", other)["release"]["number"] == 3


def test_a_release_for_another_runtime_waits(world, untried):
    assert world.publish(3, "--runtime", "ai-edge-litert>=99")["runtimes"][0]["oldest"] == "99"
    record = world.update()
    assert record["release"]["number"] == 2 and "is not for ai-edge-litert" in record["notes"][0]


def test_a_folder_has_one_model(world, untried):
    world.edgenets(
        *("release", "publish", world.repository, world.file(3)),
        *("--model", "others", "--keys", world.keys),
    )
    into = ("--into", world.board)
    with pytest.raises(EdgenetsError, match="holds releases of colours, not of others"):
        world.edgenets("update", world.repository, *into, "--model", "others")
    with pytest.raises(EdgenetsError, match="unknown model 'colour'; did you mean colours"):
        world.edgenets("update", world.repository, *into, "--model", "colour")
    with pytest.raises(EdgenetsError, match="holds no model yet; say which one"):
        world.edgenets("update", world.repository, "--into", world.empty)
    with pytest.raises(EdgenetsError, match="trust begins with the repository's root"):
        world.edgenets("update", world.repository, "--into", world.empty, "--model", "others")


def test_a_second_update_at_once_is_refused_and_a_start_does_not_wait(world, untried):
    download = world.board / "download"
    download.mkdir()
    descriptor = os.open(download, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(EdgenetsError, match="in use by another edgenets process"):
            world.update()
        assert en.current(world.board, start=True).parent.name == "a"
    finally:
        os.close(descriptor)
    assert world.update()["release"]["number"] == 2


def test_what_was_fetched_in_part_is_gone_on_with(world, untried):
    (package,) = (world.repository / "targets" / world.name).glob("*.2-from-1.epk")
    part = world.board / "download" / f"{package.name.split('.')[0]}.part"
    part.parent.mkdir()
    part.write_bytes(package.read_bytes()[:50])
    (world.board / "download" / f"{'0' * 64}.part").write_bytes(b"of an older release")
    record = world.update()
    answers = record["release"]["probes"]["answers"]["size_bytes"]
    assert record["downloaded_bytes"] == package.stat().st_size - 50 + answers
    assert not list(part.parent.iterdir())


def test_a_part_of_another_file_is_fetched_anew(world, untried):
    (package,) = (world.repository / "targets" / world.name).glob("*.2-from-1.epk")
    part = world.board / "download" / f"{package.name.split('.')[0]}.part"
    part.parent.mkdir()
    part.write_bytes(bytes(50))
    record = world.update()
    answers = record["release"]["probes"]["answers"]["size_bytes"]
    assert record["downloaded_bytes"] == 2 * package.stat().st_size - 50 + answers


def test_a_damaged_slot_is_not_gone_back_to(world, untried):
    world.update("--starts", 1)
    (world.board / "slots" / "a" / "model.tflite").write_bytes(b"bit rot")
    for _ in range(3):
        assert en.current(world.board, start=True).parent.name == "b"
    assert world.on_board("--status")["previous"] is None


def test_a_damaged_model_on_trial_is_left_and_may_come_again(world, untried):
    world.update("--starts", 1)
    (world.board / "slots" / "b" / "release.json").write_bytes(b"bit rot")
    assert [en.current(world.board, start=True).parent.name for _ in range(2)] == ["b", "a"]
    assert world.on_board("--status")["left"] == []
    assert world.update()["release"]["number"] == 2


@pytest.mark.parametrize("content", [b"", b"{}", None], ids=["empty", "none", "missing"])
def test_trust_that_is_damaged_begins_anew_with_the_root(content: bytes | None, world, untried):
    world.update(source=world.first)
    root = world.board / "trusted" / "root.json"
    root.unlink() if content is None else root.write_bytes(content)
    assert world.update()["release"]["number"] == 2


def test_a_damaged_model_is_installed_anew(world, untried):
    (world.board / "slots" / "a" / "model.tflite").write_bytes(b"bit rot")
    assert world.update(source=world.first)["action"] == "installed"
    assert world.answers() == world.file(1).read_bytes()


def test_an_update_does_not_wait_for_a_damaged_model_to_be_confirmed(world, untried):
    world.update()
    (world.board / "slots" / "b" / "model.tflite").write_bytes(b"bit rot")
    record = world.update()
    assert (record["action"], record["release"]["number"], record["previous"]) == (
        "installed",
        2,
        1,
    )
    assert record["pending"] and record["left"] == []
    assert world.answers() == world.file(2).read_bytes()


def test_a_damaged_model_on_trial_is_not_confirmed(world, untried):
    world.update()
    first, second = (world.board / "slots" / slot / "model.tflite" for slot in "ab")
    content = second.read_bytes()
    second.write_bytes(b"bit rot")
    sentence = r"slots/b/model\.tflite is damaged, and stays on trial; edgenets update"
    with pytest.raises(EdgenetsError, match=sentence):
        world.on_board("--confirm")
    assert world.on_board("--status")["pending"]
    assert en.confirm(world.board, first).pending  # of a program that has the one before
    second.write_bytes(content)
    assert world.on_board("--confirm")["pending"] is None


def test_a_damaged_model_whose_minutes_are_over_goes_when_it_is_confirmed(
    world, untried, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slots, "clock", lambda: ("boot", 100.0))
    world.update("--minutes", 1)
    (world.board / "slots" / "b" / "model.tflite").write_bytes(b"bit rot")
    monkeypatch.setattr(slots, "clock", lambda: ("boot", 161.0))
    assert world.on_board("--confirm")["release"]["number"] == 1


@pytest.mark.parametrize("name", ["model.tflite", "release.json"])
def test_a_damaged_model_is_said_to_be_and_needs_no_name(name: str, world, untried):
    world.update()
    world.on_board("--confirm")
    (world.board / "slots" / "b" / name).write_bytes(b"bit rot")
    shown = CliRunner().invoke(edgenets_command, ["update", "--status", "--into", str(world.board)])
    assert "slots/b/model.tflite is damaged; edgenets update URL" in shown.stdout
    assert en.update(world.repository, into=world.board).action == "installed"
    assert world.answers() == world.file(2).read_bytes()


def test_a_board_that_holds_nothing_says_so(world):
    with pytest.raises(EdgenetsError, match="holds no model yet; run: edgenets update"):
        en.current(world.empty)
    assert world.edgenets("update", "--status", "--into", world.empty)["release"] is None


@pytest.mark.parametrize("option", ["--status", "--confirm", "--rollback", "--start"])
def test_what_is_no_folder_holds_no_model(option: str, world):
    with pytest.raises(EdgenetsError, match=r"1\.tflite is not a folder; pass .* with --into"):
        world.edgenets("update", option, "--into", world.file(1))


def test_a_repository_without_releases_says_so(world, tmp_path: Path):
    releases = en.Releases(tmp_path / "none", tmp_path / "keys")
    root = releases.init()
    with pytest.raises(EdgenetsError, match="holds no release yet"):
        world.update(source=releases.folder, root=root, into=world.empty)


def test_a_lost_model_is_no_path_and_comes_again(world, untried):
    (world.board / "slots" / "a" / "model.tflite").unlink()
    with pytest.raises(EdgenetsError, match="is missing; run: edgenets update"):
        en.current(world.board)
    assert world.update()["release"]["number"] == 2


PENDING = {
    **{"slot": "a", "starts": 0, "starts_allowed": 3, "seconds": 0.0, "seconds_allowed": 9.0},
    **{"boot": "b", "seen": 1.0, "leaving": False},
}


@pytest.mark.parametrize(
    "state",
    [
        json.dumps({"pending": {"slot": "a"}, "left": []}),
        json.dumps({"pending": {**PENDING, "starts": "none"}, "left": []}),
        json.dumps({"pending": None, "left": [1]}),
        "[]",
        "",
    ],
)
def test_a_damaged_state_is_a_sentence_and_the_model_answers(state: str, world):
    (world.board / "state.json").write_text(state)
    with pytest.raises(EdgenetsError, match=r"state\.json is damaged.*remove it"):
        world.on_board("--status")
    assert en.current(world.board).read_bytes() == world.file(1).read_bytes()


@pytest.mark.slow
def test_a_model_that_answers_otherwise_is_never_switched_to(
    world, monkeypatch: pytest.MonkeyPatch
):
    def off_by_one(path, data, images=3):
        run = expected.run
        with monkeypatch.context() as patch:
            patch.setattr(expected, "run", lambda *a: (run(*a)[0] + 1, run(*a)[1]))
            return make_probes(path, data, images)

    monkeypatch.setattr("edgenets.updates.publish.make_probes", off_by_one)
    world.publish(3, "--probes", world.photographs)
    sentence = "release 3 of colours was tried, and is not installed: its answers differ by 1 from"
    before = world.answers()
    with pytest.raises(EdgenetsError, match=f"{sentence} those of the release, where 0 is allowed"):
        world.update()
    assert world.answers() == before
    status = world.on_board("--status")
    assert status["release"]["number"] == 1 and status["left"][0]["number"] == 3
    assert world.update()["release"]["number"] == 2  # the one before is tried


@pytest.mark.slow
def test_a_model_that_its_process_dies_of_is_never_switched_to(world, shared_file):
    from edgenets import flatbuffer

    content = shared_file("mlperf_tiny/vww_96_int8.tflite").read_bytes()

    def without_a_bias(model):
        names = [operator.name for operator in flatbuffer.read(content).operators]
        depthwise = model.subgraphs[0].operators[names.index("DEPTHWISE_CONV_2D")]
        depthwise.inputs = depthwise.inputs[:2]

    world.file(3).write_bytes(flatbuffer.rewrite(content, without_a_bias))
    world.publish(3)
    with pytest.raises(
        EdgenetsError, match=r"release 3 .*is not installed: .*crashed with SIGSEGV"
    ):
        world.update()
    assert world.answers() == world.file(1).read_bytes()
    assert world.on_board("--status")["release"]["number"] == 1


def test_a_file_that_is_open_stays_as_it_is(world, untried):
    with en.current(world.board).open("rb") as file:
        world.update()
        world.on_board("--confirm")
        world.publish(3)
        assert "slots/a/" in world.update()["path"]  # the slot of the file that is open
        assert file.read() == world.file(1).read_bytes()
        other = (world.board / "current" / "model.tflite").stat()
        assert os.fstat(file.fileno()).st_ino != other.st_ino
