"""What a sweep found, as the docs have it: the file to take under each budget, and the front drawn.

    python benchmarks/sweep_front.py DIR [--budgets 25KB,50KB,100KB] [--picture FILE.svg]

DIR is the folder of a sweep, which need not be at its end. Under a budget of stored bytes that file
is taken than which none is surely more accurate, and of those the cheapest; beside it stands the
most accurate one, where that is another.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from edgenets.files import read_json
from edgenets.pipeline.sweep.front import front_of
from edgenets.results.sweep import common_arguments, net_words
from edgenets.units import format_bytes, format_count, format_interval, format_percent, parse_bytes

Row = Mapping[str, Any]
COST = "stored_bytes"
BUDGETS = "25KB,50KB,100KB"


def table(result: Mapping[str, Any], budgets: Sequence[int]) -> str:
    """Return the files to take as Markdown, a row for each target and budget."""
    rows = [row for row in result["trials"] if row["state"] == "finished"]
    common = common_arguments(result["trials"])
    lines = [
        "| target | at most | file | top-1 | stored | MACs | cycles | most accurate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for target in result["config"]["targets"]:
        for budget in budgets:
            within = [row for row in rows if row["target"] == target and row[COST] <= budget]
            lines.append(f"| {target} | {budget // 1000} KB | {_file(within, common)} |")
    return "\n".join(lines)


def _file(rows: Sequence[Row], common: Mapping[str, Any]) -> str:
    if not rows:
        return "none | | | | |"
    row, most = rows[front_of(rows, COST)[-1]], max(rows, key=lambda row: float(row["top1"]))
    cycles = "" if row["cycles"] is None else format_count(row["cycles"])
    return " | ".join(
        (
            f"{net_words(row, common)}, {row['recipe']}",
            f"{format_percent(row['top1'])} ({format_interval(row['ci95'])})",
            format_bytes(row[COST]),
            format_count(row["macs"]),
            cycles,
            "it" if most is row else f"{net_words(most, common)}: {format_percent(most['top1'])}",
        )
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy over stored bytes of the first target's files, with intervals and the front."""
    target = result["config"]["targets"][0]
    rows = [r for r in result["trials"] if r["state"] == "finished" and r["target"] == target]
    with rc_context({"svg.hashsalt": "edgenets", "font.size": 9}):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for net in dict.fromkeys(row["net"] for row in rows):
            own = [row for row in rows if row["net"] == net]
            top1 = [100 * row["top1"] for row in own]
            apart = [[100 * abs(row["top1"] - row["ci95"][end]) for row in own] for end in (0, 1)]
            sizes = [row[COST] / 1024 for row in own]
            axes.errorbar(sizes, top1, apart, fmt="o", markersize=4, linewidth=0.8, label=net)
        front = [rows[i] for i in front_of(rows, COST)]
        axes.step(
            [row[COST] / 1024 for row in front],
            [100 * row["top1"] for row in front],
            where="post",
            color="#444444",
            linewidth=1,
            label="the front",
        )
        axes.set_xscale("log")
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(f"KiB stored, for {target}")
        axes.set_ylabel("top-1 in %, with 95 % intervals")
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--budgets", default=BUDGETS)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    result = read_json(given.folder / "sweep.json")
    print(table(result, [int(parse_bytes(text)) for text in given.budgets.split(",")]))
    states = [row["state"] for row in result["trials"]]
    print("\n" + ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)))
    if given.picture:
        draw(result, given.picture)


if __name__ == "__main__":
    main()
