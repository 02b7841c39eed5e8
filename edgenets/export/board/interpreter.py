"""The interpreters of `.tflite` files that are installed, and a file that is open in one."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .machine import ms_since, np
from .microcontroller import MicroInterpreter
from .protocol import DELEGATES, KERNELS, NEEDS_NUMPY_1, TFLM, TFLM_PACKAGE, RunnerError

# Distribution -> package, in order of preference.
RUNTIMES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime"}
INPUT_DTYPES = ("float32", "int8", "uint8", "int16")
"""That random inputs are made in."""
SEED = 0


class Runtime(NamedTuple):
    """An installed interpreter of `.tflite` files."""

    name: str
    version: str
    interpreter: Any  # the class, or what makes one


def load_runtime(kernels: str | None = None) -> Runtime:
    """Import the preferred interpreter: ai-edge-litert's if it is there, else tflite-runtime's.

    Args:
        kernels: `TFLM` for the interpreter of microcontrollers; all others have the same one.

    Raises:
        RunnerError: none can be imported, or NumPy does not fit it.
    """
    if np is None:
        raise RunnerError("NumPy cannot be imported; run: pip install numpy ai-edge-litert")
    if kernels == TFLM:
        interpreter = partial(MicroInterpreter, load_runtime().interpreter)
        return Runtime(TFLM_PACKAGE, _version(TFLM_PACKAGE), interpreter)
    failures = []
    for name, package in RUNTIMES.items():
        if name == "tflite-runtime" and _major(np.__version__) >= 2 and _is_there(package):
            raise RunnerError(  # the import would end in a traceback of C code
                f"{NEEDS_NUMPY_1}, and {np.__version__} is installed; run: "
                "pip install 'numpy<2', or where it exists: pip install ai-edge-litert"
            )
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError as error:
            failures.append(f"{name}: {error}")
        else:
            return Runtime(name, _version(name), module.Interpreter)
    raise RunnerError(
        f"no interpreter for .tflite files can be imported ({'; '.join(failures)}); run: "
        "pip install ai-edge-litert, or on armv7: pip install tflite-runtime 'numpy<2'"
    )


def load_other_runtimes(preferred: str) -> list[Runtime]:
    """Import the interpreters that are installed beside the preferred one and fit NumPy."""
    found = []
    for name, package in RUNTIMES.items():
        fits = name != "tflite-runtime" or _major(np.__version__) < 2
        if name != preferred and fits and _is_there(package):
            module = importlib.import_module(f"{package}.interpreter")
            found.append(Runtime(name, _version(name), module.Interpreter))
    return found


def refusal(runtime: Runtime, name: str, error: Exception) -> str:
    """Return the sentence for what an interpreter raised."""
    if isinstance(error, MemoryError):
        return (
            f"there is not enough memory for {name} in {runtime.name} {runtime.version}; "
            "end other programs there, or take a smaller net"
        )
    reason = " ".join(str(error).split()).rstrip(".")
    return (
        f"{runtime.name} {runtime.version} cannot run {name}: {reason}; "
        "export it again, or for another target"
    )


@contextmanager
def refusals(runtime: Runtime, name: str) -> Iterator[None]:
    """Turn what an interpreter raises inside the block into a `RunnerError`."""
    try:
        yield
    except (ValueError, RuntimeError, MemoryError) as error:
        raise RunnerError(refusal(runtime, name, error)) from error


class OpenFile:
    """An open file, its inputs filled.

    Args:
        name: of the file, for messages.
        path: of the file.
        request: its `threads`, `delegate` and `kernels`.
        fills: whether its inputs are filled, as is needed to run it.

    Attributes:
        load_ms: to open the file and reserve its tensors.

    Raises:
        RunnerError: the interpreter or the delegate refuses the file.
    """

    def __init__(
        self, name: str, path: str, request: dict[str, Any], *, fills: bool = True
    ) -> None:
        self.name = name
        kernels = request.get("kernels")
        self.runtime = load_runtime(kernels)
        delegates = load_delegates(self.runtime, request.get("delegate"))
        start = time.perf_counter_ns()
        with refusals(self.runtime, name):
            self.interpreter = self.runtime.interpreter(
                **_source(path),
                num_threads=request.get("threads", 1),
                experimental_delegates=delegates,
                **_resolver(self.runtime, kernels),
            )
            self.interpreter.allocate_tensors()
            self.load_ms = ms_since(start)
            if fills:
                self._fill()

    def time(self) -> float:
        """Run once; return the milliseconds."""
        start = time.perf_counter_ns()
        try:
            self.interpreter.invoke()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise RunnerError(refusal(self.runtime, self.name, error)) from error
        return ms_since(start)

    def set_input(self, value: Any) -> None:
        """Fill the network's one input with an array of its shape, without the batch."""
        with refusals(self.runtime, self.name):
            (tensor,) = self.interpreter.get_input_details()
            self.interpreter.set_tensor(tensor["index"], value[np.newaxis])

    def outputs(self) -> list[Any]:
        """Return copies of the outputs."""
        with refusals(self.runtime, self.name):
            tensors = self.interpreter.get_output_details()
            return [self.interpreter.get_tensor(tensor["index"]) for tensor in tensors]

    def _fill(self) -> None:
        generator = np.random.default_rng(SEED)
        for tensor in self.interpreter.get_input_details():
            dtype, shape = np.dtype(tensor["dtype"]), tensor["shape"]
            if dtype.name not in INPUT_DTYPES:
                raise RunnerError(
                    f"{self.name} takes {tensor['name']!r} in {dtype}; a benchmark feeds random "
                    f"{', '.join(INPUT_DTYPES)}"
                )
            if dtype == np.float32:
                values = generator.uniform(-1, 1, shape).astype(dtype)
            else:
                limits = np.iinfo(dtype)
                values = generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
            self.interpreter.set_tensor(tensor["index"], values)


def _source(path: str) -> dict[str, Any]:
    """Return the file as an interpreter takes it: its content, if its name is no text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"model_content": Path(path).read_bytes()}
    return {"model_path": path}


def _resolver(runtime: Runtime, kernels: str | None) -> dict[str, Any]:
    """Return the kernels as an interpreter takes them; nothing where it is to choose."""
    resolver = KERNELS.get(kernels or "")
    if resolver is None:
        return {}
    module = importlib.import_module(f"{RUNTIMES[runtime.name]}.interpreter")
    return {"experimental_op_resolver_type": module.OpResolverType[resolver]}


def load_delegates(runtime: Runtime, name: str | None) -> list[Any]:
    """Return the delegate of a row of `DELEGATES` in a list; of None an empty one.

    Raises:
        RunnerError: it cannot be loaded.
    """
    if name is None:
        return []
    library = DELEGATES[name]
    module = importlib.import_module(f"{RUNTIMES[runtime.name]}.interpreter")
    try:
        return [module.load_delegate(library)]
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or "no device answers"
        raise RunnerError(
            f"the delegate {name} ({library}) cannot be loaded: {reason}; "
            "install libedgetpu1-std, plug the device in, or measure without --delegate"
        ) from error


def describe_runtime(runtime: Runtime, request: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says of the interpreter."""
    return {
        "name": runtime.name,
        "version": runtime.version,
        "delegate": request.get("delegate"),
        "numpy": np.__version__,
    }


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # a module without a specification, as tests make them
        return sys.modules.get(package) is not None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # copied to the board without its metadata
        return "unknown"


def _major(version: str) -> int:
    return int(version.split(".")[0])
