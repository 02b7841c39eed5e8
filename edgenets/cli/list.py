"""`edgenets list`: the published variants of the nets."""

from __future__ import annotations

import textwrap

import click

from edgenets.cli.options import json_option
from edgenets.cli.output import echo, print_json, print_table
from edgenets.models.npu_cycles import MOST_MACS, MOST_PARAMS, NPUS
from edgenets.progress import say
from edgenets.units import format_count, parse_count
from edgenets.verbs.nets import SORT_KEYS, Variants, variants

# docs/evidence/photographs.md has the measurements.
START = (
    ("a few hundred, for a Pi 4 or less", "mobilenet_v1 width=0.25 resolution=128"),
    ("the same, more accurate and 22 times the work", "mobilenet_v2 resolution=224"),
)
"""Where to start with photographs: what for, and the net."""


class Count(click.ParamType):
    """A number of parameters or MACs, such as 2.5M."""

    name = "count"

    def convert(
        self, value: str, param: click.Parameter | None, context: click.Context | None
    ) -> int:
        """Return the number, or fail with a sentence."""
        try:
            return parse_count(value)
        except ValueError:
            self.fail(f"expected a number such as 2.5M or 300k, got {value!r}", param, context)


@click.command()
@click.option("--family", metavar="NAME", help="Only the nets of one family, such as MobileNet.")
@click.option("--max-params", type=Count(), help="Only nets of at most so many parameters.")
@click.option("--max-macs", type=Count(), help="Only nets of at most so many MACs, such as 100M.")
@click.option(
    "--sort",
    type=click.Choice(list(SORT_KEYS)),
    help="Smallest first; by top1: most accurate first.  [default: by family]",
)
@click.option(
    "--target",
    type=click.Choice(NPUS),
    help="Fewest cycles on this Arm Ethos-U first, as Vela estimates them.",
)
@json_option
def command(
    family: str | None,
    max_params: int | None,
    max_macs: int | None,
    sort: str | None,
    target: str | None,
    as_json: bool,
) -> None:
    """Show the nets, what they cost, and how accurate they are.

    Parameters and MACs are those of 1,000 classes; top-1 is the published accuracy on ImageNet.
    Below stands which net to start with for photographs of your own.
    """
    chosen = variants(
        family=family, max_params=max_params, max_macs=max_macs, sort=sort, target=target
    )
    if as_json:
        print_json(chosen.to_json())
    elif chosen:
        _print_variants(chosen)
        echo("", "Where to start with photographs of your own:")
        for purpose, net in START:
            echo(f"  {purpose}: {net}")
    else:
        say("no net is as small as that; edgenets list --sort params begins with the smallest")


def _print_variants(variants: Variants) -> None:
    rows: list[list[str | list[str]]] = [
        [
            v.name,
            # Folded so that the table fits a terminal of 80 columns.
            textwrap.wrap(" ".join(f"{name}={value}" for name, value in v.arguments.items()), 20),
            *variants.figures_of(v),
        ]
        for v in variants
    ]
    print_table(("net", "arguments", *variants.figures), rows, variants.title)
    if variants.target and not all(variant.cycles for variant in variants):
        echo(
            f"-: no estimate, over {format_count(MOST_PARAMS)} parameters or "
            f"{format_count(MOST_MACS)} MACs: large for microcontrollers"
        )
    for name, family, source in dict.fromkeys((v.name, v.family, v.source) for v in variants):
        echo(*textwrap.wrap(f"{name} ({family}): {source}", 80, subsequent_indent="  "))
