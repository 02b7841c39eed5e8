"""A classifier whose interpreter runs elsewhere: in a process of its own, or on a board.

A damaged file may end an interpreter's process, or keep it busy for ever. Here that is a sentence:
each part of the images runs in a fresh process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.input_range import Range
from edgenets.errors import EdgenetsError
from edgenets.export.devices.answers import SENT_BYTES as SENT_HERE_BYTES
from edgenets.export.devices.answers import array_of
from edgenets.export.devices.device import LOCAL
from edgenets.export.devices.session import Session, array_bytes
from edgenets.export.measure.classifier import ClassifierFile
from edgenets.export.measure.defaults import THREADS
from edgenets.flatbuffer.sizes import tensor_bytes
from edgenets.memory import require

COPIES = 4
"""Of the inputs or outputs that are in memory at a time: prepared, as codes, as they are sent."""
SENT_BYTES = 2**23
"""Of inputs that are sent to a board at once; it keeps one such part, and returns no more."""


def sent_bytes(session: Session) -> int:
    """Return how many bytes of inputs, or of outputs, a session is best sent at a time."""
    return SENT_HERE_BYTES if session.name == LOCAL.name else SENT_BYTES


class RemoteClassifier(ClassifierFile):
    """A classifier in a `.tflite` file that runs in a session.

    Args:
        path: of the file.
        session: where it runs.
        kernels: as for `Session.ask`.
        labels, input_range: as for `ClassifierFile`.

    Attributes:
        runtime: the interpreter there, as the runner describes it.
        images_at_once: how many are best run together.

    Raises:
        EdgenetsError: as for `ClassifierFile`, or the interpreter refuses the file or dies of it.
    """

    def __init__(
        self,
        path: Path | str,
        session: Session,
        *,
        kernels: str | None = None,
        labels: Sequence[str] | None = None,
        input_range: Range | None = None,
    ) -> None:
        path = Path(path)
        super().__init__(path, labels=labels, input_range=input_range)
        self._name, self._session = str(path), session
        self._kernels = kernels
        image_bytes = max(tensor_bytes(end) for end in (self.input, self.output))
        require(COPIES * image_bytes, f"{path} takes or gives too much at once")
        self.images_at_once = max(1, sent_bytes(session) // max(1, image_bytes))
        session.put(self._name, path)
        self.runtime: dict[str, Any] = self._run(runs=1)["runtime"]

    def outputs(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Run the images as `ClassifierFile.outputs` says."""
        self._session.put("inputs", array_bytes(self.inputs(pixels)))
        outputs = array_of(self._run(inputs="inputs")["outputs"][0])
        promised = (len(pixels), *self.output.shape[1:])
        if outputs.shape != promised or outputs.dtype != self.output.dtype:
            raise EdgenetsError(
                f"{self._name} returned {outputs.dtype} of {outputs.shape} and promises "
                f"{self.output.dtype} of {promised}; export it again"
            )
        return outputs.reshape(len(pixels), -1)

    def _run(self, **job: Any) -> dict[str, Any]:
        jobs = [{"do": "run", "file": self._name, **job}]
        (result,) = self._session.ask(jobs, threads=THREADS, kernels=self._kernels)
        return result
