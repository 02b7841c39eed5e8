"""`edgenets update`: the newest release of a model on this board, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edgenets.cli.options import NumberRange, json_option
from edgenets.cli.output import echo, print_json, print_table
from edgenets.errors import EdgenetsError
from edgenets.progress import warn
from edgenets.units import format_bytes
from edgenets.updates.defaults import MINUTES, STARTS, UNITS

if TYPE_CHECKING:
    from edgenets.results.updates import BoardUpdate, UpdateRecord, UpdateStatus

OF_A_SERVICE = ("units", "program")
OF_AN_UPDATE = ("model", "root", "device_class", "device_id", "starts", "minutes", "retry")


@click.command()
@click.argument("source", metavar="[URL]", required=False)
@click.option(
    "--into",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of this board: DIR/current/model.tflite is the model.",
)
@click.option("--model", metavar="NAME", help="Name of the model.  [default: the one in DIR]")
@click.option(
    "--root",
    metavar="ROOT.json",
    type=click.Path(path_type=Path),
    help="The repository's metadata/1.root.json, which trust begins with.  [default: the first "
    "update's]",
)
@click.option("--device-class", metavar="NAME", help="Class of this board.")
@click.option(
    "--device-id",
    metavar="ID",
    help="Decides whether a staged release is for it.  [default: /etc/machine-id]",
)
@click.option(
    "--starts",
    default=STARTS,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="Starts of programs in which a new model must be confirmed, else the one before answers.",
)
@click.option(
    "--minutes",
    default=MINUTES,
    show_default=True,
    metavar="M",
    type=NumberRange(min=0, min_open=True, max=10**6),
    help="The same, in minutes that the board is on.",
)
@click.option("--retry", is_flag=True, help="Try a release again that was left.")
@click.option("--confirm", "action", flag_value="confirm", help="Keep the new model: it works.")
@click.option("--rollback", "action", flag_value="rollback", help="Let the one before answer.")
@click.option("--status", "action", flag_value="status", help="Show what DIR holds.")
@click.option("--start", "action", flag_value="start", help="Count a start; print the path.")
@click.option(
    "--install-service",
    is_flag=True,
    help="Show systemd units that update after each --minutes, at least every 6 hours, and write "
    "them; nothing is updated.",
)
@click.option(
    "--units",
    default=UNITS,
    show_default=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="For --install-service: where units are.",
)
@click.option(
    "--program",
    metavar="UNIT",
    help="For --install-service: the program's unit, such as camera.service, whose starts are to "
    "be counted.",
)
@click.option(
    "--device",
    multiple=True,
    metavar="DEVICE",
    help="Do it on this board, ssh://[user@]host[:port], whose folders and files are meant then; "
    "may be repeated.",
)
@json_option
def command(
    source: str | None,
    into: Path,
    model: str | None,
    root: Path | None,
    device_class: str | None,
    device_id: str | None,
    starts: int,
    minutes: float,
    retry: bool,
    action: str | None,
    install_service: bool,
    units: Path,
    program: str | None,
    device: tuple[str, ...],
    as_json: bool,
) -> None:
    """Install the newest release of a model on this board.

    URL is a repository that `edgenets release` made, or its folder. The new model is tried in a
    process of its own and then answers in the old one's place, all at once. Until --confirm it is
    on trial: after too many starts or minutes the model before answers again.
    """
    from edgenets.verbs import updating

    if (source is None) == (action is None):
        raise click.UsageError("pass URL, or one of --confirm, --rollback, --status and --start")
    _refuse_what_is_not_read(click.get_current_context())
    if device and (install_service or action == "start"):
        raise click.UsageError("--device is for an update, --confirm, --rollback and --status")
    if device:
        from edgenets.updates.boards import update_boards

        words = _words(click.get_current_context())
        _show_boards(update_boards(device, words), as_json)
    elif install_service:
        if source is None:
            raise click.UsageError("--install-service takes the URL to update from")
        from edgenets.updates.service import service_units

        options = {
            "--model": model,
            "--root": root and root.absolute(),
            "--device-class": device_class,
            "--device-id": device_id,
            "--starts": starts,
            "--minutes": minutes,
        }
        _install_service(service_units(into, source, options, program, minutes), units, as_json)
    elif source is not None:
        record = updating.update(
            source,
            into=into,
            model=model,
            root=root,
            device_class=device_class,
            device_id=device_id,
            starts=starts,
            minutes=minutes,
            retry=retry,
        )
        warn(record.notes)
        _show(record, as_json, _done(record))
    elif action == "start":
        path = updating.current(into, start=True)
        if as_json:
            print_json(updating.update_status(into).to_json())
        else:
            echo(str(path))
    else:
        verbs = {
            "confirm": _confirm,
            "rollback": updating.rollback,
            "status": updating.update_status,
        }
        _show(verbs[str(action)](into), as_json, "")


def _confirm(into: Path) -> UpdateStatus:
    """Keep the model that answers, unless its time was over: then the one before answers again."""
    from edgenets.verbs import updating

    before, after = updating.update_status(into), updating.confirm(into)
    if before.pending and before.release and before.release != after.release:
        left = next(r for r in after.left if r["number"] == before.release.number)
        raise EdgenetsError(
            f"release {left['number']} was left, {left['reason']}: the model before answers again; "
            "edgenets update URL --retry installs it once more"
        )
    return after


def _refuse_what_is_not_read(context: click.Context) -> None:
    """Refuse options that were given and that what is to be done does not read."""
    options = {str(each.name): each.opts[0] for each in context.command.params}
    given = [
        name
        for name in options
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    for reason, names in (
        ("only for --install-service", () if "install_service" in given else OF_A_SERVICE),
        ("not for --install-service", ("retry",) if "install_service" in given else ()),
        ("only for an update from URL", OF_AN_UPDATE if context.params["action"] else ()),
    ):
        if unread := [options[name] for name in given if name in names]:
            raise click.UsageError(f"{', '.join(unread)}: {reason}; leave that out")


def _install_service(texts: dict[str, str], folder: Path, as_json: bool) -> None:
    """Show the units, and then write them."""
    from edgenets.updates.service import write_units

    if as_json:
        print_json({str(folder / name): text for name, text in texts.items()})
    for name, text in texts.items() if not as_json else ():
        echo(f"# {folder / name}", *text.splitlines(), "")
    write_units(folder, texts)
    if not as_json:
        timer = next(name for name in texts if name.endswith(".timer"))
        echo(f"written; now run: systemctl daemon-reload && systemctl enable --now {timer}")


def _words(context: click.Context) -> list[str]:
    """Return the arguments and options that were given, but for those of this machine."""
    words = []
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params[str(parameter.name)]
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or value is None or name in ("device", "as_json"):
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif parameter.is_flag:  # type: ignore[attr-defined]
            words.append(f"--{value}" if name == "action" else parameter.opts[0])
        else:
            words += [parameter.opts[0], str(value)]
    return words


def _show_boards(boards: list[BoardUpdate], as_json: bool) -> None:
    """Show one table of the boards; that one failed is the command's failure."""
    if as_json:
        print_json([board.to_json() for board in boards])
    else:
        print_table(("board", "model", ">release", ">fetched", ""), map(_board_row, boards))
    if failed := [board for board in boards if board.error]:
        raise EdgenetsError(f"{len(failed)} of {len(boards)} boards failed; the others are done")


def _board_row(board: BoardUpdate) -> tuple[str, ...]:
    if board.error:
        return (board.device, "-", "-", "-", board.error)
    state = ", ".join(filter(None, [board.action, "not confirmed" * bool(board.pending)]))
    fetched = format_bytes(board.downloaded_bytes)
    return (board.device, board.model or "-", str(board.number or "-"), fetched, state)


def _show(status: UpdateStatus, as_json: bool, done: str) -> None:
    if as_json:
        print_json(status.to_json())
        return
    if status.path is None:
        echo("no model is installed")
        return
    if status.release is None:
        echo(f"{status.path} is damaged; edgenets update URL installs a release anew")
    else:
        echo(f"{status.release.model} {status.release.number}{done}: {status.path}")
    if pending := status.pending:
        minutes, allowed = pending["seconds"] / 60, pending["seconds_allowed"] / 60
        is_over = pending["seconds"] > pending["seconds_allowed"]
        echo(
            "not confirmed yet: {starts} of {starts_allowed} starts, ".format(**pending)
            + f"{minutes:.{0 if allowed >= 10 else 2}f} of {allowed:g} minutes; "
            + (
                "its time is over: the next update or start goes back to the model before"
                if is_over
                else "edgenets update --confirm keeps it"
            )
        )
    for row in status.left:
        echo(f"release {row['number']} was left: {row['reason']}")


def _done(record: UpdateRecord) -> str:
    return {
        "installed": f" installed, {format_bytes(record.downloaded_bytes)} fetched",
        "current": " is the newest for this board",
        "waiting": " waits to be confirmed; nothing was fetched",
    }[record.action]
