"""Odd values at every option and argument of every command: a sentence each, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgenets.cli import main as main_module
from edgenets.cli.main import COMMANDS, LazyCommands, _explain, edgenets_command
from edgenets.errors import EdgenetsError

ODD = (
    *("", " ", ".", "..", "/", "~", "-", "--", "-1", "0", "3", "0.5", "1e308", "nan", "-inf"),
    *(
        "9" * 5000,
        "a" * 5000,
        "\x1b[31m",
        "\udcff",
        "é",
        "²",
        "\uff11",
        "*",
        "[",
        "[/b]",
        "{",
        "a=b",
    ),
    *("1..0", "nan..inf", "0x10", "a:b", "://", "ssh:", "ssh://", "ssh://[", "emulated:", "<&"),
    *("loop", "loop/a", "folder", "file", "file/a", "nowhere/a", "two\nlines", "fifo"),
)
MODEL = Path(main_module.__file__).parents[1] / "models" / "pretrained" / "cifar10_mobilenet_v1"
NOTHING = "there is no work in this test"
# What each command does where everything is in order.
USUAL = {
    "list": (),
    "summary": ("mobilenet_v1",),
    "run": ("--out", "out"),
    "train": ("mobilenet_v1", "--data", "digits", "--out", "out"),
    "compress": ("model", "--recipe", "prune", "--data", "digits", "--out", "out"),
    "export": ("model", "--out", "out.tflite"),
    "inspect": ("net.tflite",),
    "pack": ("net.tflite", "--out", "out.epk"),
    "unpack": ("net.epk", "--out", "out.tflite"),
    "evaluate": ("net.tflite", "--data", "digits"),
    "predict": ("net.tflite", "a.png"),
    "benchmark": ("net.tflite",),
    "verify": ("net.tflite", "--runtime", "reference"),
    "report": ("folder",),
    "sweep": ("--data", "digits", "--out", "out"),
    "doctor": (),
    "release init": ("releases", "--keys", "keys"),
    "release publish": ("releases", "net.tflite", "--model", "net", "--keys", "keys"),
    "release yank": ("releases", "1", "--model", "net", "--keys", "keys"),
    "release rotate": ("releases", "targets", "--keys", "keys"),
    "release renew": ("releases", "--keys", "keys"),
    "release list": ("releases",),
    "update": ("releases", "--into", "board"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch, colour_file: Path) -> Path:
    """A working directory with a file of each kind."""
    from PIL import Image

    from edgenets.quantize.package.epk import pack

    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "model").symlink_to(MODEL)
    (tmp_path / "file").write_text("a")
    (tmp_path / "net.tflite").write_bytes(colour_file.read_bytes())
    (tmp_path / "net.epk").write_bytes(pack(b"a"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    return tmp_path


@pytest.fixture(scope="module")
def net():
    """The net of `MODEL`, which is loaded once."""
    from edgenets.models.folder import Model

    return Model.load(MODEL).net


@pytest.fixture
def nothing_works(monkeypatch, net) -> None:
    """No process, net or training is started; what comes before is done."""

    def stop(*_: object, **__: object) -> None:
        raise EdgenetsError(NOTHING)

    monkeypatch.setattr("edgenets.export.devices.local.LocalSession._start", stop)
    monkeypatch.setattr("edgenets.export.devices.ssh_session.ssh.connect", stop)
    monkeypatch.setattr("edgenets.export.devices.doctor._packages", list)
    monkeypatch.setattr("edgenets.export.devices.emulator_setup.set_up", stop)
    monkeypatch.setattr("edgenets.cli.summary.create", stop)
    monkeypatch.setattr("edgenets.models.folder._load_net", lambda *_: net)
    for work in (
        *("run.open_training", "one_step.open_training", "one_step.load_initial"),
        *("compress.open_images_of", "budget.open_images_of", "tries.search.open_images_of"),
        *("workers._train_by_processes", "workers.train_as_worker"),
        *("sweep.search.search", "sweep.worker.search_together", "sweep.cluster.search_on_cluster"),
    ):
        monkeypatch.setattr(f"edgenets.pipeline.{work}", stop)
    for work in ("repository.create_repository", "publish.publish", "client.update"):
        monkeypatch.setattr(f"edgenets.updates.{work}", stop)


def command_of(name: str) -> click.Command:
    assert isinstance(edgenets_command, LazyCommands)
    first, *rest = name.split()
    command = edgenets_command.get_command(click.Context(edgenets_command), first)
    for word in rest:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert command is not None
    return command


def lines(name: str) -> Iterator[list[str]]:
    """Yield a command's usual line with each odd value in each place."""
    usual = list(USUAL[name])
    for parameter in command_of(name).params:
        for odd in ODD:
            if isinstance(parameter, click.Option):
                option = parameter.opts[0]
                yield [*usual, f"{option}={odd}"]
            elif odd not in ("/", ".."):  # as a folder of images it would be read for long
                yield [*usual, "--", odd]
                yield [odd, *usual[1:]]


def status_of(line: list[str], capsys: pytest.CaptureFixture) -> int:
    """Return the exit status of a command line; what is no known failure is raised."""
    result = CliRunner().invoke(edgenets_command, line, standalone_mode=False)
    if result.exception is None:
        return 0
    status = _explain(result.exception)
    said = capsys.readouterr().err
    assert said.replace("\n", "").isprintable() and "Traceback" not in said
    assert status == 2 or said.count("\n") == 1, said
    return status


def test_every_command_has_its_usual_line():
    assert {name.split()[0] for name in USUAL} == set(COMMANDS)


@pytest.mark.parametrize("name", USUAL)
def test_odd_values_are_a_sentence_or_work(name: str, place, colour_file, nothing_works, capsys):
    statuses, failures = set(), []
    for line in lines(name):
        try:
            statuses.add(status_of([*name.split(), *line], capsys))
        except Exception as error:  # whatever it is, it is what is looked for
            shown = [word[:40] for word in line]
            failures.append(f"{shown}: {type(error).__name__} {error}"[:300])
    assert not failures, "\n".join(map(repr, failures))
    assert statuses <= {0, 1, 2} and 2 in statuses
    assert (place / "loop").is_symlink()
    assert (place / "net.tflite").read_bytes() == colour_file.read_bytes()
