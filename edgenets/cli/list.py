"""`edgenets list`: the published variants of the nets."""

from __future__ import annotations

import textwrap

import click

from edgenets.cli.output import json_option, print_json, print_table
from edgenets.errors import unknown_name
from edgenets.models.variants import VARIANTS
from edgenets.units import format_count, format_percent


@click.command()
@click.option("--family", metavar="NAME", help="Only the nets of one family, such as MobileNet.")
@json_option
def command(family: str | None, as_json: bool) -> None:
    """Show the nets, what they cost, and how accurate they are.

    Parameters and MACs are those of 1,000 classes; top-1 is the published accuracy on ImageNet.
    """
    families = {variant.family.lower(): variant.family for variant in VARIANTS}
    if family and family.lower() not in families:
        raise unknown_name("family", family, families.values())
    chosen = [v for v in VARIANTS if not family or v.family.lower() == family.lower()]
    if as_json:
        print_json([{**v._asdict(), "family": v.family} for v in chosen])
        return
    rows = [
        (
            v.name,
            # Folded so that the table fits a terminal of 80 columns.
            textwrap.fill(" ".join(f"{name}={value}" for name, value in v.arguments.items()), 20),
            str(v.resolution),
            format_count(v.params),
            format_count(v.macs),
            format_percent(v.top1_published),
        )
        for v in chosen
    ]
    print_table(("net", "arguments", ">px", ">params", ">MACs", ">top-1"), rows)
    for name, source in dict.fromkeys((v.name, v.source) for v in chosen):
        click.echo(textwrap.fill(f"{name}: {source}", 80, subsequent_indent="  "))
