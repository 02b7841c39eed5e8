"""The command line as a whole: start, help, exit status, and what happens without the extra."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgenets.cli import main as main_module
from edgenets.cli.main import COMMANDS, LazyCommands, edgenets_command, main
from edgenets.errors import EdgenetsError

PACKAGE = Path(main_module.__file__).parents[1]
ROOT = PACKAGE.parent
TRAINING_MODULES = (
    *("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "safetensors"),
    *("pydantic", "yaml", "sklearn", "jinja2", "matplotlib"),
)


def edgenets(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "edgenets", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def edgenets_without(modules: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess:
    """Run the command line in a process that cannot import `modules`."""
    blocked = dict.fromkeys(modules)  # None in sys.modules makes an import fail
    script = (
        f"import sys; sys.modules.update({blocked}); from edgenets.cli.main import main; main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def command_of(name: str) -> click.Command:
    assert isinstance(edgenets_command, LazyCommands)
    command = edgenets_command.get_command(click.Context(edgenets_command), name)
    assert command is not None
    return command


# What starts without the train extra, and fast


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("list",),
        ("list", "--json"),
        ("summary", "--help"),
        ("run", "--help"),
        ("train", "--help"),
        ("benchmark", "--help"),
        ("predict", "--help"),
    ],
    ids=" ".join,
)
def test_command_works_without_the_packages_for_training(arguments: tuple[str, ...]):
    result = edgenets_without(TRAINING_MODULES, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",),
        ("train", "mobilenet_v1", "--data", "digits", "--out", "model"),
        ("export", "model", "--data", "digits", "--out", "model.tflite"),
        ("summary", "mobilenet_v1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_missing_extra_is_named_in_one_sentence(arguments: tuple[str, ...]):
    result = edgenets_without(TRAINING_MODULES, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("edgenets: this needs ")
    assert result.stderr.endswith("run: pip install 'edgenets[train]'\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, package",
    [("pydantic", "pydantic"), ("yaml", "PyYAML"), ("safetensors", "safetensors")],
)
def test_one_missing_package_is_named(module: str, package: str):
    result = edgenets_without((module,), "run")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"edgenets: this needs {package}, which is not installed; "
        "run: pip install 'edgenets[train]'\n"
    )


# Commands and their help


def test_every_command_has_its_file_and_every_file_its_command():
    files = {file.stem for file in (PACKAGE / "cli").glob("*.py")}
    shared = {"__init__", "main", "options", "output", "size_tables", "budget"}
    assert files - shared == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_json_and_described_options(name: str):
    found = command_of(name)
    for command in found.commands.values() if isinstance(found, click.Group) else [found]:
        options = [option for option in command.params if isinstance(option, click.Option)]
        assert "--json" in {flag for option in options for flag in option.opts}
        for option in options:
            assert option.help, f"{name} {option.opts[0]} has no help"
        assert command.callback is not None and command.callback.__doc__


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_described_whole_in_the_list_of_commands(name: str):
    overview = CliRunner().invoke(edgenets_command, ["--help"], terminal_width=80).output
    (line,) = (line for line in overview.splitlines() if line.split()[:1] == [name])
    assert line.endswith(".") and not line.endswith("...")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_readme(name: str):
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("README.md is not here")
    assert f"edgenets {name}" in readme.read_text()


@pytest.mark.slow
def test_defaults_in_the_help_of_train_are_those_of_its_settings():
    from edgenets.training.settings import BATCH_SIZES, TrainSettings

    settings = TrainSettings()
    scratch, transfer, taught = (
        settings.pace(10_000, has_batch_norm=True, transferred=transferred, taught=taught)
        for transferred, taught in ((False, False), (True, False), (True, True))
    )
    defaults = {
        "epochs": f"{scratch.epochs}, with WEIGHTS {transfer.epochs}, or with a teacher, too, "
        f"{taught.epochs}; more of few images",
        "batch_size": f"{BATCH_SIZES[0]} to {BATCH_SIZES[-1]}, as suits the number of images",
        "learning_rate": f"{scratch.learning_rate}, with WEIGHTS at most "
        f"{transfer.learning_rate:g}, or with a teacher, too, {taught.learning_rate:g}; a quarter "
        "for a net without BatchNorm",
        "weights": settings.weights,
        "precision": settings.precision,
    }
    train = {option.name: option for option in command_of("train").params}
    for name, default in defaults.items():
        option = train[name]
        assert isinstance(option, click.Option)
        assert f"[default: {default}]" in (option.help or "")


def test_list_fits_a_terminal_of_80_columns():
    for line in edgenets("list").stdout.splitlines():
        assert len(line) <= 80, line


# Exit status


def test_version_is_the_package_s():
    result = edgenets("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == ["edgenets,", "version", importlib.metadata.version("edgenets")]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("benchmrk",), "unknown command 'benchmrk'; did you mean benchmark? (known: list, "),
        (("list", "--famly", "x"), "Did you mean"),
        (("list", "--family"), "'--family' requires an argument"),
        (("list", "extra"), "unexpected extra argument (extra)"),
        (("train", "mobilenet_v1"), "Missing option '--out'"),
        (("train", "mobilenet_v1", "--out", "m"), "training needs images: pass --data DATA"),
        (
            ("train", "mobilenet_v1", "--out", "m", "--epochs", "0"),
            "--epochs 0 without --data only imports weights: pass --weights",
        ),
        (
            ("train", "squeezenet", "--out", "m", "--epochs", "0", "--weights", "w", "--strict"),
            "weights alone are imported without images; leave --unlabelled, --flip, --strict",
        ),
        (
            ("train", "squeezenet", "--out", "m", *"--epochs 0 --weights w --batch-size 8".split()),
            "weights alone are imported without training; leave --batch-size, --learning-rate",
        ),
        (
            ("train", "squeezenet", "--out", "m", "--data", "d", "--worker", "3"),
            "worker 3 is one of a cluster; pass --cluster, too",
        ),
        (("sweep", "s.yaml", "--data", "digits"), "says which data and targets; leave --data and"),
        (("sweep", "--storage", "file:///s"), "is for the nodes of a Ray cluster; pass --ray"),
        (
            ("train", "squeezenet", "--out", "m", "--input-range", "0-1"),
            "expected two numbers such as 0..1 or -1..1, got '0-1'",
        ),
        (("summary",), "Missing argument 'NAME'"),
        (("summary", "mobilenet_v1", "width"), "expected KEY=VALUE, got 'width'"),
        (
            ("summary", "mobilenet_v1", "width=0.5", "width=0.25"),
            "width is given twice, as '0.5' and '0.25'; pass one",
        ),
        (("predict", "net.tflite"), "Missing argument 'IMAGE ...'"),
        (("train", "mobilenet_v1", "--epochs", "-1"), "-1 is not in the range x>=0"),
        (
            ("export", "m", "--format", "int4", "--out", "x"),
            "'int4' is not one of 'int8', 'int16x8'",
        ),
        (("export", "m", "--seed", "-1", "--out", "x"), "-1 is not in the range x>=0"),
        (
            ("export", "m", "--seed", "0", "--out", "x"),
            "--seed chooses images of --data; pass both",
        ),
        (
            ("export", "m.keras", "--calibration-images", "9", "--out", "x"),
            "--calibration-images chooses images of --data; pass both",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_exit_2_and_says_what_is_wrong(
    arguments: tuple[str, ...], message: str, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["edgenets", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


def test_known_failure_is_exit_1_with_one_sentence():
    result = edgenets("list", "--family", "MobilNet")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "edgenets: unknown family 'MobilNet'; did you mean MobileNet? (known: Inception, "
        "MobileNet, ShuffleNet, SqueezeNet, baseline)\n"
    )


@pytest.mark.parametrize(
    "failure, status, message",
    [
        (EdgenetsError("this is so"), 1, "edgenets: this is so\n"),
        (KeyboardInterrupt(), 130, "edgenets: interrupted\n"),
        (click.Abort(), 130, "edgenets: interrupted\n"),
        (
            OSError(28, "No space left on device", "/x"),
            1,
            "edgenets: /x: No space left on device\n",
        ),
        (MemoryError(), 1, "not enough memory"),
        (ModuleNotFoundError(name="yaml"), 1, "this needs PyYAML, which is not installed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_failure_has_its_exit_status_and_sentence(failure, status, message, monkeypatch, capsys):
    def fail(**options):
        raise failure

    monkeypatch.setattr(edgenets_command, "main", fail)
    monkeypatch.setattr(sys, "argv", ["edgenets", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err and captured.err.strip().count("\n") == 0


@pytest.mark.parametrize(
    "words, kept",
    [
        (["train", "squeezenet"], True),
        (["doctor", "--setup-emulator"], True),
        (["doctor"], False),
        (["inspect", "train"], False),
    ],
)
def test_work_is_said_to_be_kept_where_it_is(words, kept: bool, monkeypatch, capsys):
    def interrupt(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr(edgenets_command, "main", interrupt)
    monkeypatch.setattr(sys, "argv", ["edgenets", *words])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.endswith("same command goes on from there\n") == kept


def test_mistake_in_the_code_keeps_its_traceback(monkeypatch):
    def fail(**options):
        raise ModuleNotFoundError(name="edgenets.nowhere")

    monkeypatch.setattr(edgenets_command, "main", fail)
    with pytest.raises(ModuleNotFoundError):
        main()


# Where the output goes


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json"), ("--help",)], ids=" ".join)
def test_reader_that_goes_away_causes_no_traceback(arguments: tuple[str, ...]):
    with subprocess.Popen(
        [sys.executable, "-m", "edgenets", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(10) == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments, status", [("list", 0), ("list --json", 0), ("list --no", 2)])
def test_what_is_closed_is_written_nowhere(arguments: str, status: int, closed: str):
    command = f"{sys.executable} -m edgenets {arguments} {closed}"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert result.returncode == status
    assert "Traceback" not in result.stderr
    assert bool(result.stdout) == (status == 0 and ">&-" not in closed.split())
    assert bool(result.stderr) == (status == 2 and "2>&-" not in closed.split())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [("list",), ("list", "--json")], ids=" ".join)
def test_output_to_a_full_disk_is_one_sentence(arguments: tuple[str, ...]):
    command = [sys.executable, "-m", "edgenets", *arguments]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "edgenets: the output: No space left on device\n"


def test_output_in_an_old_locale_is_readable():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    result = edgenets("list", env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert "mobilenet_v1" in result.stdout and result.stdout.isascii()


def test_json_is_all_that_is_printed():
    variants = json.loads(edgenets("list", "--json").stdout)
    assert {"name", "family", "arguments", "resolution", "params", "macs"} <= set(variants[0])


@pytest.mark.parametrize(
    "work",
    [
        "os.kill(os.getpid(), signal.SIGINT)",
        # What C++ code writes meanwhile is not shown.
        "\n  with quiet_stderr(): os.write(2, b'chatter'); os.kill(os.getpid(), signal.SIGINT)",
        # C++ code may swallow the exception and fail of something else, as TensorFlow does.
        "\n  try: os.kill(os.getpid(), signal.SIGINT)"
        "\n  except KeyboardInterrupt: raise AttributeError('_type_spec') from None",
    ],
)
def test_ctrl_c_is_exit_130_and_one_sentence(work: str):
    script = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs ignore it
        "from edgenets.cli import list, main\n"
        "from edgenets.progress import quiet_stderr\n"
        f"def work(**options): {work}\n"
        "list.command.callback = work\n"
        "main.main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "list"], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr.strip() == "edgenets: interrupted"
