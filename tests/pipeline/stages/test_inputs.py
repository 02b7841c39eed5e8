"""The images that stages begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenets.data.images import Preparation
from edgenets.data.sources import open_dataset
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.config import check_config
from edgenets.pipeline.stages.inputs import RunImages


@pytest.mark.parametrize(
    "resolution, teacher, flip, side",
    [
        (64, None, None, 128),  # twice the net's resolution
        (96, PRETRAINED / "cifar10_xception", None, 192),  # which takes 32 pixels
        (63, None, None, None),  # too small to be cropped
        (64, None, False, None),  # a mirror image would be of another class, and so may a crop
    ],
)
def test_photographs_are_cropped_from_twice_the_largest_resolution(
    resolution: int, teacher: Path | None, flip: bool | None, side: int | None, image_folder: Path
):
    values = {
        "model": {"name": "mobilenet_v1", "width": 0.25, "resolution": resolution},
        "data": {"source": str(image_folder), "flip": flip},
        "train": {"weights": "none", "teacher": str(teacher) if teacher else None},
    }
    config = check_config(values, lambda place: "a test")
    preparation = Preparation.default("mobilenet_v1", resolution)
    data = RunImages(open_dataset(str(image_folder)), preparation, config).training
    assert data.images.take([0]).shape[1:] == (resolution, resolution, 3)
    if side is None:
        assert data.sources is None
    else:
        assert data.sources is not None and data.sources.take([0]).shape[1:] == (side, side, 3)
        assert len(data.sources) == len(data.images)
