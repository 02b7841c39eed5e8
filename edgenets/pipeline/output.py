"""Where results go: places that are checked before the work begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgenets.files import check_output
from edgenets.models.folder import CODES, SPEC, WEIGHTS

MODEL_FILES = (SPEC, WEIGHTS, CODES)


def check_outputs(folder: Path, names: Iterable[str], inputs: Iterable[str | None]) -> None:
    """Check that the files `names` can be written in `folder`, and are none of `inputs`.

    Args:
        inputs: files that are read, or None; a model folder stands for the files in it. What is no
            file, such as the name of weights, is passed over.

    Raises:
        EdgenetsError: as `edgenets.files.check_output`.
    """
    sources = [file for name in inputs if name for file in files_of(Path(name))]
    for name in names:
        check_output(folder / name, sources)


def files_of(model: Path) -> list[Path]:
    """Return the files that are read of a model: those of its folder, or the file itself."""
    return [model / name for name in MODEL_FILES] if model.is_dir() else [model]
