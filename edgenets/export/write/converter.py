"""TensorFlow's converter: its compiled half in a child process, what it raises as sentences.

The converter ends the process on some nets, without a word. So what is compiled in it runs in
`edgenets.export.write.converter_child`; what needs the rest of TensorFlow stays here.
"""

from __future__ import annotations

import atexit
import functools
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from edgenets.errors import EdgenetsError
from edgenets.export.write import converter_child
from edgenets.export.write.converter_child import FORGET

LONGEST_REASON = 200  # characters of what the converter said
# Of the quantizer: operators without an integer form.
UNQUANTIZED = re.compile(r"not yet supported for op: '(\w+)'")
# How tf_keras and Keras 3 (in bold) quote what the code of a layer raised.
RAISED = re.compile(r"(?m)(?<=\x1b\[1m)[^\x1b]+|^\s*\w+Error: .+(?:\n[^\n]*\S)*")
CHATTER = re.compile(r"[IWE]\d{4}|WARNING")  # how TensorFlow's log lines begin


class ConverterDied(Exception):
    """The child process ended in the middle of its work; the text says how."""


@contextmanager
def converting(model: Any, number_format: str, graph: Any) -> Iterator[None]:
    """Let whatever TensorFlow's converter does be done in a child process.

    Args:
        model: that is converted, for messages.
        number_format: name of the file's.
        graph: that the model was traced to; tells which layer an operator is of.

    Raises:
        EdgenetsError: the converter raised an exception, or ended its process.
    """
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        with converter_in_a_child():
            yield
    except ConverterDied as error:
        raise EdgenetsError(
            f"TensorFlow's converter {error} on {model.name} in {number_format}; it cannot write "
            "every layer, recurrent ones for example: replace such layers, or try another format"
        ) from error
    except ConverterError as error:
        missing = sorted({_missing(each, model) for each in error.errors if each.operator.name})
        if not missing:
            raise _refusal(model, number_format, error) from error
        raise EdgenetsError(
            f"TFLite has no operator for {', '.join(missing)} of {model.name}; let the model "
            "compute it in another way"
        ) from error
    except (RuntimeError, ValueError, TypeError) as error:
        if not (found := UNQUANTIZED.search(str(error))):
            raise _refusal(model, number_format, error) from error
        kind = found[1].replace("_", "")
        paths = [op.name for op in graph.get_operations() if op.type.upper() == kind]
        raise EdgenetsError(
            f"the converter cannot write {found[1]}{_of_layer(paths, model)}, which {model.name} "
            f"has, in {number_format}; export it in another format"
        ) from error


def in_short(error: Exception) -> str:
    """Return what an exception says as one line; of Keras, what the layer itself raised.

    >>> in_short(ValueError("in user code:\\n\\n  TypeError: no\\n  axis\\n\\nCall arguments"))
    'TypeError: no axis'
    """
    said = f"{type(error).__name__}: {error}"
    said = " ".join((RAISED.findall(said) or [said])[-1].split())
    return said if len(said) <= LONGEST_REASON else f"{said[:LONGEST_REASON]}..."


@contextmanager
def valid_scopes(model: Any) -> Iterator[None]:
    """Let the model and its layers have names that TensorFlow takes, while the block runs.

    Keras allows blanks and letters beyond ASCII, which become underscores.
    """
    with ExitStack() as restored:
        for layer in model._flatten_layers():
            if (name := valid_name(layer.name)) != layer.name:
                attribute = "_name" if hasattr(layer, "_name") else "name"  # of tf_keras, Keras 3
                restored.callback(setattr, layer, attribute, layer.name)
                setattr(layer, attribute, name)
        yield


def valid_name(name: str) -> str:
    """Return a name as TensorFlow takes it.

    >>> valid_name("my model (final)"), valid_name("Blätter"), valid_name("_stem")
    ('my_model__final_', 'Bl_tter', 'x_stem')
    """
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name, flags=re.ASCII)
    return name if name[:1].isalnum() else f"x{name}"


def _missing(error: Any, model: Any) -> str:
    """Return operator and layer of the converter's record of an error."""
    paths = [call.name for call in error.location.call if call.name]
    return f"{error.operator.name.removeprefix('tf.')}{_of_layer(paths, model)}"


def _of_layer(paths: list[str], model: Any) -> str:
    """Return the layer in the path of an operation, in brackets; nothing where it is not known.

    TensorFlow tells scopes of one name apart by a number behind them.
    """
    layers = {valid_name(layer.name) for layer in model._flatten_layers(include_self=False)}
    for part in reversed("/".join(paths[:1]).split("/")):
        for name in (part, re.sub(r"_\d+$", "", part)):
            if name in layers:
                return f" (layer {name})"
    return ""


def _refusal(model: Any, number_format: str, error: Exception) -> EdgenetsError:
    return EdgenetsError(
        f"the converter cannot write {model.name} in {number_format} ({in_short(error)}); export "
        "it in another format"
    )


@contextmanager
def converter_in_a_child() -> Iterator[None]:
    """Let whatever TensorFlow's converter, calibrator and quantizer do be done in a child process.

    It is started when it is first needed, and stays for the next conversion: to load what is
    compiled takes as long as to convert a small net.
    """
    from tensorflow.compiler.mlir.lite.python import wrap_converter
    from tensorflow.compiler.mlir.quantization.tensorflow.python import py_function_lib
    from tensorflow.lite.python.optimize import (
        _pywrap_tensorflow_lite_calibration_wrapper as calibration,
    )
    from tensorflow.lite.python.optimize import calibrator

    converter = wrap_converter._pywrap_converter_api
    functions = py_function_lib.pywrap_function_lib
    paths = (module.__file__ for module in (converter, calibration, functions))
    child = _child(converter_child.__file__, *paths)
    with child.lent(), ExitStack() as replaced:
        for module, name, path in (
            (wrap_converter, "_pywrap_converter_api", converter.__file__),
            (calibrator, "_calibration_wrapper", calibration.__file__),
        ):
            replaced.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, _Remote(child, Path(path).stem))
        yield


@functools.cache
def _child(*command: str) -> _Child:
    child = _Child(*command)
    atexit.register(child.stop)
    return child


class _Child:
    """A process that answers requests, one conversion after the other."""

    def __init__(self, *command: str) -> None:
        self._command = (sys.executable, "-I", *command)
        # Without a buffer: the child writes where this process sets the place.
        self._said: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - kept
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the block ask. The process outlives it, unless it ends in an exception."""
        if self._process is not None and self._process.poll() is not None:  # by Ctrl-C, for one
            self.stop()
        self._said.seek(0)
        self._said.truncate()
        try:
            yield
            if self._process is not None:
                with suppress(ConverterDied):  # it has answered all that counts
                    self.ask("", FORGET, ())
        except BaseException:  # amid an answer, perhaps
            self.stop()
            raise

    def stop(self) -> None:
        """End the process; the next request starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def ask(self, holder: str, name: str, arguments: tuple[Any, ...]) -> Any:
        """Return what the function `name` of `holder` returns there.

        Raises:
            RuntimeError: it raises an exception.
            ConverterDied: the process ended.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            pickle.dump((holder, name, arguments), stdin)
            stdin.flush()
            returned, raised = pickle.load(stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise ConverterDied(self._ending()) from error
        if raised is not None:
            raise RuntimeError(raised)
        return returned

    def _ending(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        said = [line for line in lines if line.strip() and not CHATTER.match(line)]
        return f"ended {how}" + (f" ({said[-1].strip()[:LONGEST_REASON]})" if said else "")


class _Remote:
    """A module or object of the child process: its functions run there."""

    def __init__(self, child: _Child, holder: str) -> None:
        self._child, self._holder = child, holder

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if name == "Convert":  # whose last argument, an object without content, stays here
                arguments = arguments[:-1]
            returned = self._child.ask(self._holder, name, arguments)
            return _Remote(self._child, "calibrator") if name == "CalibrationWrapper" else returned

        return call
