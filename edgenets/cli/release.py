"""`edgenets release`: a repository of signed releases, which boards update from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgenets.cli.options import Command, data_option, json_option
from edgenets.cli.output import echo, print_json, print_table
from edgenets.units import format_bytes, format_interval, format_percent
from edgenets.updates.defaults import ROLES, TIMESTAMP_DAYS

if TYPE_CHECKING:
    from edgenets.results.updates import Release, ReleaseListing

COLUMNS = ("model", ">release", ">file", ">package", "for", ">top-1", ">95 % interval", ">devices")


@click.group()
def command() -> None:
    """Sign models for boards, in a folder for any web server.

    A USB stick will do, too. The metadata follow The Update Framework (TUF). Keys stay in a folder
    of their own.
    """


def repository_argument(function: Command) -> Command:
    """Add the folder of the repository; the command's parameter is `folder`."""
    return click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))(function)


def keys_option(*, required: bool = False) -> Callable[[Command], Command]:
    """Return the `--keys` option; the command's parameter is `keys`."""
    return click.option(
        "--keys",
        required=required,
        metavar="KEYS",
        type=click.Path(path_type=Path),
        help="Folder of the keys, not in DIR." + " [default: EDGENETS_KEYS]" * (not required),
    )


model_option = click.option("--model", required=True, metavar="NAME", help="Name of the model.")


@command.command()
@repository_argument
@keys_option(required=True)
@click.option(
    "--root-keys",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 20),
    help="Keys of the root.",
)
@click.option(
    "--threshold",
    default=1,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 20),
    help="How many of them must sign a new root.",
)
@json_option
def init(folder: Path, keys: Path, root_keys: int, threshold: int, as_json: bool) -> None:
    """Make a repository without releases, and its keys."""
    from edgenets.verbs.releasing import Releases

    root = Releases(folder, keys).init(root_keys=root_keys, threshold=threshold)
    if as_json:
        print_json({"root": str(root)})
    else:
        echo(
            f"{folder}: a repository; its keys are in {keys}",
            f"copy {root} to each board, in a way that you trust; keep the root's keys offline",
        )


@command.command()
@repository_argument
@click.argument("file", metavar="FILE.tflite", type=click.Path(path_type=Path))
@model_option
@keys_option()
@data_option(
    "Images, as for evaluate: a few of them and their answers go with the release, and boards "
    "switch only if they answer the same.",
    name="--probes",
)
@click.option("--device-class", metavar="NAME", help="Of the devices that it is for.")
@click.option(
    "--runtime",
    multiple=True,
    metavar="RANGE",
    help="What may run it, such as 'ai-edge-litert>=2.1'; may be repeated.  [default: any]",
)
@click.option(
    "--percent",
    default=100,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 100),
    help="Share of the devices that get it; publish the same file again for more.",
)
@click.option(
    "--evaluation",
    metavar="FILE.json",
    type=click.Path(path_type=Path),
    help="Output of edgenets evaluate --json, whose top-1 the release states.",
)
@json_option
def publish(
    folder: Path,
    file: Path,
    model: str,
    keys: Path | None,
    probes: str | None,
    device_class: str | None,
    runtime: tuple[str, ...],
    percent: int,
    evaluation: Path | None,
    as_json: bool,
) -> None:
    """Release a .tflite file as the newest of a model."""
    from edgenets.verbs.releasing import Releases

    release = Releases(folder, keys).publish(
        file,
        model=model,
        probes=probes,
        device_class=device_class,
        runtime=runtime,
        percent=percent,
        evaluation=evaluation,
    )
    if as_json:
        print_json(release.to_json())
    else:
        deltas = [delta["size_bytes"] for delta in release.deltas]
        less = f" ({format_bytes(min(deltas))} from an earlier one)" if deltas else ""
        echo(
            f"{release.model} {release.number} released: "
            f"{format_bytes(release.package['size_bytes'])} to fetch{less}, "
            f"{release.percent} % of the devices"
        )


@command.command()
@repository_argument
@click.argument("number", type=click.IntRange(min=1))
@model_option
@keys_option()
@json_option
def yank(folder: Path, number: int, model: str, keys: Path | None, as_json: bool) -> None:
    """Take release NUMBER back: boards that have it go to the newest other one."""
    from edgenets.verbs.releasing import Releases

    releases = Releases(folder, keys)
    release = releases.yank(number, model=model)
    if as_json:
        print_json(release.to_json())
        return
    others = [each for each in releases.list().releases if each.model == model and not each.yanked]
    follows = (
        "boards that have it go to the newest other one"
        if others
        else "no other one is listed, so boards keep it until you publish another file"
    )
    echo(f"{model} {number} yanked: {follows}")


@command.command()
@repository_argument
@click.argument("role", type=click.Choice(ROLES))
@keys_option(required=True)
@click.option("--revoke", metavar="ID", help="How the old key's id begins, if there are several.")
@json_option
def rotate(folder: Path, role: str, keys: Path, revoke: str | None, as_json: bool) -> None:
    """Put a new key in the place of one of ROLE; boards refuse the old one from then on."""
    from edgenets.verbs.releasing import Releases

    old, new = Releases(folder, keys).rotate(role, revoke=revoke)
    if as_json:
        print_json({"role": role, "old": old, "new": new})
    else:
        echo(f"{role}: {new[:8]} in the place of {old[:8]}; the new key is in {keys}")


@command.command()
@repository_argument
@keys_option()
@click.option(
    "--days",
    default=TIMESTAMP_DAYS,
    show_default=True,
    metavar="N",
    type=click.IntRange(1, 3650),
    help="For which boards take the state for the newest.",
)
@json_option
def renew(folder: Path, keys: Path | None, days: int, as_json: bool) -> None:
    """Sign the metadata anew, before they expire."""
    from edgenets.verbs.releasing import Releases

    listing = Releases(folder, keys).renew(days=days)
    if as_json:
        print_json(listing.to_json())
    else:
        _show_expiry(listing)


@command.command("list")
@repository_argument
@json_option
def list_releases(folder: Path, as_json: bool) -> None:
    """Show the releases, and when the metadata expire."""
    from edgenets.verbs.releasing import Releases

    listing = Releases(folder).list()
    if as_json:
        print_json(listing.to_json())
        return
    print_table(COLUMNS, [_row(release) for release in listing.releases])
    _show_expiry(listing)


def _row(release: Release) -> tuple[str, ...]:
    return (
        release.model,
        str(release.number),
        format_bytes(release.size_bytes),
        format_bytes(release.package["size_bytes"]),
        release.device_class or "any",
        format_percent(release.top1),
        format_interval(release.ci95),
        "yanked" if release.yanked else f"{release.percent} %",
    )


def _show_expiry(listing: ReleaseListing) -> None:
    echo("signed until: " + ", ".join(f"{role} {end}" for role, end in listing.expires.items()))
