"""The verbs of whole runs and of models of others: `run` and `export_model`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenets.data.splits import CALIBRATION_IMAGES
from edgenets.errors import EdgenetsError
from edgenets.results.report import Report
from edgenets.verbs.arguments import (
    PathOrName,
    Size,
    labels_of,
    optional_path,
    source_of,
    speaking_python,
    texts_of,
)
from edgenets.verbs.exporting import write_file
from edgenets.verbs.file import File

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgenets.data.images import Fit
    from edgenets.export.targets import Target
    from edgenets.export.write.checked_file import Compile

KERAS_SUFFIXES = (".keras", ".h5")


@speaking_python()
def run(
    config: PathOrName | None = None,
    *,
    set: Mapping[str, Any] | Sequence[str] = (),
    out: PathOrName | None = None,
    log_dir: PathOrName | None = None,
) -> Report:
    """Train, compress, export, benchmark and report, as a config says.

    ```python
    report = en.run("config.yaml", set={"train.epochs": 5}, out="runs/photos")
    report.reduction.stored_vs_float
    ```

    Run again with the same folder, it finishes what is missing and repeats nothing.

    Args:
        config: a YAML file; without one it is done on the built-in handwritten digits.
        set: keys of the config and their values, or texts such as "train.epochs=5".
        out: the run folder; by default runs/ and the config's name, or runs/digits.
        log_dir: folder for TensorBoard's events.

    Raises:
        EdgenetsError: a key is unknown, the images or settings do not fit, `out` holds another
            config's run or is in use, or a stage failed; finished stages are kept.
    """
    from edgenets.pipeline.config import require_runnable
    from edgenets.pipeline.config_file import load_config

    path = optional_path(config)
    if isinstance(set, Mapping):
        set = [f"{key}={json.dumps(value, default=str)}" for key, value in set.items()]
    assignments = texts_of(set)
    settings = load_config(path, assignments)
    require_runnable(settings)
    from edgenets.pipeline.run import run as run_stages

    folder = Path("runs", path.stem if path else "digits") if out is None else Path(out)
    return run_stages(settings, folder, optional_path(log_dir))


@speaking_python()
def export_model(
    model: Any,
    out: PathOrName,
    labels: Sequence[str] | PathOrName,
    *,
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None,
    data: PathOrName | None = None,
    target: str = "generic",
    format: str | None = None,
    calibration_images: int = CALIBRATION_IMAGES,
    seed: int = 0,
    input_range: tuple[float, float] | None = None,
    resize: int | None = None,
    fit: Fit = "crop",
    ends: str | None = None,
    float_ends: bool = False,
    softmax: bool = False,
    client: str | None = None,
    names: bool | None = None,
    compile: bool = False,
    allow_cpu_ops: bool = False,
    system_config: str | None = None,
    memory_mode: str | None = None,
    vela_config: PathOrName | None = None,
    tables: bool = True,
    trust_source: bool = False,
    max_bytes: Size | None = None,
) -> File:
    """Write a Keras model of any origin as a checked `.tflite` file.

    ```python
    file = en.export_model(model, "mine.tflite", labels, images=images, input_range=(0, 255))
    file.predict("holiday.jpg").label
    ```

    Args:
        model: a Keras 3 or tf_keras image classifier, functional or sequential, from float32 RGB
            `[batch, size, size, 3]` to logits or probabilities `[batch, classes]`; or a .keras or
            .h5 file of one, with `trust_source`.
        out: the file, replaced if it exists; beside it stands what was verified, as JSON. For mcu
            a folder, in which they stand with C++ sources.
        labels: of the classes in the order of the outputs, or a text file with one a line. Of a
            model that gives one sigmoid, two: the second is what it is the probability of.
        images: some of the model's images, uint8 `[images, size, size, 3]` or a list of such, to
            calibrate integers with and to compare file and model on.
        data: a folder of images, or the word "digits", in place of `images`.
        target: device that the file is for, such as "rpi4" or "coral".
        format: "int8", "int16x8", "fp16", "dynamic" or "fp32"; by default the target's first.
        calibration_images: how many of `data`.
        seed: chooses them.
        input_range: what the model takes for black and for white; by default -1 and 1.
        resize: short side that an image is scaled to before its centre is cut out.
        fit: how the model's pictures became square: "crop", "stretch" (as Keras'
            `image_dataset_from_directory` does) or "pad".
        ends: what the file takes and gives: "float", "int8" or "uint8", the camera's bytes; by
            default as its format says.
        float_ends: the same as ends="float".
        softmax: give probabilities instead of logits.
        client: program that the file is for, such as "mediapipe": its ends, and probabilities.
        names: whether tensors keep their names; by default as target and format say.
        compile: for coral, run Google's edgetpu_compiler, too; for an Ethos-U Arm's Vela.
        allow_cpu_ops: keep a compiled file of which a part runs on the CPU.
        system_config, memory_mode: of an Ethos-U, names of what Vela's estimates are of; by
            default as the target says.
        vela_config: file with these, such as the board's maker gives; by default Vela's own.
        tables: for mcu, store kernels by lookup tables where that saves flash.
        trust_source: load a file, which RUNS CODE that it holds.
        max_bytes: memory that a file may take, such as "2GiB".

    Raises:
        EdgenetsError: the model is none of these, or the file failed its checks.
    """
    if images is not None and data is not None:
        raise EdgenetsError("pass images or data, not both")
    is_file = isinstance(model, str | Path)
    if is_file and not trust_source:
        raise EdgenetsError(
            f"loading {model} runs code that it may hold; if you trust where it comes from, "
            "pass trust_source"
        )
    from edgenets.export.ends import choose_ends

    path = Path(out)
    chosen = choose_ends(ends, float_ends=float_ends, softmax=softmax, client=client)
    label_file = Path(labels) if isinstance(labels, str | PathLike) else None

    def write(row: Target, compile_for: Compile | None) -> dict[str, Any]:
        from edgenets.data.input_range import CENTRED
        from edgenets.pipeline.one_step import export_foreign

        return export_foreign(
            Path(model) if is_file else model,
            path,
            labels_of(labels, distinct=True) or (),
            format,
            None if data is None else source_of(data),
            calibration_images,
            seed,
            CENTRED if input_range is None else input_range,
            row,
            chosen,
            names,
            tables,
            images=images,
            resize=resize,
            fit=fit,
            inputs=[label_file] if label_file else [],
            compile_for=compile_for,
        )

    return write_file(
        write,
        path,
        target,
        format=format,
        calibration_images=calibration_images,
        compile=compile,
        allow_cpu_ops=allow_cpu_ops,
        system_config=system_config,
        memory_mode=memory_mode,
        vela_config=vela_config,
        tables=tables,
        client=chosen.client,
        max_bytes=max_bytes,
    )
