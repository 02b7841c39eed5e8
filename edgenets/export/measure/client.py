"""Does a client, a program that others wrote, answer what `evaluate` counts?

A client prepares a photograph in its own way. So it is given the image files themselves, and what
it answers is compared with what the file answers to the images as they are prepared here.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenets.data.loading import UNLABELLED
from edgenets.errors import EdgenetsError
from edgenets.export import ends
from edgenets.export.devices import environments
from edgenets.export.devices.device import LOCAL
from edgenets.export.devices.opening import open_device
from edgenets.export.devices.session import PATIENCE_SECONDS, ending_after
from edgenets.export.measure.accuracy import run_images, unprepared_warnings
from edgenets.export.measure.remote_classifier import RemoteClassifier
from edgenets.export.measure.verify import runtime_row, spread_split
from edgenets.files import sha256_file
from edgenets.intervals import wilson_interval
from edgenets.progress import progress_bar

CLIENTS = (ends.MEDIAPIPE.name,)
"""Rows of `ends.CLIENTS` that can be asked."""
SCRIPT = Path(environments.__file__).with_name("mediapipe_classifier.py")


def verify_client(
    path: Path,
    source: str,
    images: int | None = None,
    *,
    patience_seconds: float | None = None,
) -> dict[str, Any]:
    """Let MediaPipe Tasks classify a dataset's image files, and compare with what is counted here.

    Args:
        path: of the `.tflite`, whose labels are in it.
        source: the dataset, a folder.
        images: how many of its test images, evenly spread; None: all.
        patience_seconds: as for `open_device`.

    Returns:
        As `edgenets.results.verification.Verification` describes it: the first runtime is the
        interpreter here on images prepared here, the second MediaPipe on the files.

    Raises:
        EdgenetsError: MediaPipe is not set up, refuses the file or dies; or the file or the
            dataset cannot be used.
    """
    environments.find_environment(environments.MEDIAPIPE)
    with open_device(LOCAL, patience_seconds=patience_seconds) as session:
        classifier = RemoteClassifier(path, session)
        _require_ends(classifier, path)
        chosen, preparation, more = spread_split(classifier, path, source, images)
        files = [one for one in chosen.sources if isinstance(one, Path)]
        if len(files) < len(chosen):
            raise EdgenetsError(
                f"a client is given image files, and {source} has none; pass a folder of images"
            )
        (outputs,) = run_images([classifier], chosen.load(preparation, once=True))
    ours = classifier.logits_of(outputs).argmax(axis=1)
    theirs = ask_mediapipe(path, files, classifier.classes, patience_seconds or PATIENCE_SECONDS)
    read = theirs >= 0
    warnings = [*unprepared_warnings(classifier, preparation), *more]
    note = ends.Ends(client=ends.MEDIAPIPE).note(preparation)
    if note and classifier.preparation is not None:
        warnings.append(note)
    warnings += _unread_warnings(files, read)
    runtime = classifier.runtime
    name, version = environments.version_of(environments.MEDIAPIPE)
    return {
        "model": {"name": path.name, "sha256": sha256_file(path)},
        "against": None,
        "data": source,
        "images": int(read.sum()),
        "runtimes": [
            _row("evaluate", runtime["name"], runtime["version"], ours, ours, chosen.labels, read),
            _row(ends.MEDIAPIPE.name, name, version, theirs, ours, chosen.labels, read),
        ],
        "first_difference": None,
        "missing": [],
        "warnings": warnings,
    }


def ask_mediapipe(
    path: Path, files: Sequence[Path], classes: int, patience_seconds: float = PATIENCE_SECONDS
) -> NDArray[np.int64]:
    """Return the class that MediaPipe Tasks gives each image file; -1 of one it cannot read.

    Raises:
        EdgenetsError: it is not set up, refuses the `.tflite`, dies of it, or says nothing for so
            many seconds.
    """
    silence = f"MediaPipe Tasks said nothing for {patience_seconds:g} s, and was ended"
    command = [
        *environments.program(environments.MEDIAPIPE, "python"),
        *(str(SCRIPT), str(path.absolute())),
    ]
    answers: list[int] = []
    with (
        tempfile.TemporaryFile() as messages,
        tempfile.TemporaryFile() as paths,
        progress_bar("MediaPipe", total=len(files)) as advance,
    ):
        paths.write(json.dumps([str(file.absolute()) for file in files]).encode())
        paths.seek(0)
        with subprocess.Popen(
            command, stdin=paths, stdout=subprocess.PIPE, stderr=messages
        ) as process:
            assert process.stdout is not None
            try:
                while line := _next_line(process, patience_seconds, silence):
                    answers.append(_class_in(line, classes))
                    advance()
                with ending_after(patience_seconds, process, silence):
                    process.wait()
            except BaseException:
                process.kill()
                raise
        if len(answers) != len(files):
            messages.seek(0)
            said = messages.read().decode(errors="replace").strip().splitlines()
            reason = (said or ["no message"])[-1]
            raise EdgenetsError(
                f"MediaPipe Tasks answered for {len(answers)} of {len(files)} images and ended "
                f"with status {process.returncode}: {reason}"
            )
    return np.array(answers, np.int64)


def _next_line(process: subprocess.Popen[bytes], seconds: float, silence: str) -> bytes:
    """Return the next line that a process writes; b"" at the end."""
    assert process.stdout is not None
    with ending_after(seconds, process, silence):
        return process.stdout.readline()


def _require_ends(classifier: RemoteClassifier, path: Path) -> None:
    taken = [ends.ENDS[end] for end in ends.MEDIAPIPE.ends]
    if classifier.input.dtype not in taken:
        raise EdgenetsError(
            f"MediaPipe Tasks takes images as {' or '.join(taken)}, and {path} takes "
            f"{classifier.input.dtype}; export it with --client mediapipe"
        )


def _unread_warnings(files: Sequence[Path], read: NDArray[np.bool_]) -> list[str]:
    """Return what is said of files that MediaPipe cannot read; all of them are an error."""
    if not read.any():
        raise EdgenetsError(f"MediaPipe Tasks can read none of the {len(files)} image files")
    if read.all():
        return []
    first = files[int(np.argmin(read))]
    return [
        f"MediaPipe Tasks cannot read {int((~read).sum())} of the image files, such as "
        f"{first}; they are left out"
    ]


def _class_in(line: bytes, classes: int) -> int:
    try:
        answer = json.loads(line)
        index = answer.get("index", -1) if isinstance(answer, dict) else None
    except ValueError:
        index = None
    if not isinstance(index, int) or not -1 <= index < classes:
        raise EdgenetsError(
            f"MediaPipe Tasks answered {line[:80]!r} where one of {classes} classes was expected; "
            f"set it up anew: remove its folder and run {environments.SET_UP}"
        )
    return index


def _row(
    name: str,
    package: str,
    version: str,
    answers: NDArray[np.int64],
    counted: NDArray[np.int64],
    labels: NDArray[np.int64],
    read: NDArray[np.bool_],
) -> dict[str, Any]:
    same = float(np.mean((answers == counted)[read]))
    return {
        **runtime_row(name, package, version),
        "same_answers": same,
        "ci95": list(wilson_interval(same, int(read.sum()))),
        "top1": None if UNLABELLED in labels else float(np.mean((answers == labels)[read])),
    }
