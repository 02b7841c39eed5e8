"""The runtimes that a `.tflite` file can be run in and compared: each in a process of its own.

A runtime takes a file's content and inputs, and returns outputs, or raises one sentence: whatever
it dies of, it takes nothing with it.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets import flatbuffer
from edgenets.data.loading import map_in_threads
from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import KERNELS, TFLM, TFLM_PACKAGE
from edgenets.export.devices import environments
from edgenets.export.devices.answers import SENT_BYTES, array_of
from edgenets.export.devices.device import LOCAL, Device
from edgenets.export.devices.opening import open_device
from edgenets.export.devices.program import run_program
from edgenets.export.devices.session import Session, array_bytes
from edgenets.export.measure.remote_classifier import sent_bytes
from edgenets.flatbuffer.sizes import tensor_bytes
from edgenets.packages import has_wheel, require_package

TOSA = environments.TOSA.name
RUNTIMES = (*KERNELS, TFLM, TOSA)
"""Of this machine, in the order in which they are compared: with the first one."""
MAX_SECONDS = 600.0
"""That a program of TOSA's tools may take, for one image where it runs the net."""


class Answers(NamedTuple):
    """What a runtime returned for some inputs."""

    outputs: list[NDArray[Any]]  # in the file's order, each [images, ...]
    package: str
    version: str


class Runtime(ABC):
    """Something that runs a `.tflite` file.

    Attributes:
        name: one of `RUNTIMES`, or of a device.
        sent_bytes: of inputs, or of outputs, at a time, at most.
    """

    name: str
    sent_bytes: int = SENT_BYTES

    @abstractmethod
    def _run(self, content: bytes, inputs: NDArray[Any]) -> Answers:
        """Run inputs that together are no more than `sent_bytes`."""

    def run(self, content: bytes, inputs: NDArray[Any]) -> Answers:
        """Run a file on inputs, one after the other.

        Args:
            content: of the file, which has one input of batch 1.
            inputs: [images, ...], without its batch, of its type.

        Raises:
            EdgenetsError: the runtime refuses the file or dies of it.
        """
        model = flatbuffer.read(content)
        image_bytes = max(
            sum(tensor_bytes(tensor) for tensor in side) for side in (model.inputs, model.outputs)
        )
        at_once = max(1, self.sent_bytes // max(1, image_bytes))
        parts = [
            self._run(content, inputs[start : start + at_once])
            for start in range(0, len(inputs), at_once)
        ]
        columns = zip(*(part.outputs for part in parts), strict=True)
        return parts[0]._replace(outputs=[np.concatenate(column) for column in columns])


class SessionRuntime(Runtime):
    """An interpreter in a session: of this machine, of a board, or of an emulated one.

    Args:
        name: of the kernels, or of the device.
        session: where it runs.
        kernels: of `KERNELS`, or `TFLM`; None: those that the interpreter there takes.
        file_name: what messages call the file.
    """

    def __init__(
        self, name: str, session: Session, kernels: str | None, file_name: str = "the file"
    ) -> None:
        self.name = name
        self.sent_bytes = sent_bytes(session)
        self._session, self._kernels, self._file_name = session, kernels, file_name

    def _run(self, content: bytes, inputs: NDArray[Any]) -> Answers:
        self._session.put(self._file_name, content)
        self._session.put("inputs", array_bytes(inputs))
        job = {"do": "run", "file": self._file_name, "inputs": "inputs"}
        (result,) = self._session.ask([job], kernels=self._kernels)
        promised = flatbuffer.read(content).outputs
        if len(result["outputs"]) != len(promised):
            raise EdgenetsError(f"{self.name} returned another number of outputs than the file has")
        outputs = [
            _by_image(array_of(output), len(inputs), tensor)
            for output, tensor in zip(result["outputs"], promised, strict=True)
        ]
        return Answers(outputs, result["runtime"]["name"], result["runtime"]["version"])


class TosaRuntime(Runtime):
    """TOSA's reference model: the file is converted to TOSA, and each image run by a program.

    Raises:
        EdgenetsError: its environment is not set up.
    """

    name = TOSA

    def __init__(self) -> None:
        environments.find_environment(environments.TOSA)

    def _run(self, content: bytes, inputs: NDArray[Any]) -> Answers:
        outputs = flatbuffer.read(content).outputs
        with tempfile.TemporaryDirectory(prefix="edgenets-") as folder:
            self._convert(content, Path(folder))
            rows = map_in_threads(
                lambda i: self._run_one(Path(folder), i, inputs[i], outputs),
                range(len(inputs)),
                largest_chunk=1,  # an image may take minutes, and Ctrl-C waits for what has begun
            )
        columns = [np.stack(column) for column in zip(*rows, strict=True)]
        return Answers(columns, *environments.version_of(environments.TOSA))

    def _convert(self, content: bytes, folder: Path) -> None:
        (folder / "net.tflite").write_bytes(content)
        self._tool("tosa-converter-for-tflite", "net.tflite", "--text", "-o", "net.mlir", at=folder)
        flag = "--tosa-serialize=tosa-flatbuffer-filename=net.tosa"
        self._tool("tosa-opt", "net.mlir", flag, "-o", "serialized.mlir", at=folder)
        if not (folder / "net.tosa").is_file():
            raise EdgenetsError("tosa-opt ended well and wrote no file; set it up anew")

    def _run_one(
        self, folder: Path, i: int, image: NDArray[Any], outputs: Sequence[flatbuffer.Tensor]
    ) -> list[NDArray[Any]]:
        np.save(folder / f"in{i}.npy", image[np.newaxis])
        names = [f"out{i}_{k}.npy" for k in range(len(outputs))]
        self._tool(
            "tosa_reference_model",
            *("--tosa_file=net.tosa", "--flatbuffer_dir=.", "--tosa_level=NONE"),
            *("--ifm_name=TosaInput_0", f"--ifm_file=in{i}.npy"),
            "--ofm_name=" + ",".join(f"TosaOutput_{k}" for k in range(len(outputs))),
            "--ofm_file=" + ",".join(names),
            at=folder,
        )
        arrays = []
        for name, output in zip(names, outputs, strict=True):
            try:
                array = np.load(folder / name, allow_pickle=False)
                (folder / name).unlink()
            except (OSError, ValueError, EOFError) as error:
                raise EdgenetsError(
                    f"TOSA's reference model ended well and wrote no array ({error})"
                ) from error
            arrays.append(_by_image(array, 1, output)[0])
        return arrays

    def _tool(self, name: str, *arguments: str, at: Path) -> None:
        command = [*environments.program(environments.TOSA, name), *arguments]
        try:
            ended = run_program(command, at, MAX_SECONDS)
        except OSError as error:
            raise EdgenetsError(f"{name} cannot be run: {error.strerror or error}") from error
        except subprocess.TimeoutExpired as error:
            raise EdgenetsError(f"{name} was stopped after {MAX_SECONDS:.0f} s") from error
        if ended.status:
            lines = ended.text.strip().splitlines()
            reasons = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
            reason = reasons[0].strip().rstrip(".")
            raise EdgenetsError(f"{name} ended with status {ended.status}: {reason}")


def open_runtimes(
    stack: ExitStack,
    names: Sequence[str],
    devices: Sequence[Device] = (),
    file_name: str = "the file",
    patience_seconds: float | None = None,
) -> tuple[list[Runtime], list[dict[str, str]]]:
    """Open the runtimes of this machine and of devices.

    Args:
        stack: closes what is opened.
        names: of `RUNTIMES`.
        devices: which.
        file_name: what messages call the file.
        patience_seconds: as for `open_device`.

    Returns:
        The runtimes, in the order of `RUNTIMES` and then of `devices`; and of those that are not at
        hand the name and the reason, which says how to get them.

    Raises:
        EdgenetsError: a device cannot be reached.
    """
    here = stack.enter_context(open_device(LOCAL, patience_seconds=patience_seconds))
    runtimes: list[Runtime] = []
    missing: list[dict[str, str]] = []
    for name in RUNTIMES:
        if name not in names:
            continue
        try:
            runtimes.append(_open(name, here, file_name))
        except EdgenetsError as error:
            missing.append({"name": name, "reason": str(error)})
    for device in devices:
        session = stack.enter_context(open_device(device, patience_seconds=patience_seconds))
        runtimes.append(SessionRuntime(device.name, session, None, file_name))
    return runtimes, missing


def images_within(most_macs: int, model: flatbuffer.Model, available: int) -> int:
    """Return how many images a net computes with so many multiply-adds; at least one."""
    macs = sum(model.macs(operator) for operator in model.operators)
    return max(1, min(available, most_macs // max(1, macs)))


def _open(name: str, here: Session, file_name: str) -> Runtime:
    if name == TOSA:
        return TosaRuntime()
    if name == TFLM:
        if not has_wheel(TFLM_PACKAGE):
            raise EdgenetsError(
                f"{TFLM_PACKAGE} is made for Linux on x86-64 alone; run `edgenets verify` there"
            )
        require_package(TFLM_PACKAGE)
    return SessionRuntime(name, here, name, file_name)


def _by_image(output: NDArray[Any], images: int, promised: flatbuffer.Tensor) -> NDArray[Any]:
    """Return [images, values] of an output that has those of all images along its first dimension.

    Raises:
        EdgenetsError: it is not what the file promises.
    """
    values = math.prod(promised.shape)
    if output.dtype != promised.dtype or output.size != images * values:
        raise EdgenetsError(
            f"it returned {output.dtype} of {output.shape} for {images} images, where the file "
            f"promises {promised.dtype} of {promised.shape} for each"
        )
    return output.reshape(images, values)
