"""The `edgenets` command: finds a subcommand's file when it is asked for; errors are sentences.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

import edgenets
from edgenets.errors import EdgenetsError, did_you_mean
from edgenets.packages import explain_missing
from edgenets.progress import say

# In the order of the work; each is `command` in the file edgenets/cli/NAME.py.
GROUPS = {
    "Choose a net": ("list", "summary"),
    "Do everything at once": ("run", "report", "sweep"),
    "Make a model": ("train", "compress"),
    "Make a file": ("export", "pack", "unpack"),
    "Use and measure a file": ("inspect", "evaluate", "predict", "benchmark", "verify"),
    "Send it to boards": ("release", "update"),
    "Check the installation": ("doctor",),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)

RESUMED = {"run", "train", "compress", "sweep", "update", "--setup-emulator", "--setup-verify"}
"""Commands, and options of `doctor`, that keep what they have done when they are interrupted."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells expect it: 128 + SIGINT."""


class LazyCommands(click.Group):
    """A group that imports a subcommand's file only to run it or to show its help."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the subcommands in the order of the work."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the subcommand `name`, or None."""
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"edgenets.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands under the headings of `GROUPS`, all in the same columns."""
        width = max(map(len, COMMANDS))
        limit = formatter.width - width - 6  # as click has it: indented, and spaces in between
        for heading, names in GROUPS.items():
            rows = [
                (name.ljust(width), command.get_short_help_str(limit))
                for name in names
                if (command := self.get_command(context, name))
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; an unknown one is a usage error that suggests the near name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(
                f"unknown command {args[0]!r}{did_you_mean(args[0], COMMANDS)} "
                f"(known: {', '.join(COMMANDS)})",
                context,
            )
        return super().resolve_command(context, args)


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(edgenets.__version__, prog_name="edgenets")
def edgenets_command() -> None:
    """Take an image classifier from Keras to an edge board.

    `edgenets run` alone does it all on a built-in dataset: train, compress, export, report.
    """


def main() -> NoReturn:
    """Run the command line; every known failure is one sentence on stderr."""
    _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):  # for file names that are no text, and old locales
        sys.stdout.reconfigure(errors="backslashreplace")
    presses: list[int] = []
    with _noting_ctrl_c(presses):
        try:
            edgenets_command.main(standalone_mode=False)
        except BaseException as error:
            sys.exit(_explain(KeyboardInterrupt() if presses else error))
    sys.exit(0)


def _open_what_is_closed() -> None:
    """Let what is written to a closed stdout or stderr (`>&-`) go nowhere, and not into a file."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # in this order: each takes the number that is free
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123


def _explain(error: BaseException) -> int:
    """Say what failed and return the exit status; what is no known failure is raised again."""
    match error:
        case click.ClickException():  # wrong usage
            shown = io.StringIO()
            if isinstance(error, click.UsageError) and error.ctx:
                error.ctx.color = True  # `say` shows what would be left out
            error.show(shown)
            for line in shown.getvalue().rstrip("\n").split("\n"):
                say(line)
            return error.exit_code
        case EdgenetsError():
            say(f"edgenets: {error}")
        case ModuleNotFoundError() if sentence := explain_missing(error):
            say(f"edgenets: {sentence}")
        case BrokenPipeError():  # the reader of a pipe went away, as `| head` does
            sys.stderr.close()
        case OSError():  # the file system's, where no one knew better
            say(f"edgenets: {error.filename or 'the output'}: {error.strerror or error}")
        case MemoryError():
            say("edgenets: not enough memory; close other programs, or take a smaller net or batch")
        case KeyboardInterrupt() | click.Abort():
            words = {*sys.argv[1:2], *(word for word in sys.argv if word.startswith("--"))}
            kept = "; what is done is kept, the same command goes on from there"
            say(f"edgenets: interrupted{kept * bool(RESUMED & words)}")
            return INTERRUPTED
        case _:
            raise error
    return 1


@contextmanager
def _noting_ctrl_c(presses: list[int]) -> Iterator[None]:
    """Note every Ctrl-C: C++ code may swallow its exception and then fail of something else."""

    def note(number: int, frame: FrameType | None) -> NoReturn:
        presses.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, by nohup
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
