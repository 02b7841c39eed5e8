"""Image preparation: any image file -> upright RGB pixels -> the network's input.

The same functions serve training, calibration, evaluation and prediction, on a board too: only
NumPy and Pillow are needed.
"""

from __future__ import annotations

import math
import re
import stat
import struct
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from edgenets import memory
from edgenets.errors import EdgenetsError, unknown_name
from edgenets.packages import missing_package

Fit = Literal["crop", "stretch", "pad"]
"""How a picture that is not square becomes a square; `Preparation` says what each does."""
FITS: tuple[Fit, ...] = get_args(Fit)
BORDER = "black"  # of `pad`, as TensorFlow's resize_with_pad, Keras and PyCoral have it
SMALL_RESOLUTION = 96  # up to here datasets come at the network's resolution: nothing is cropped
MAX_ASPECT = 8  # long side per short side that is resized; what lies beyond is never in the crop
LEAST_REDUCED = 2  # short side of a JPEG that is decoded at a reduced scale, per pixel needed

# How the names of images end; those of the last row are decoded by pillow-heif.
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".bmp", ".gif"),
    *(".tif", ".tiff", ".jp2", ".tga", ".ppm", ".pgm", ".pbm", ".pnm"),
    *HEIF_SUFFIXES,
)
# Compatible brands of HEVC images. Source: ISO/IEC 23008-12, annex B.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")

# Bytes of memory that a pixel takes while it is decoded, turned and made RGB: measured, rounded up.
PLAIN_BYTES, DEEP_BYTES, WHOLE_BYTES = 12, 20, 28
WHOLE_FORMATS = ("WEBP", "AVIF", "HEIF", "JPEG2000")  # whose decoders hold the picture themselves
PROGRESSIVE_BYTES = 6  # of a progressive JPEG, whatever it is reduced to

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
    """How a picture becomes the network's square, `resolution` pixels a side.

    - crop: its short side to `resize` pixels, then the centre;
    - stretch: the whole picture, each side by itself, as MediaPipe Tasks does;
    - pad: the whole picture, its long side to the resolution, in the middle of a black square.

    Crop and pad are resized by Pillow's bilinear filter, which counts every pixel; stretch takes
    the four pixels next to each point, from the upper left corner on.
    """

    resolution: int
    resize: int  # the resolution itself, unless the fit is crop
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise unknown_name("fit", str(self.fit), FITS)
        whole = type(self.resolution) is int and type(self.resize) is int  # a bool is no size
        if not (whole and 1 <= self.resolution <= self.resize):
            raise EdgenetsError(
                "image preparation needs whole numbers with 1 <= resolution <= resize, "
                f"not {self.resolution!r} and {self.resize!r}"
            )
        if self.fit != "crop" and self.resize != self.resolution:
            raise EdgenetsError(
                f"image preparation with fit {self.fit} shows the whole picture at the resolution, "
                f"{self.resolution}, not at {self.resize}; leave resize out, or take fit crop"
            )

    @classmethod
    def default(cls, name: str, resolution: int, fit: Fit = "crop") -> Preparation:
        """Return the preparation of the network `name` at `resolution`.

        >>> [Preparation.default("mobilenet_v1", side).resize for side in (224, 32)]
        [256, 32]
        """
        if resolution <= SMALL_RESOLUTION or fit != "crop":
            return cls(resolution, resolution, fit)
        if (name, resolution) == ("squeezenet", 227):  # as in Caffe, its framework
            return cls(227, 256)
        return cls(resolution, round(resolution / 0.875))

    def __str__(self) -> str:
        """What a picture becomes, in words."""
        square = f"{self.resolution} x {self.resolution}"
        return {
            "crop": f"the short side at {self.resize} pixels and the centre of {square}",
            "stretch": f"the whole picture squeezed to {square}",
            "pad": f"the whole picture in a black square of {square}",
        }[self.fit]

    def to_json(self) -> dict[str, Any]:
        """Return what a model folder and a `.tflite` store.

        That of a crop is as it was before there were other fits, and old files are read as crops.
        """
        stretched = self.fit == "stretch"
        return {
            "resolution": self.resolution,
            "resize": self.resize,
            "interpolation": "bilinear of four pixels" if stretched else "bilinear",
            **({"crop": "center"} if self.fit == "crop" else {"fit": self.fit}),
        }

    @classmethod
    def from_json(cls, value: Any) -> Preparation:
        """Return the preparation that `to_json` stored.

        Raises:
            EdgenetsError: a key is missing or unknown, or its value is none that edgenets knows.
        """
        with suppress(TypeError, KeyError, AttributeError):
            preparation = cls(value["resolution"], value["resize"], value.get("fit", "crop"))
            if preparation.to_json() == value:
                return preparation
        raise EdgenetsError(
            f"an image preparation looks like {cls(224, 256).to_json()}, not {value!r}; "
            "the file is damaged or comes from another version of edgenets"
        )


def load_rgb(path: Path, needed: int | None = None) -> Image.Image:
    """Decode the image file `path` completely and return it upright, as 8-bit RGB.

    16-bit grey is scaled by 1/257, transparency is laid over white, of an animation the first
    frame counts, EXIF orientation is applied (and ignored where it is unreadable), colour profiles
    are not.

    Args:
        path: of the file.
        needed: pixels of the short side that will be used. A JPEG file is then decoded at 1/2, 1/4
            or 1/8 of its size if that leaves at least twice as many; it is read to its end either
            way. Without, nothing is reduced.

    Raises:
        EdgenetsError: its message is the reason in a few words, without the path. One is that the
            picture would take more memory than a file may (`edgenets.memory`), another that the
            path leads to a pipe, a socket or a device.
    """
    _ignore_pillow_warnings()
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise EdgenetsError("not a regular file")  # to read a pipe may never end
        memory.require(status.st_size, "too large")
        with path.open("rb") as file:
            if not file.peek(1):
                raise EdgenetsError("empty file")
            image = _identify(file, path.suffix)
            if image.format == "EPS":  # Pillow would run Ghostscript on the file
                raise EdgenetsError("PostScript, not an image")
            kept_bytes = PROGRESSIVE_BYTES * math.prod(image.size) * ("progressive" in image.info)
            if needed is not None:
                image.draft(None, (LEAST_REDUCED * needed, LEAST_REDUCED * needed))
            with memory.reserved(kept_bytes + _decoding_bytes(image), _declared(image)):
                image.load()
                turn = _upright_turn(image)
                rgb = _to_rgb(image)
                return rgb if turn is None else rgb.transpose(turn)
    except UnidentifiedImageError as error:
        raise EdgenetsError("not an image Pillow can read") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise EdgenetsError(f"too large: {str(error) or 'not enough memory'}") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:  # from the file system, not a decoder
            raise EdgenetsError(error.strerror.lower()) from error
        raise EdgenetsError(f"truncated or damaged: {' '.join(str(error).split())}") from error


def load_prepared(path: Path, preparation: Preparation) -> NDArray[np.uint8]:
    """Return the pixels of an image file at the network's size: [resolution, resolution, 3].

    Raises:
        EdgenetsError: as `load_rgb`.
    """
    image = load_rgb(path, preparation.resize)
    with memory.reserved(_preparing_bytes(image, preparation), _declared(image)):
        try:
            return prepare(image, preparation)
        except MemoryError as error:
            raise EdgenetsError("too large: not enough memory") from error


def prepare(image: Image.Image, preparation: Preparation) -> NDArray[np.uint8]:
    """Return the pixels of an RGB image at the network's size: [resolution, resolution, 3]."""
    resolution, resize = preparation.resolution, preparation.resize
    match preparation.fit:
        case "stretch":
            return _stretched(image, resolution)
        case "pad":
            image = _in_the_middle(_scaled(image, resolution, max(image.size)), resolution)
        case "crop":
            short = min(image.size)
            longest = MAX_ASPECT * short
            if max(image.size) > longest:
                image = _centre(image, min(image.width, longest), min(image.height, longest))
            image = _centre(_scaled(image, resize, short), resolution, resolution)
    return np.array(image)


def _scaled(image: Image.Image, to: int, side: int) -> Image.Image:
    """Return the image resized alike in width and height, so that `side` pixels become `to`."""
    width, height = (max(1, round(pixels * to / side)) for pixels in image.size)
    if image.size == (width, height):
        return image
    return image.resize((width, height), Resampling.BILINEAR)


def _stretched(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """Return the whole image as a square, of four pixels each, as MediaPipe Tasks does it.

    Source: MediaPipe 1.2.3 on a CPU, found by running it; docs/evidence/clients.md.
    """
    pixels = np.asarray(image)
    top, bottom, down = _neighbours(image.height, side)
    left, right, across = _neighbours(image.width, side)

    def between(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        first, second = (pixels[np.ix_(rows, at)].astype(np.float32) for at in (left, right))
        return first + (second - first) * across[:, np.newaxis]

    upper, lower = between(top), between(bottom)
    return np.rint(upper + (lower - upper) * down[:, np.newaxis, np.newaxis]).astype(np.uint8)


def _neighbours(
    length: int, side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the pixels before and behind each point of a side, and how far it is between them."""
    points = np.minimum(np.arange(side) * (length / side), length - 1)
    before = points.astype(np.intp)
    return before, np.minimum(before + 1, length - 1), (points - before).astype(np.float32)


def _in_the_middle(image: Image.Image, side: int) -> Image.Image:
    square = Image.new("RGB", (side, side), BORDER)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _decoding_bytes(image: Image.Image) -> int:
    """Return about how much memory it takes to decode a picture, from what its file declares."""
    if image.format in WHOLE_FORMATS:
        pixel_bytes = WHOLE_BYTES
    elif image.has_transparency_data or image.mode.startswith("I;16"):
        pixel_bytes = DEEP_BYTES
    else:
        pixel_bytes = PLAIN_BYTES
    return pixel_bytes * math.prod(image.size)


def _preparing_bytes(image: Image.Image, preparation: Preparation) -> int:
    """Return about how much memory `prepare` takes: the picture, resized sideways, then upright."""
    short, long = sorted(image.size)
    aspect = min(MAX_ASPECT, long / short) if preparation.fit == "crop" else 1
    width = preparation.resize * aspect
    return int(4 * (long * short + width * long + width * preparation.resize))


def _declared(image: Image.Image) -> str:
    return f"too large: {image.width} x {image.height} pixels"


def _identify(file: BinaryIO, suffix: str) -> ImageFile.ImageFile:
    """Open an image; pillow-heif is asked for only where one cannot be read without it."""
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        if suffix.lower() not in HEIF_SUFFIXES and _brands(file).isdisjoint(HEIF_BRANDS):
            raise
    _register_heif()
    file.seek(0)
    return Image.open(file)


def _brands(file: BinaryIO) -> set[bytes]:
    """Return what the first box of an ISO media file says that it is compatible with."""
    start = file.read(256)
    length = min(int.from_bytes(start[:4], "big"), len(start)) if start[4:8] == b"ftyp" else 0
    return {start[at : at + 4] for at in range(8, length, 4)}


@cache
def _register_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise missing_package("pillow-heif") from error
    register_heif_opener()


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
    if image.size == (width, height):
        return image
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
