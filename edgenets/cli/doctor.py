"""`edgenets doctor`: what is installed, what works, what is missing for which command."""

from __future__ import annotations

from typing import Any

import click

from edgenets.cli.options import DeviceName, json_option, patience_option
from edgenets.cli.output import echo, print_json, print_table
from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import LOCAL, Device, Emulated
from edgenets.export.devices.emulator import DISK_MB, DOWNLOAD_MB
from edgenets.export.devices.environments import DISK_MB as VERIFY_DISK_MB
from edgenets.export.devices.environments import DOWNLOAD_MB as VERIFY_DOWNLOAD_MB
from edgenets.export.targets import RPI4
from edgenets.progress import say

DEFAULT_EMULATED = Emulated(str(RPI4.cpu))


@click.command()
@click.argument("device", type=DeviceName(), default="local", metavar="[DEVICE]")
@click.option(
    "--setup-emulator",
    is_flag=True,
    help=f"Set the emulated ARM board up in the cache: {DOWNLOAD_MB} MB of downloads, {DISK_MB} MB "
    "on disk.",
)
@click.option(
    "--setup-verify",
    is_flag=True,
    help="Set TOSA's reference model and MediaPipe Tasks up for `edgenets verify`, each in an "
    f"environment of its own in the cache: {VERIFY_DOWNLOAD_MB} MB of downloads, {VERIFY_DISK_MB} "
    "MB on disk.",
)
@patience_option()
@json_option
def command(
    device: Device, setup_emulator: bool, setup_verify: bool, patience: float | None, as_json: bool
) -> None:
    """Show what is installed, what works, and how to get the rest.

    DEVICE is local (this machine, the default), ssh://[user@]host[:port], or emulated:CPU. Exit
    status 1 means that something that is installed does not work.
    """
    from edgenets.export.devices.doctor import examine

    if setup_emulator:
        from edgenets.export.devices.emulator_setup import set_up

        say(f"the emulated board is in {set_up().folder}")
        device = DEFAULT_EMULATED if device == LOCAL else device
    if setup_verify:
        from edgenets.export.devices import environments

        say(f"what verify asks is in {environments.set_up()}")
    report = examine(device, patience_seconds=patience)
    if as_json:
        print_json(report)
    else:
        print_report(report)
    if report["broken"]:
        raise EdgenetsError(f"{', '.join(report['broken'])}: installed, but not as needed")


def print_report(report: dict[str, Any]) -> None:
    """Print what was found, what each command lacks, and the commands that help."""
    findings = report["findings"]
    print_table(
        (report["device"], "version", "state"),
        [(row["name"], row["version"], row["state"]) for row in findings],
    )
    if report["commands"]:
        print_table(
            ("command", "ready", "missing"),
            [
                (row["command"], "yes" if row["ready"] else "no", ", ".join(row["missing"]))
                for row in report["commands"]
            ],
        )
    fixes: dict[str, list[str]] = {}
    for row in findings:
        if row["fix"]:
            note = f" ({row['note']})" if row["note"] else ""
            fixes.setdefault(row["fix"], []).append(f"{row['name']}{note}")
        elif row["note"]:
            echo(f"{row['name']}: {row['note']}")
    for fix, names in fixes.items():
        echo(f"{', '.join(names)}:", f"    {fix}")
