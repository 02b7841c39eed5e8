"""A new file is tried on the board: inputs with the answers that its release expects.

It is opened in a process of its own, which may die of it. Integers that the runtime of the release
gives must be equal to the last bit; other answers may differ by the tolerance that it states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.export.devices.answers import array_of
from edgenets.export.devices.local import LocalSession
from edgenets.export.devices.session import array_bytes
from edgenets.updates.probe_files import read_probes


def check_probes(path: Path, contents: Sequence[bytes], promised: Mapping[str, Any] | None) -> None:
    """Open a file in a process of its own, and compare its answers; without probes it runs once.

    Args:
        path: of the `.tflite`.
        contents: of the files of the release's probes; none: it has no probes.
        promised: what the release says of them.

    Raises:
        EdgenetsError: the file does not open, its process dies, or an answer is another one.
    """
    if promised is None:
        run(path, None)
        return
    inputs, expected = read_probes(contents)
    outputs, runtime = run(path, inputs)
    if outputs.shape != expected.shape or outputs.dtype != expected.dtype:
        raise EdgenetsError(
            f"it returns {outputs.dtype} of {outputs.shape} where the release expects "
            f"{expected.dtype} of {expected.shape}"
        )
    exact = is_integer(expected) and runtime == promised["runtime"]
    tolerance = 0.0 if exact else promised["tolerance"]
    if not (found := difference(outputs, expected)) <= tolerance:
        raise EdgenetsError(
            f"its answers differ by {found:g} from those of the release, where "
            f"{tolerance:g} is allowed in {runtime['name']} {runtime['version']}"
        )


def run(
    path: Path, inputs: NDArray[Any] | None, kernels: str | None = None
) -> tuple[NDArray[Any], dict[str, str]]:
    """Return a file's outputs, [n, ...], and the name and version of the runtime.

    Raises:
        EdgenetsError: the interpreter refuses the file, or its process dies or says nothing.
    """
    with LocalSession() as session:
        session.put(path.name, path)
        job: dict[str, Any] = {"do": "run", "file": path.name, "runs": 1}
        if inputs is not None:
            session.put("inputs", array_bytes(inputs))
            job = {"do": "run", "file": path.name, "inputs": "inputs"}
        (result,) = session.ask([job], kernels=kernels)
    runtime = {key: result["runtime"][key] for key in ("name", "version")}
    return array_of(result["outputs"][0]), runtime


def difference(outputs: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference between two outputs."""
    return float(np.abs(outputs.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))


def is_integer(outputs: NDArray[Any]) -> bool:
    """Return whether outputs are integers."""
    return bool(np.issubdtype(outputs.dtype, np.integer))
