"""`edgenets list`: the published variants of the nets."""

from __future__ import annotations

import click

from edgenets.cli.output import json_option, print_json, print_table
from edgenets.errors import unknown_name
from edgenets.models.variants import VARIANTS
from edgenets.units import format_count, format_percent


@click.command()
@click.option("--family", metavar="NAME", help="Only the nets of one family, such as MobileNet.")
@json_option
def command(family: str | None, as_json: bool) -> None:
    """Show the nets: cost at 1,000 classes, published ImageNet accuracy, source."""
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
            " ".join(f"{name}={value}" for name, value in v.arguments.items()),
            str(v.resolution),
            format_count(v.params),
            format_count(v.macs),
            format_percent(v.top1_published),
            v.source,
        )
        for v in chosen
    ]
    columns = ("net", "arguments", ">resolution", ">parameters", ">MACs", ">top-1", "source")
    print_table(columns, rows)
