"""The report of a run as one HTML page that needs nothing but itself: no network, no script."""

from __future__ import annotations

import shlex
from functools import cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.measure.accuracy import commonest_class, commonest_confusions
from edgenets.export.report.charts import curve_charts, operator_chart, size_accuracy_chart
from edgenets.export.report.values import check_report
from edgenets.files import read_json, write_bytes
from edgenets.packages import missing_package
from edgenets.progress import printable
from edgenets.quantize.sizes.accounting import LABELS as SIZE_LABELS
from edgenets.results.verification import VERIFY_CELLS, verify_lines, verify_rows
from edgenets.units import (
    ALEXNET_BYTES,
    format_bytes,
    format_count,
    format_interval,
    format_ms,
    format_percent,
    format_seconds,
    format_shape,
)

try:
    import jinja2
    import yaml
except ImportError as error:
    raise missing_package(error.name or "jinja2") from error

FOLDER = Path(__file__).parent
MAX_MATRIX_CLASSES = 25
"""Beyond, the weakest classes and the commonest confusions stand in for the confusion matrix."""
MAX_ROWS = 20
"""Of the weakest classes, the commonest confusions and the files left out."""

STAGE_MEANINGS = {
    "train": "float32 network",
    "slim": "fewer channels",
    "prune": "smallest weights to zero",
    "share": "few integers per kernel",
    "qat": "trained as int8 will round",
    "int8": "all integers, in LiteRT",
    "rate": "integers that take few bytes, in LiteRT",
    "near": "integers near a base's, in LiteRT",
    "export": "int8 file, in LiteRT",
}


def load_report(run_dir: Path) -> dict[str, Any]:
    """Read the report of a finished run.

    Raises:
        EdgenetsError: `run_dir` holds no report.json, or one that lacks a key or has a value that
            is not finite or out of range.
    """
    path = run_dir / "report.json"
    if not path.is_file():
        raise EdgenetsError(
            f"{run_dir} has no report.json; run `edgenets run ... --out {run_dir}` to the end first"
        )
    report: dict[str, Any] = read_json(path)
    check_report(report, path)
    return report


def write_html(report: dict[str, Any], run_dir: Path) -> Path:
    """Write the page as `run_dir`/report.html and return its path."""
    path = run_dir / "report.html"
    # Names of files that are no text in any encoding are shown escaped.
    write_bytes(path, render_html(report).encode(errors="backslashreplace"))
    return path


def render_html(report: dict[str, Any]) -> str:
    """Return the page of a report; equal reports give equal pages.

    Texts are shown as `printable` shows them: a label may hold what turns the direction of writing.
    """
    report = all_printable(report)
    stages = report["stages"]
    float32, int8 = stages[0], stages[-1]
    ops = report["benchmark"].get("ops", [])  # none, if the run did not ask for them
    return open_template("report.html.j2").render(
        report=report,
        float32=float32,
        int8=int8,
        difference=_difference(float32, int8),
        commonest=commonest_class(report["per_class"]),
        stage_meanings=STAGE_MEANINGS,
        size_labels=SIZE_LABELS,
        chart=size_accuracy_chart(stages),
        learned={s["name"]: curve_charts(s["history"]) for s in stages if s["history"]},
        mistakes=groupby(report["mistakes"], key=itemgetter("label")),
        operators=operator_chart(ops),
        costliest=sorted(filter(itemgetter("resolved"), ops), key=itemgetter("ms"), reverse=True),
        has_matrix=len(report["confusion"]) <= MAX_MATRIX_CLASSES,
        weakest=_weakest_classes(report["per_class"]),
        confusions=commonest_confusions(report["confusion"], MAX_ROWS),
        max_rows=MAX_ROWS,
        runtime_columns=tuple(VERIFY_CELLS),
        runtime_rows=verify_rows(report["verify"]["runtimes"]),
        runtime_lines=verify_lines(report["verify"]["runtimes"]),
        commands=_commands(report),
        config=yaml.safe_dump(report["config"], sort_keys=False, allow_unicode=True),
        alexnet_bytes=ALEXNET_BYTES,
    )


def all_printable(value: Any) -> Any:
    """Return a JSON value whose texts, keys too, are printable."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {all_printable(key): all_printable(item) for key, item in value.items()}
        case list():
            return [all_printable(item) for item in value]
    return value


@cache
def open_template(name: str, folder: Path = FOLDER) -> jinja2.Template:
    """Return the template of a page in `folder`, which can include what is in the report's."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": format_bytes,
        "count": format_count,
        "interval": format_interval,
        "percent": format_percent,
        "shape": format_shape,
        "seconds": format_seconds,
        "ms": format_ms,
        "thousands": "{:,}".format,
    }
    return environment.get_template(name)


def _difference(float32: dict[str, Any], int8: dict[str, Any]) -> str:
    """Say how far the int8 file's accuracy is from the float network's, in images and points."""
    gained = int8["top1"] - float32["top1"]
    images = round(gained * int8["samples"])
    if images == 0:
        return "the same as float32"
    noun = "image" if abs(images) == 1 else "images"
    more_or_fewer = "more" if images > 0 else "fewer"
    return f"{abs(images)} {noun} {more_or_fewer} than float32 ({100 * abs(gained):.2f} points)"


def _weakest_classes(per_class: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tested = [row for row in per_class if row["samples"]]
    return sorted(tested, key=lambda row: row["top1"])[:MAX_ROWS]


def _commands(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (command, what it does), to be given in the run folder."""
    source, benchmark = report["config"]["data"]["source"], report["config"]["benchmark"]
    images = (
        "the test images"
        if source == "digits"
        else "the images that it was tested on, or all if the folder has changed"
    )
    return [
        ("edgenets run config.yaml --out ../again", "all of this again, from the images"),
        (f"edgenets evaluate model.tflite --data {shlex.quote(source)}", f"accuracy on {images}"),
        ("edgenets predict model.tflite IMAGE.jpg", "what is in an image"),
        (
            f"edgenets benchmark model.tflite --threads {benchmark['threads']} "
            f"--min-seconds {benchmark['min_seconds']:g}",
            "latency, on the machine it is given on",
        ),
        ("edgenets unpack model.epk --out model.tflite", "the int8 file out of its package"),
        ("edgenets report .", "this page again, from report.json"),
    ]
