"""Image preparation: any image file -> upright RGB pixels -> the network's input.

The same functions serve training, calibration, evaluation and prediction, on a board too: only
NumPy and Pillow are needed.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from edgenets.errors import EdgenetsError

SMALL_RESOLUTION = 96  # up to here datasets come at the network's resolution: nothing is cropped
MAX_ASPECT = 8  # long side per short side that is resized; what lies beyond is never in the crop

# What Pillow raises for damaged files: found by mutating files of sixteen formats, and their kin.
DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)

# EXIF orientation -> what makes the stored pixels upright. Source: EXIF 2.32, tag 274.
ORIENTATION_TAG = 274
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Preparation:
    """Short side to `resize` pixels, bilinear; then the centre, `resolution` pixels square."""

    resolution: int
    resize: int

    def __post_init__(self) -> None:
        whole = type(self.resolution) is int and type(self.resize) is int  # a bool is no size
        if not (whole and 1 <= self.resolution <= self.resize):
            raise EdgenetsError(
                "image preparation needs whole numbers with 1 <= resolution <= resize, "
                f"not {self.resolution!r} and {self.resize!r}"
            )

    @classmethod
    def default(cls, name: str, resolution: int) -> Preparation:
        """Return the preparation of the network `name` at `resolution`.

        >>> Preparation.default("mobilenet_v1", 224), Preparation.default("mobilenet_v1", 32)
        (Preparation(resolution=224, resize=256), Preparation(resolution=32, resize=32))
        """
        if resolution <= SMALL_RESOLUTION:
            return cls(resolution, resolution)
        if (name, resolution) == ("squeezenet", 227):  # as in Caffe, its framework
            return cls(227, 256)
        return cls(resolution, round(resolution / 0.875))

    def to_json(self) -> dict[str, Any]:
        """Return what a model folder and a `.tflite` store."""
        return {
            "resolution": self.resolution,
            "resize": self.resize,
            "interpolation": "bilinear",
            "crop": "center",
        }

    @classmethod
    def from_json(cls, value: Any) -> Preparation:
        """Return the preparation that `to_json` stored.

        Raises:
            EdgenetsError: a key is missing or unknown, or its value is none that edgenets knows.
        """
        with suppress(TypeError, KeyError):
            preparation = cls(value["resolution"], value["resize"])
            if preparation.to_json() == value:
                return preparation
        raise EdgenetsError(
            f"an image preparation looks like {cls(224, 256).to_json()}, not {value!r}; "
            "the file is damaged or comes from another version of edgenets"
        )


def load_rgb(path: Path) -> Image.Image:
    """Decode the image file `path` completely and return it upright, as 8-bit RGB.

    16-bit grey is scaled by 1/257, transparency is laid over white, of an animation the first
    frame counts, EXIF orientation is applied (and ignored where it is unreadable), colour profiles
    are not.

    Raises:
        EdgenetsError: its message is the reason in a few words, without the path.
    """
    _ignore_pillow_warnings()
    try:
        with path.open("rb") as file:
            if not file.peek(1):
                raise EdgenetsError("empty file")
            image = Image.open(file)
            if image.format == "EPS":  # Pillow would run Ghostscript on the file
                raise EdgenetsError("PostScript, not an image")
            image.load()
            turn = _upright_turn(image)
            rgb = _to_rgb(image)
    except UnidentifiedImageError as error:
        raise EdgenetsError("not an image Pillow can read") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise EdgenetsError(f"too large: {str(error) or 'not enough memory'}") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:  # from the file system, not a decoder
            raise EdgenetsError(error.strerror.lower()) from error
        raise EdgenetsError(f"truncated or damaged: {error}") from error
    return rgb if turn is None else rgb.transpose(turn)


def prepare(image: Image.Image, preparation: Preparation) -> NDArray[np.uint8]:
    """Return the pixels of an RGB image at the network's size: [resolution, resolution, 3]."""
    resolution, resize = preparation.resolution, preparation.resize
    short = min(image.size)
    longest = MAX_ASPECT * short
    if max(image.size) > longest:
        image = _centre(image, min(image.width, longest), min(image.height, longest))
    if short != resize:
        size = (round(image.width * resize / short), round(image.height * resize / short))
        image = image.resize(size, Resampling.BILINEAR)
    if image.size != (resolution, resolution):
        image = _centre(image, resolution, resolution)
    return np.array(image)


def to_network(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels of any shape as the networks take them: pixel / 127.5 - 1, in [-1, 1].

    >>> to_network(np.uint8([0, 255]))
    array([-1.,  1.], dtype=float32)
    """
    # First float32, then scale: NumPy 1 would make float16 of uint8 and a scalar.
    return pixels.astype(np.float32) / 127.5 - 1


def to_int8(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return pixels of any shape as int8 networks take them: pixel - 128.

    >>> to_int8(np.uint8([0, 128, 255]))
    array([-128,    0,  127], dtype=int8)
    """
    return (pixels.astype(np.int16) - 128).astype(np.int8)


def _ignore_pillow_warnings() -> None:
    # What matters in them becomes a reason. A lasting filter, because the scoped `catch_warnings`
    # is not safe in threads; set once, because every change makes old warnings appear again.
    if ("ignore", None, Warning, re.compile(r"PIL\."), 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")


def _upright_turn(image: ImageFile.ImageFile) -> Transpose | None:
    # After load(): PNG may hold EXIF behind the pixels, and TIFF turns itself while loading.
    # Not ImageOps.exif_transpose, which writes the other tags back and fails on odd ones.
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION_TAG, 1))
    except DAMAGE:
        return None


def _to_rgb(image: ImageFile.ImageFile) -> Image.Image:
    # Pillow may open 16-bit PNG and PGM as "I"; elsewhere "I" holds 32 or signed 16 bits.
    grey16 = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if grey16:
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise EdgenetsError(f"32-bit grey (mode {image.mode}); convert it to 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
