"""A sweep that several tests read: one net is too large, one is stopped, one is finished."""

from __future__ import annotations

from pathlib import Path

import pytest

SWEEP = """\
nets:
  - net: squeezenet
    base_expand: [8, 16, 512]
    expand_increment: 8
    resolution: 32
    output_stride: 8
recipes: [int8]
constraints: ["stored <= 300KB", "macs <= 100M"]
halving: {{factor: 2, rungs: 1}}
run:
  data: {{source: "{source}", flip: false}}
  train: {{weights: none, epochs: 2, batch_size: 60, augment: 0}}
  export: {{calibration_images: 20}}
"""
POINTS = 3


class Interrupted(Exception):
    """In place of a signal: nothing of edgenets catches it."""


@pytest.fixture(scope="session")
def sweep_file(image_folder: Path, make_once) -> Path:
    """The file of the sweep."""
    text = SWEEP.format(source=image_folder)
    return make_once("sweep-file", lambda f: (f / "sweep.yaml").write_text(text)) / "sweep.yaml"


@pytest.fixture(scope="session")
def tiny_sweep(sweep_file: Path, make_once) -> Path:
    """Its folder: stopped between two rungs and amid the last run, and gone on with each time."""
    return make_once("sweep", lambda folder: _sweep(sweep_file, folder / "sweep")) / "sweep"


def _sweep(file: Path, folder: Path) -> None:
    import edgenets as en
    from edgenets.pipeline import run
    from edgenets.pipeline.sweep import search

    def dies(*arguments: object, **others: object) -> None:
        raise Interrupted

    for module, name in ((search, "finish_trial"), (run, "_account")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, dies)
            with pytest.raises(Interrupted):
                en.sweep(file, out=folder)
    en.sweep(file, out=folder)
