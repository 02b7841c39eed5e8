"""Folders of small images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenets.data.images import load_rgb
from edgenets.errors import EdgenetsError


def write_images(folder: Path, count: int, first: int = 0) -> None:
    """Write `count` different images of 8 x 8 pixels; equal arguments give equal files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a folder of class folders: path below it -> image count."""

    def make(counts: dict[str, int], name: str = "photos") -> Path:
        for place, (path, count) in enumerate(counts.items()):
            write_images(tmp_path / name / path, count, first=100 * place)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def noise() -> Callable[..., Image.Image]:
    """A function from height and width to an image of noise, always the same."""

    def draw(height: int = 48, width: int = 64) -> Image.Image:
        random = np.random.default_rng(0)
        return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))

    return draw


@pytest.fixture(scope="session")
def reason() -> Callable[[Path], str]:
    """A function that returns why a file is no usable image, which does not name it."""

    def refuse(path: Path) -> str:
        with pytest.raises(EdgenetsError) as caught:
            load_rgb(path)
        assert str(path) not in str(caught.value)
        return str(caught.value)

    return refuse
