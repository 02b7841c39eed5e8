"""A `.tflite` file and what is done with it: `File`. Nothing here needs TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import DELEGATES, KERNELS, MAX_RUNS
from edgenets.export.devices.device import Device, parse_device
from edgenets.export.measure.defaults import MIN_RUNS, MIN_SECONDS, MOST_THREADS, THREADS
from edgenets.results.accuracy import Evaluation, Prediction, Predictions
from edgenets.results.benchmark import Benchmark, FailedBenchmark
from edgenets.results.inspection import Inspection
from edgenets.results.models import ExportRecord, PackRecord
from edgenets.results.result import html_table
from edgenets.results.verification import Verification
from edgenets.units import format_bytes
from edgenets.verbs.arguments import (
    PathOrName,
    Size,
    bounded_memory,
    devices_of,
    labels_of,
    measured_devices,
    optional_path,
    require_one_of,
    shown,
    source_of,
    speaking_python,
    texts_of,
    whole_number,
)

if TYPE_CHECKING:
    from edgenets.data.input_range import Range

SPLITS = ("test", "all")


@dataclass(frozen=True)
class File:
    """A `.tflite` file, edgenets' or not.

    ```python
    file = en.load("photos.tflite")          # or en.File("photos.tflite"), which reads nothing yet
    file.evaluate("photos").top1
    ```

    Attributes:
        path: of the file, which is read anew by each verb.
        record: what was verified when it was written here; None for a file that was there.
    """

    path: Path
    record: ExportRecord | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Take a `str` as a path, too, and one that holds in any working directory."""
        object.__setattr__(self, "path", Path(self.path).absolute())

    @property
    def content(self) -> bytes:
        """The bytes of the file.

        Raises:
            EdgenetsError: it cannot be read.
        """
        from edgenets.files import read_bytes

        return read_bytes(self.path)

    @speaking_python()
    def evaluate(
        self,
        data: PathOrName,
        *,
        device: str | Device = "local",
        kernels: str = "xnnpack",
        split: str = "test",
        labels: Sequence[str] | PathOrName | None = None,
        input_range: Range | None = None,
        patience: float | None = None,
        max_bytes: Size | None = None,
    ) -> Evaluation:
        """Measure the accuracy on a dataset's test images.

        ```python
        file.evaluate("photos").top1
        file.evaluate("photos", device="ssh://pi@raspberrypi.local").here
        ```

        Args:
            data: folder with test/CLASS/*.jpg or CLASS/*.jpg, or the word "digits".
            device: where the file runs: "local", "ssh://[user@]host[:port]" or "emulated:CPU".
            kernels: of the interpreter: "xnnpack", as it takes them by itself, "optimized", or
                "reference", as which microcontrollers answer.
            split: "test", or "all" for every image, those to train with too.
            labels: of a file that holds none: themselves, or a text file with one a line.
            input_range: what the file takes for black and for white, if it does not say that.
            patience: seconds after which a device that says nothing is given up.
            max_bytes: memory that a file may take, such as "2GiB".

        Raises:
            EdgenetsError: the file, the images or the device cannot be used, or do not fit.
        """
        require_one_of("split", split, SPLITS)
        require_one_of("kernels", kernels, tuple(KERNELS))
        from edgenets.export.measure.accuracy import evaluate_file

        with bounded_memory(max_bytes):
            result = evaluate_file(
                self.path,
                source_of(data),
                device=parse_device(device),
                kernels=kernels,
                everything=split == "all",
                labels=labels_of(labels),
                input_range=input_range,
                patience_seconds=patience,
            )
        return Evaluation.from_json(result)

    @speaking_python()
    def predict(
        self,
        *images: PathOrName,
        top: int = 5,
        csv: PathOrName | None = None,
        labels: Sequence[str] | PathOrName | None = None,
        input_range: Range | None = None,
        patience: float | None = None,
        max_bytes: Size | None = None,
    ) -> Predictions:
        """Name what is in images.

        ```python
        file.predict("holiday.jpg").label
        [(one.path, one.label) for one in file.predict("holidays", "more/*.jpg")]
        ```

        Args:
            images: files, folders for the images in them and below, or patterns.
            top: how many classes are wanted of each image, likeliest first.
            csv: file to write a row for each image and class to, too.
            labels, input_range, patience, max_bytes: as for `evaluate`.

        Returns:
            One prediction for each image; of a single image, `label` and `score` are its own.

        Raises:
            EdgenetsError: the file cannot be used, or there is no image. One that cannot be read
                has `error`, and the others are classified.
        """
        if not images:
            raise EdgenetsError("there is no image to classify; pass files, folders or patterns")
        if several := [each for each in images if not isinstance(each, str | PathLike)]:
            raise EdgenetsError(f"images must be paths, got {several[0]!r}; of a list pass *images")
        top = whole_number("top", top, 1)
        from edgenets.export.measure.predict import find_images, predict_files, write_csv
        from edgenets.files import check_output

        found = find_images([Path(image) for image in images])
        table = optional_path(csv)
        if table is not None:
            label_file = [Path(labels)] if isinstance(labels, str | PathLike) else []
            check_output(table, [self.path, *found, *label_file], option="--csv")
        with bounded_memory(max_bytes):
            predictions = predict_files(
                self.path,
                found,
                top,
                labels=labels_of(labels),
                input_range=input_range,
                patience_seconds=patience,
            )
        if table is not None:
            write_csv(table, predictions)
        return Predictions(map(Prediction.from_json, predictions))

    @speaking_python()
    def verify(
        self,
        data: PathOrName | None = None,
        *,
        images: int | None = None,
        runtime: Sequence[str] | str = (),
        device: Sequence[str | Device] | str | Device = (),
        against: File | PathOrName | None = None,
        client: str | None = None,
        labels: Sequence[str] | PathOrName | None = None,
        input_range: Range | None = None,
        patience: float | None = None,
        max_bytes: Size | None = None,
    ) -> Verification:
        """Compare what the file answers in every runtime, on the same images.

        ```python
        file.verify("photos").first_difference
        file.verify("photos", device="emulated:cortex-a72").runtimes[-1].bit_equal
        ```

        Args:
            data: whose test images are taken; without, images of noise, always the same.
            images: how many, evenly spread; by default 64, and for a client all.
            runtime: of "reference", "optimized", "xnnpack", "tflm" and "tosa"; by default all that
                are at hand.
            device: boards, too: "emulated:CPU" or "ssh://[user@]host[:port]".
            against: another file, compared with this one in the reference kernels, or in the one
                `runtime`.
            client: "mediapipe" lets MediaPipe Tasks classify the image files of `data` instead.
            labels, input_range, patience, max_bytes: as for `evaluate`.

        Raises:
            EdgenetsError: the file or the images cannot be used, what was asked for by name is not
                at hand, or nothing runs the file. A runtime that dies of it has `problem`.
        """
        from edgenets.verbs.verifying import verify

        return verify(
            self.path,
            None if data is None else source_of(data),
            images=images,
            runtimes=texts_of(runtime),
            devices=devices_of(device),
            against=against.path if isinstance(against, File) else optional_path(against),
            client=client,
            labels=labels_of(labels),
            input_range=input_range,
            patience=patience,
            max_bytes=max_bytes,
        )

    @speaking_python()
    def inspect(self, *, target: str | None = None, svg: PathOrName | None = None) -> Inspection:
        """Return what is in the file: operators, weights, memory, and what limits it on a target.

        ```python
        file.inspect().ops                                   # {"CONV_2D": 14, ...}
        file.inspect(target="coral").target["limits"]        # sentences
        ```

        Args:
            target: say what limits the file there, such as "rpi4" or "coral".
            svg: file to draw the graph into.

        Raises:
            EdgenetsError: the file is damaged or no TFLite model, or the target is unknown.
        """
        from edgenets.export.inspect.inspection import draw_inspection, inspect_file
        from edgenets.files import check_output

        drawing = optional_path(svg)
        if drawing is not None:
            check_output(drawing, [self.path], option="--svg")
        inspection = inspect_file(self.path, target)
        if drawing is not None:
            draw_inspection(inspection, self.path.name, drawing)
        return inspection

    @overload
    def benchmark(
        self,
        *,
        device: str | Device = "local",
        setup: bool = False,
        threads: int = THREADS,
        min_seconds: float = MIN_SECONDS,
        min_runs: int = MIN_RUNS,
        vs: File | PathOrName | None = None,
        delegate: str | None = None,
        per_op: bool = False,
        patience: float | None = None,
    ) -> Benchmark: ...

    @overload
    def benchmark(
        self,
        *,
        device: list[str | Device] | list[str] | tuple[str | Device, ...],
        setup: bool = False,
        threads: int = THREADS,
        min_seconds: float = MIN_SECONDS,
        min_runs: int = MIN_RUNS,
        vs: File | PathOrName | None = None,
        delegate: str | None = None,
        per_op: bool = False,
        patience: float | None = None,
    ) -> list[Benchmark | FailedBenchmark]: ...

    @speaking_python()
    def benchmark(
        self,
        *,
        device: str | Device | Sequence[str | Device] = "local",
        setup: bool = False,
        threads: int = THREADS,
        min_seconds: float = MIN_SECONDS,
        min_runs: int = MIN_RUNS,
        vs: File | PathOrName | None = None,
        delegate: str | None = None,
        per_op: bool = False,
        patience: float | None = None,
    ) -> Benchmark | list[Benchmark | FailedBenchmark]:
        """Measure latency and peak memory, here or on a board.

        ```python
        file.benchmark(device="ssh://pi@raspberrypi.local").latency_ms.median
        ```

        Args:
            device: "local", "ssh://[user@]host[:port]", or "emulated:CPU", which counts the
                instructions of a cortex-a53, -a72 or -a76; or a list, for several at once.
            setup: install NumPy and an interpreter on the board first.
            threads: of the interpreter.
            min_seconds: that the timed inferences take, at least.
            min_runs: timed inferences, at least.
            vs: another file to compare with, in turn.
            delegate: "edgetpu" for a Coral device.
            per_op: measure what each operator takes, too.
            patience: seconds after which a device that says nothing is given up.

        Returns:
            What was measured; of a list of devices one result for each, in their order.

        Raises:
            EdgenetsError: the file is damaged, or the device cannot be used. One of several devices
                that fails is a `FailedBenchmark`.
        """
        from edgenets.export.measure.benchmark import benchmark_file, benchmark_on_devices

        if delegate is not None:
            require_one_of("delegate", delegate, tuple(DELEGATES))
        threads = whole_number("threads", threads, 1, MOST_THREADS)
        min_runs = whole_number("min_runs", min_runs, 1, MAX_RUNS)
        if not (isinstance(min_seconds, Real) and 0 <= min_seconds < inf):
            raise EdgenetsError(f"min_seconds must be 0 or more, and finite, got {min_seconds!r}")
        devices = measured_devices(device, setup=setup)
        other = vs.path if isinstance(vs, File) else optional_path(vs)
        settings: dict[str, Any] = {
            "threads": threads,
            "min_seconds": min_seconds,
            "min_runs": min_runs,
            "versus": other,
            "delegate": delegate,
            "setup": setup,
            "per_op": per_op,
            "patience_seconds": patience,
        }
        if isinstance(device, str | Device):
            return benchmark_file(self.path, device=devices[0], **settings)
        return benchmark_on_devices(self.path, devices, **settings)

    @speaking_python()
    def pack(self, out: PathOrName, *, base: PathOrName | None = None) -> PackRecord:
        """Write the file as a small package, exactly recoverable by `en.unpack`.

        ```python
        file.pack("photos.epk").out_bytes
        file.pack("update.epk", base="photos_before.tflite").base_sha256
        ```

        Args:
            out: the package, replaced if it exists.
            base: an older `.tflite`, which the package then holds the changes of: it takes less,
                and is unpacked where that file is.

        Raises:
            EdgenetsError: a file cannot be read or is no `.tflite`, or the package cannot be
                written.
        """
        from edgenets.verbs.packing import pack_file

        return pack_file(self.path, Path(out), optional_path(base))

    def _repr_html_(self) -> str:
        rows = [("file", shown(self.path))]
        if self.path.is_file():
            rows.append(("size", format_bytes(self.path.stat().st_size)))
        if self.record:
            rows += [("format", self.record.format), ("target", self.record.target)]
            rows += [("note", note) for note in self.record.notes]
        return html_table(("", ""), rows)


def load_file(path: Path) -> File:
    """Return a `.tflite` file that is one.

    Raises:
        EdgenetsError: it cannot be read, or is no TFLite model.
    """
    from edgenets import flatbuffer
    from edgenets.quantize.package.header import MAGIC

    file = File(path)
    content = file.content
    if content.startswith(MAGIC):
        raise EdgenetsError(
            f"{path} is a package; write its file first: en.unpack({str(path)!r}, ...)"
        )
    flatbuffer.read(content, str(path))
    return file


@speaking_python()
def unpack(
    package: PathOrName,
    out: PathOrName,
    *,
    base: PathOrName | None = None,
    max_bytes: Size | None = None,
) -> File:
    """Write the file that a package holds, byte for byte, and return it.

    ```python
    en.unpack("photos.epk", "photos.tflite").predict("holiday.jpg").label
    ```

    Args:
        package: that `File.pack` wrote.
        out: the `.tflite`, replaced if it exists; it appears only if its SHA-256 is the original's.
        base: the `.tflite` that a package of changes was made with.
        max_bytes: memory that the file may take, such as "2GiB".

    Raises:
        EdgenetsError: a file cannot be read, the package is damaged or needs another base, or the
            file cannot be written.
    """
    from edgenets.verbs.packing import unpack_file

    file = File(Path(out))
    with bounded_memory(max_bytes):
        unpack_file(Path(package), file.path, optional_path(base))
    return file
