"""`edgenets export`: a `.tflite` file from a model folder, or from a Keras file that is trusted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgenets.cli.options import (
    data_option,
    json_option,
    max_bytes_option,
    out_option,
    parse_range,
    seed_option,
    usage_errors,
)
from edgenets.cli.output import echo, print_json, print_table
from edgenets.data.images import FITS, Fit
from edgenets.data.splits import CALIBRATION_IMAGES
from edgenets.errors import EdgenetsError
from edgenets.export.ends import CLIENTS, ENDS
from edgenets.export.formats import FORMATS
from edgenets.export.targets import ACCELERATORS, TARGETS, Target, compiled_targets
from edgenets.progress import say
from edgenets.units import format_bytes, format_ms, format_percent

MEMORIES = {"flash": "flash", "dram": "DRAM", "sram": "SRAM"}
LONGEST = 5
"""Steps of a compiled file that are shown."""


def _names(targets: Iterable[Target]) -> str:
    return ", ".join(row.name for row in targets)


EDGE_TPU, ETHOS_U = (", ".join(compiled_targets(kind)) for kind in ("edge_tpu", "ethos_u"))
MICRO = _names(row for row in TARGETS.values() if row.micro)


@click.command()
@click.argument("model", metavar="MODEL_DIR", type=click.Path(path_type=Path))
@click.option(
    "--target",
    default="generic",
    show_default=True,
    type=click.Choice(list(TARGETS)),
    help="Device that the file is for: "
    + "; ".join(f"{row.name}: {row.device}" for row in TARGETS.values())
    + ".",
)
@click.option(
    "--format",
    type=click.Choice(list(FORMATS)),
    help="Numbers of the file: "
    + "; ".join(f"{row.name}: {row.meaning}" for row in FORMATS.values())
    + ". By default the target's first, int8, or fp32 where a pruned net runs faster so "
    + f"({_names(row for row in TARGETS.values() if row.prefers_sparse)}).",
)
@data_option(
    "Images (of DATA/train), or the word digits, to calibrate "
    + " and ".join(row.name for row in FORMATS.values() if row.needs_calibration)
    + " with and to compare any file with its model on; int8 of a folder that `edgenets compress` "
    "made needs none."
)
@click.option(
    "--calibration-images",
    default=CALIBRATION_IMAGES,
    show_default=True,
    metavar="N",
    type=click.IntRange(min=1),
    help="How many of them.",
)
@seed_option("Chooses the calibration images.")
@click.option(
    "--keep-float",
    multiple=True,
    metavar="PATTERN",
    help="Compute layers of such names, as 'stage4_*', in float32 in an int8 file; repeatable.",
)
@click.option(
    "--ends",
    type=click.Choice(list(ENDS)),
    help="Take and give such numbers, whatever the file computes with: uint8 are the camera's "
    "bytes.  [default: as the format says]",
)
@click.option("--float-ends", is_flag=True, help="The same as --ends float.")
@click.option("--softmax", is_flag=True, help="Give probabilities instead of logits.")
@click.option(
    "--client",
    type=click.Choice(list(CLIENTS)),
    help="Program that the file is for, whose ends it gets, and probabilities: "
    + "; ".join(f"{row.name}: {row.program}" for row in CLIENTS.values())
    + ".",
)
@click.option(
    "--names/--no-names",
    default=None,
    help="Keep the tensors' names, which other tools show and ask for, or leave them out to save "
    "some KiB.  [default: kept in fp32 and for "
    + _names(row for row in TARGETS.values() if row.names)
    + "]",
)
@click.option(
    "--compile",
    is_flag=True,
    help=f"For {EDGE_TPU}: also run Google's edgetpu_compiler, which writes FILE_edgetpu.tflite; "
    f"for {ETHOS_U}: Arm's Vela, which writes FILE_vela.tflite.",
)
@click.option(
    "--allow-cpu-ops",
    is_flag=True,
    help="Keep a compiled file of which a part runs on the CPU.",
)
@click.option(
    "--system-config",
    metavar="NAME",
    help="With --compile for an Ethos-U: the clock and memories that Vela's estimates are of.  "
    "[default: the target's]",
)
@click.option(
    "--memory-mode",
    metavar="NAME",
    help="With --compile for an Ethos-U: what is stored in which memory.  [default: the target's]",
)
@click.option(
    "--vela-config",
    metavar="FILE.ini",
    type=click.Path(path_type=Path),
    help="With --compile for an Ethos-U: file that has these, such as the maker of a board gives.  "
    "[default: Vela's own]",
)
@click.option(
    "--tables/--no-tables",
    default=True,
    show_default=True,
    help=f"For {MICRO}: store kernels of few values by lookup tables where that saves flash; it "
    "takes memory and time.",
)
@click.option(
    "--trust-source",
    is_flag=True,
    help="Take a .keras or .h5 file in place of MODEL_DIR: loading it RUNS CODE that it holds.",
)
@click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Labels of a Keras file, one a line.",
)
@click.option(
    "--input-range",
    callback=parse_range,
    metavar="LOW..HIGH",
    help="What a Keras file's model takes for black and white.  [default: -1..1]",
)
@click.option(
    "--fit",
    type=click.Choice(FITS),
    default="crop",
    show_default=True,
    help="How a Keras file's model saw pictures as squares: the centre cut out, the whole "
    "squeezed, or the whole with a border.",
)
@click.option(
    "--resize",
    metavar="PIXELS",
    type=click.IntRange(min=1),
    help="Short side that its pictures had before their centre was cut out.  [default: the usual "
    "for its size]",
)
@out_option(
    "FILE.tflite",
    f"File to write; one that is there is replaced. For {MICRO} a folder with it and C++ sources.",
)
@max_bytes_option
@json_option
def command(
    model: Path,
    target: str,
    keep_float: tuple[str, ...],
    compile: bool,
    allow_cpu_ops: bool,
    system_config: str | None,
    memory_mode: str | None,
    vela_config: Path | None,
    tables: bool,
    trust_source: bool,
    labels: Path | None,
    input_range: tuple[float, float] | None,
    fit: Fit,
    resize: int | None,
    out: Path,
    as_json: bool,
    **settings: Any,
) -> None:
    """Write a model folder as a .tflite file.

    The file takes images as its format says (int8: `pixel - 128`; int16x8: [-1, 1] in steps of
    1/32767; the others: [-1, 1] in float32), gives logits, and holds its labels and image
    preparation. For a target the net is written in the operators that run fastest there. The file
    is written only if it passes its checks; FILE.tflite.json says what was verified.

    A .keras or .h5 file of your own is taken with --trust-source and --labels.
    """
    from edgenets.results.models import ExportRecord
    from edgenets.verbs.exporting import check_export
    from edgenets.verbs.model import Model
    from edgenets.verbs.others import KERAS_SUFFIXES, export_model

    if settings["data"] is None:
        _refuse_options_of_data(click.get_current_context())
    compiled_with: dict[str, Any] = {
        "compile": compile,
        "allow_cpu_ops": allow_cpu_ops,
        "system_config": system_config,
        "memory_mode": memory_mode,
        "vela_config": vela_config,
        "tables": tables,
    }
    with usage_errors():  # before the model is read
        accelerator = check_export(target, **compiled_with).accelerator
    settings |= {"target": target, **compiled_with}
    if model.suffix in KERAS_SUFFIXES and not model.is_dir():
        if not model.exists():
            raise EdgenetsError(f"there is no file {model}; pass a model folder or a Keras file")
        if not trust_source:
            raise EdgenetsError(
                f"loading {model} runs code that it may hold; if you trust where it comes from, "
                "pass --trust-source"
            )
        if labels is None:
            raise click.UsageError(f"{model} does not name its classes; pass --labels FILE")
        if keep_float:
            raise click.UsageError("--keep-float is for a model folder")
        if input_range is None:
            say("taken for a model of pixels from -1 to 1; if not, pass --input-range LOW..HIGH")
        settings |= {"input_range": input_range, "fit": fit, "resize": resize, "trust_source": True}
        with usage_errors():
            record = export_model(model, out, labels, **settings).record
    else:
        if labels or input_range is not None or fit != "crop" or resize or trust_source:
            raise click.UsageError(
                "--labels, --input-range, --fit, --resize and --trust-source are for a .keras or "
                ".h5 file: a model folder says itself what they say"
            )
        with usage_errors():
            record = Model.load(model).export(out, keep_float=keep_float, **settings).record
    assert isinstance(record, ExportRecord)
    result = record.to_json()
    if as_json:
        print_json(result)
        return
    fidelity, images = result["fidelity"], result["fidelity_images"]
    stored = ", kernels stored sparsely" if result["sparse"] else ""
    echo(f"{out}: {result['format']}{stored}, {format_bytes(result['size_bytes'])}")
    if result["codes"]:
        echo(result["codes"])
    if result["kept_float"]:
        echo(f"kept float: {', '.join(result['kept_float'])}")
    for note in result["notes"]:
        echo(f"note: {note}")
    if fidelity:
        compared = f"{fidelity['samples']} {images} images"
        if images == "calibration":
            compared = f"same answer on {format_percent(fidelity['agreement'])} of {compared}"
        else:
            compared = f"on {compared}"
        figure = f"{fidelity['compared']} at {fidelity['snr_db']:.1f} dB"
        echo(f"{figure} from the Keras model's, {compared}")
    if "mcu" in result:
        _print_firmware(result["mcu"])
    if "compiled" in result:
        compiled = result["compiled"]
        (_print_npu if accelerator == "ethos_u" else _print_edge_tpu)(compiled)
        _print_left(ACCELERATORS[str(accelerator)], compiled)


def _refuse_options_of_data(context: click.Context) -> None:
    """Refuse options that were given and choose images, where there are none."""
    for name in ("calibration_images", "seed"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} chooses images of --data; pass both")


def _print_npu(compiled: dict[str, Any]) -> None:
    estimates = compiled["estimates"]
    used = {key: name for key, name in MEMORIES.items() if estimates[f"{key}_bytes"]}
    memories = ", ".join(
        f"{format_bytes(estimates[f'{key}_bytes'])} of {name}" for key, name in used.items()
    )
    echo(
        f"{compiled['path']}: {compiled['mapped_ops']} operators on the Ethos-U, "
        f"{compiled['cpu_ops']} on the CPU",
        f"estimates of Vela, not measured, for {compiled['system_config']} and "
        f"{compiled['memory_mode']}: {estimates['cycles']:,} cycles, "
        f"{format_ms(estimates['ms'])} at {estimates['clock_hz'] / 1e6:g} MHz; "
        f"{format_bytes(estimates['weight_stream_bytes'])} of weight stream, {memories}",
    )
    longest = sorted(compiled["layers"], key=lambda layer: -layer["cycles"])[:LONGEST]
    print_table(
        ("layer", ">cycles", ">computing", *(f">{name}" for name in used.values())),
        (
            (
                *(layer["name"] or layer["step"], f"{layer['cycles']:,}"),
                *(f"{layer[f'{key}_cycles']:,}" for key in ("npu", *used)),
            )
            for layer in longest
        ),
        f"the {len(longest)} longest of {len(compiled['layers'])} steps, estimated",
    )


def _print_firmware(firmware: dict[str, Any]) -> None:
    tables, estimated = firmware["tables"], firmware["arena_is_estimate"]
    echo(
        f"flash: {firmware['flash_bytes']:,} bytes; arena: {firmware['arena_bytes']:,} bytes"
        + (" (an estimate)" if estimated else "")
        + f"; operators: {', '.join(firmware['operators'])}"
    )
    if tables["kernels"]:
        echo(
            f"{tables['kernels']} kernels by lookup tables; without: flash "
            f"{tables['flash_bytes_without']:,} bytes, arena {tables['arena_bytes_without']:,}"
        )
    if not estimated:
        echo(
            f"TFLM {firmware['runtime']} answers as LiteRT's reference kernels on "
            f"{firmware['bit_equal']} of {firmware['images']} images, bit for bit"
        )


def _print_edge_tpu(compiled: dict[str, Any]) -> None:
    echo(
        f"{compiled['path']}: {compiled['mapped_ops']} operators on the Edge TPU, "
        f"{compiled['cpu_ops']} on the CPU; parameters: "
        f"{format_bytes(compiled['on_chip_bytes'] or 0)} on chip, "
        f"{format_bytes(compiled['off_chip_bytes'] or 0)} sent for every inference"
    )


def _print_left(accelerator: str, compiled: dict[str, Any]) -> None:
    rows = [row for row in compiled["table"] if row["on_cpu"] or row["predicted_on_cpu"]]
    if rows:
        print_table(
            ("operator", f">{accelerator}", ">CPU", ">CPU predicted", "why"),
            (
                (
                    row["op"],
                    *(str(row[key]) for key in ("mapped", "on_cpu", "predicted_on_cpu")),
                    "; ".join(row["reasons"]),
                )
                for row in rows
            ),
        )
