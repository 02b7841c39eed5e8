"""The compiled half of TensorFlow's converter, in a process of its own, which it may end.

Run by its path with those of extension modules of TensorFlow. They are loaded without the rest of
TensorFlow, which takes a tenth of the time. Requests, `(holder, function, arguments)`, are pickled
on stdin; answers, `(returned, raised)`, on what was stdout: `raised` is the text of an exception.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

FORGET = "forget"
"""The request after a conversion: nothing of it is needed any longer."""


def main(*paths: str) -> None:
    """Answer requests until stdin ends; a holder is a module, by its name, or the calibrator."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at once, even amid compiled code
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        holders = {module.__name__: module for module in map(_load, paths)}
        while True:
            try:
                holder, name, arguments = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            if name == FORGET:
                holders.pop("calibrator", None)
                arguments = calibrated = ()
                pickle.dump((None, None), answers)
                answers.flush()
                continue
            if name == "Convert":  # whose last argument cannot be pickled, and has no content
                arguments = (*arguments, holders["pywrap_function_lib"].PyFunctionLibrary())
            returned, raised = _call(getattr(holders[holder], name), arguments)
            if name == "CalibrationWrapper":  # an object, which stays here
                holders["calibrator"], returned = returned, None
                calibrated = arguments  # noqa: F841 - a file that it reads but does not own
            pickle.dump((returned, raised), answers)
            answers.flush()


def _call(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, str | None]:
    try:
        return function(*arguments), None
    except Exception as error:  # of any kind: it is raised again where it can be understood
        return None, str(error)


def _load(path: str) -> Any:
    """Load an extension module by its path, without the packages that it is in."""
    loader = ExtensionFileLoader(Path(path).stem, path)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
