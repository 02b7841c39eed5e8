"""Every kind of image file becomes upright 8-bit RGB, or a reason."""

import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenets import memory
from edgenets.data.images import Preparation, load_prepared, load_rgb, prepare
from edgenets.data.pixels import to_int8, to_network
from edgenets.errors import EdgenetsError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FORMATS = ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm")


def noise(height: int = 48, width: int = 64) -> Image.Image:
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels_of(path: Path) -> np.ndarray:
    image = load_rgb(path)
    assert image.mode == "RGB"
    return np.array(image)


def reason(path: Path) -> str:
    with pytest.raises(EdgenetsError) as caught:
        load_rgb(path)
    assert str(path) not in str(caught.value)
    return str(caught.value)


# Files that are not usable


def test_empty_file_is_named_so(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert reason(path) == "empty file"


@pytest.mark.parametrize(
    "content", [b"hello", b"\x00" * 5000, b"<svg/>", b"\x89PNG\r\n", b"\xff\xd8"]
)
def test_file_that_is_no_image_is_named_so(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert reason(path) == "not an image Pillow can read"


@pytest.mark.parametrize("extension", FORMATS)
def test_half_an_image_is_truncated(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason(path).startswith("truncated or damaged: ")


def test_jpeg_without_its_last_bytes_is_truncated(tmp_path):
    path = tmp_path / "a.jpg"
    noise().save(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "truncated" in reason(path)


def test_png_with_a_flipped_byte_is_damaged(tmp_path):
    path = tmp_path / "a.png"
    noise().save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert reason(path).startswith("truncated or damaged: ")


@pytest.mark.parametrize("extension", FORMATS)
def test_mutated_files_are_read_or_refused_with_a_reason(tmp_path, extension):
    random = np.random.default_rng(0)
    path = tmp_path / f"a.{extension}"
    noise(16, 20).save(path)
    original = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(40):
        content = original[: random.integers(1, len(original) + 1)].copy()
        where = random.integers(0, len(content), 5)
        content[where] = random.integers(0, 256, 5)
        path.write_bytes(content.tobytes())
        try:
            assert load_rgb(path).mode == "RGB"
        except EdgenetsError as error:
            assert str(error)


def test_missing_file_folder_and_link_to_itself_have_reasons(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert reason(tmp_path / "missing.png") == "no such file or directory"
    assert reason(tmp_path) == "is a directory"
    assert reason(tmp_path / "loop") == "too many levels of symbolic links"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_read_permission_is_named_so(tmp_path):
    path = tmp_path / "a.png"
    noise().save(path)
    path.chmod(0)
    assert reason(path) == "permission denied"


def test_decompression_bomb_is_too_large(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 48 * 64 = 3072 > 2 * 1000
    assert reason(path).startswith("too large: ")
    assert "3072 pixels" in reason(path)


def test_image_that_does_not_fit_in_memory_is_too_large(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    noise().save(path)

    def exhaust(*_):
        raise MemoryError

    monkeypatch.setattr(Image, "open", exhaust)
    assert reason(path) == "too large: not enough memory"


def declared(path: Path, width: int, height: int) -> Path:
    """Write a PNG of a few bytes that declares a size."""
    Image.new("RGB", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    return path


def test_picture_that_declares_more_than_the_bound_is_refused_before_memory_is_taken(tmp_path):
    path = declared(tmp_path / "a.png", 10_000, 10_000)
    with memory.at_most(10**9):
        assert reason(path).startswith(
            "too large: 10000 x 10000 pixels, which would take 1144.41 MiB of memory, where a file "
            "may take 953.67 MiB (as was passed)"
        )
    with memory.at_most(10**10):
        assert reason(path).startswith("truncated or damaged")


def test_file_larger_than_the_bound_is_refused(tmp_path):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    with memory.at_most(path.stat().st_size - 1):
        assert reason(path).startswith("too large, which would take ")


def test_preparation_to_more_than_the_bound_is_refused(tmp_path):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    with pytest.raises(EdgenetsError, match=r"^too large: .* which would take "):
        load_prepared(path, Preparation(8, 10**9))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_and_not_read(kind, tmp_path):
    path = tmp_path / "a.png"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    assert reason(path) == "not a regular file"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(
    "mode, name, options",
    [
        *(("L", "a.png", {}), ("RGB", "a.png", {}), ("RGBA", "a.png", {}), ("I;16", "a.png", {})),
        *(("RGB", "a.jpg", {"progressive": True}), ("RGBA", "a.webp", {}), ("RGB", "a.jp2", {})),
    ],
)
def test_pictures_take_no_more_memory_than_is_reckoned(mode, name, options, tmp_path):
    Image.new(mode, (1500, 1500)).save(tmp_path / name, **options)
    script = (
        "import sys; from pathlib import Path\n"
        "from edgenets import memory; from edgenets.data.images import load_rgb\n"
        "from edgenets.export.board.machine import forget_peak_memory, kilobytes\n"
        "reckoned = []\n"
        "load_rgb(Path(sys.argv[1]), 8)\n"  # loads the decoder
        "reserved = memory.reserved\n"
        "def reserve(size, what): reckoned.append(size); return reserved(size, what)\n"
        "memory.reserved = reserve\n"
        "forget_peak_memory(); before = kilobytes('/proc/self/status', 'VmRSS')\n"
        "load_rgb(Path(sys.argv[1]))\n"
        "print(kilobytes('/proc/self/status', 'VmHWM') - before, *reckoned)\n"
    )
    command = [sys.executable, "-c", script, tmp_path / name]
    peak, reckoned = map(int, subprocess.run(command, capture_output=True).stdout.split())
    assert peak <= reckoned <= 12 * peak + 2**22  # what was freed before may be used again


def test_postscript_is_refused_because_a_program_would_run(tmp_path):
    path = tmp_path / "a.eps"
    noise().save(path)
    assert "PostScript" in reason(path)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_grey_is_refused_with_what_to_do(tmp_path, mode):
    path = tmp_path / "a.tif"
    Image.new(mode, (8, 8), 70000).save(path)
    assert reason(path) == f"32-bit grey (mode {mode}); convert it to 8 or 16 bits"


def test_pillow_warnings_do_not_leak(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 2000
    )  # Pillow warns between one and two times it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_rgb(path)
        before = len(warnings.filters)
        load_rgb(path)
        assert len(warnings.filters) == before


# Modes


def test_rgb_png_is_read_as_it_is(tmp_path):
    noise().save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png"), np.array(noise()))


def test_grey_is_repeated_in_three_channels(tmp_path):
    grey = noise().convert("L")
    grey.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "a.png"), np.repeat(np.array(grey)[..., None], 3, axis=2)
    )


def test_one_bit_image_becomes_black_and_white(tmp_path):
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png").tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("extension", ["png", "tif", "jp2", "pgm"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, extension):
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    path = tmp_path / f"a.{extension}"
    if extension == "pgm":  # Pillow 10 does not write it
        path.write_bytes(b"P5 64 64 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    expected = np.rint(values / 257)  # 65535 / 255 = 257
    np.testing.assert_array_equal(pixels_of(path)[..., 1], expected)


def test_big_endian_16_bit_tiff_is_scaled(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535]], ">u2")
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert pixels_of(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_is_converted(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert (pixels_of(tmp_path / "a.tif") == RED).all()
    assert np.abs(pixels_of(tmp_path / "a.jpg").astype(int) - RED).max() <= 2  # JPEG is lossy


def test_palette_is_looked_up(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name)
        assert pixels_of(tmp_path / name).tolist() == [[[*RED], [*BLUE]]]


def test_transparent_palette_entry_shows_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "one.png", transparency=1)
    image.save(tmp_path / "each.png", transparency=bytes([255, 0]))
    image.save(tmp_path / "a.gif", transparency=1)
    for name in ("one.png", "each.png", "a.gif"):
        assert pixels_of(tmp_path / name).tolist() == [[[*RED], [*WHITE]]]


@pytest.mark.parametrize(
    "mode, colour, alpha, expected",
    [
        ("RGBA", RED, 255, RED),
        ("RGBA", RED, 0, WHITE),
        ("RGBA", RED, 51, (255, 204, 204)),  # 0 * 0.2 + 255 * 0.8
        ("LA", (0,), 51, (204, 204, 204)),
        ("LA", (7,), 255, (7, 7, 7)),
    ],
)
def test_alpha_is_laid_over_white(tmp_path, mode, colour, alpha, expected):
    Image.new(mode, (3, 2), (*colour, alpha)).save(tmp_path / "a.png")
    assert (pixels_of(tmp_path / "a.png") == expected).all()


def test_palette_with_alpha_is_laid_over_white(tmp_path):
    image = Image.new("PA", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putpixel((0, 0), (0, 255))
    image.putpixel((1, 0), (1, 0))
    image.save(tmp_path / "a.tif")  # stored as RGBA or as palette and alpha, as Pillow likes
    assert pixels_of(tmp_path / "a.tif").tolist() == [[[*RED], [*WHITE]]]


def test_transparent_colour_of_rgb_png_shows_white(tmp_path):
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    image.save(tmp_path / "a.png", transparency=BLUE)
    assert pixels_of(tmp_path / "a.png").tolist() == [[[*RED], [*WHITE]]]


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation_counts(tmp_path, extension):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    lossless = {"lossless": True} if extension == "webp" else {}
    path = tmp_path / f"a.{extension}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **lossless)
    assert (pixels_of(path) == RED).all()


# EXIF


def stored_pixels(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return what a camera stores: row 0 and column 0 are the sides that the EXIF standard says."""
    return {
        1: upright,  # row 0 is the top, column 0 the left side
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
        7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: upright[::-1].transpose(1, 0, 2),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("extension", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation, extension):
    corners = np.array([[RED, GREEN, GREEN], [BLUE, WHITE, WHITE]], np.uint8)
    upright = corners.repeat(16, axis=0).repeat(16, axis=1)  # whole JPEG blocks keep their colour
    exif = Image.Exif()
    exif[274] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    path = tmp_path / f"a.{extension}"
    stored = Image.fromarray(np.ascontiguousarray(stored_pixels(upright, orientation)))
    stored.save(path, exif=exif, **options.get(extension, {}))
    difference = pixels_of(path).astype(int) - upright
    assert np.abs(difference).max() <= (2 if extension == "jpg" else 0)


def test_unreadable_exif_is_ignored(tmp_path):
    for name in ("a.png", "a.jpg"):
        noise().save(tmp_path / name, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff rubbish")
        assert load_rgb(tmp_path / name).size == (64, 48)


def test_exif_that_cannot_be_written_back_does_not_matter(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    exif[0x9286] = b"\x00" * 3  # a user comment without its encoding
    noise().save(tmp_path / "a.jpg", exif=exif)
    assert load_rgb(tmp_path / "a.jpg").size == (48, 64)


# JPEG at a reduced scale


def photograph(width: int, height: int) -> Image.Image:
    """Return an image that is smooth, and has its brightest quarter at the top left."""
    corners = Image.new("RGB", (3, 3), (60, 120, 30))
    corners.putpixel((0, 0), (250, 200, 160))
    return corners.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "size, needed, reduced",
    [
        ((1600, 1200), 75, (200, 150)),  # an eighth is twice what is needed
        ((1600, 1200), 76, (400, 300)),
        ((1600, 1200), 150, (400, 300)),
        ((1200, 1600), 300, (600, 800)),
        ((1600, 1200), 301, (1600, 1200)),
        ((1603, 1201), 75, (201, 151)),  # rounded up
        ((1600, 1200), None, (1600, 1200)),
    ],
)
def test_jpeg_is_decoded_at_the_least_scale_that_is_twice_what_is_needed(
    tmp_path, size, needed, reduced
):
    path = tmp_path / "a.jpg"
    photograph(*size).save(path)
    assert load_rgb(path, needed).size == reduced


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_file_that_is_not_reduced_has_the_same_pixels_as_ever(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    noise(120, 160).save(path)
    np.testing.assert_array_equal(np.array(load_rgb(path, needed=31)), pixels_of(path))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_reduced_photograph_is_prepared_as_the_whole_one_within_two_levels(tmp_path, mode, options):
    path = tmp_path / "a.jpg"
    photograph(1203, 907).convert(mode).save(path, quality=95, **options)
    preparation = Preparation(64, 73)
    reduced = load_prepared(path, preparation).astype(int)
    whole = prepare(load_rgb(path), preparation)
    assert reduced.shape == whole.shape == (64, 64, 3)
    assert np.abs(reduced - whole).max() <= 2


@pytest.mark.parametrize("size", [(1203, 907), (300, 1000)])
def test_reduced_photograph_is_stretched_as_the_whole_one_within_a_quarter_pixel(tmp_path, size):
    path = tmp_path / "a.jpg"
    photograph(*size).save(path, quality=95)
    preparation = Preparation(64, 64, "stretch")
    assert load_rgb(path, preparation.resize).size != size
    reduced = load_prepared(path, preparation).astype(int)
    whole = prepare(load_rgb(path), preparation).astype(int)
    # A pixel of 2 x 2 and more lies half a pixel off, of which a point has at least two.
    steps = sum(np.abs(np.diff(whole, axis=axis)).max() for axis in (0, 1))
    assert np.abs(reduced - whole).max() <= 2 + steps / 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_photograph_is_upright(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[274] = orientation
    upright = np.array(photograph(1200, 800))
    stored = Image.fromarray(np.ascontiguousarray(stored_pixels(upright, orientation)))
    stored.save(path, exif=exif, quality=95)
    image = load_rgb(path, needed=50)
    assert image.size == (150, 100)
    whole = Image.fromarray(upright).resize((150, 100), Image.Resampling.BOX)
    assert np.abs(np.array(image).astype(int) - np.array(whole)).max() <= 3


def test_first_picture_of_a_multi_picture_file_is_reduced(tmp_path):
    path = tmp_path / "a.jpg"  # as phones store a photograph with its preview
    photograph(1600, 1200).save(path, "MPO", save_all=True, append_images=[noise()])
    assert Image.open(path).format == "MPO"
    assert load_rgb(path, needed=75).size == (200, 150)


@pytest.mark.parametrize("cut", [20, 1000, 30_000])
def test_reduced_decoding_finds_the_truncation_too(tmp_path, cut):
    path = tmp_path / "a.jpg"
    noise(300, 400).save(path)
    path.write_bytes(path.read_bytes()[:-cut])
    for needed in (1, 30, None):
        with pytest.raises(EdgenetsError, match=r"truncated or damaged: .*truncated"):
            load_rgb(path, needed)


# HEIC


@pytest.fixture(scope="module")
def save_heic():
    """A function that writes an image as HEIC, lossless but for colour rounding."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()

    def save(image: Image.Image, path: Path, **options) -> None:
        image.save(path, "HEIF", quality=-1, chroma=444, **options)

    return save


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.heic", "A.HEIF", "photo.jpg"])
def test_heic_is_read_upright_whatever_it_is_called(tmp_path, save_heic, orientation, name):
    corners = np.array([[RED, GREEN, GREEN], [BLUE, WHITE, WHITE]], np.uint8)
    upright = corners.repeat(32, axis=0).repeat(32, axis=1)
    stored = Image.fromarray(np.ascontiguousarray(stored_pixels(upright, orientation)))
    exif = Image.Exif()
    exif[274] = orientation
    save_heic(stored, tmp_path / name, exif=exif.tobytes())
    assert np.abs(pixels_of(tmp_path / name).astype(int) - upright).max() <= 3


@pytest.mark.parametrize("cut", [10, 500, 2000])
def test_truncated_heic_is_refused_with_one_line(tmp_path, save_heic, cut):
    path = tmp_path / "a.heic"
    save_heic(noise(), path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert reason(path).startswith(("truncated or damaged: ", "not an image Pillow can read"))
    assert "\n" not in reason(path)


def test_heic_without_its_package_names_the_extra(tmp_path, save_heic):
    save_heic(noise(), tmp_path / "a.heic")
    save_heic(noise(), tmp_path / "b.jpg")
    noise().save(tmp_path / "really_a_jpeg.heic", "JPEG")
    (tmp_path / "c.jpg").write_bytes(b"no image")
    script = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from pathlib import Path\n"
        "from edgenets.data.images import load_rgb\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(load_rgb(Path(name)).size)\n"
        "    except Exception as error: print(error)\n"
    )
    names = ("a.heic", "b.jpg", "really_a_jpeg.heic", "c.jpg")
    run = [sys.executable, "-c", script, *(str(tmp_path / name) for name in names)]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout.splitlines()
    missing = "this needs pillow-heif, which is not installed; run: pip install 'edgenets[heic]'"
    assert said == [missing, missing, "(64, 48)", "not an image Pillow can read"]


def test_pillow_heif_is_loaded_only_for_such_a_file(tmp_path, save_heic):
    noise().save(tmp_path / "a.jpg")
    save_heic(noise(), tmp_path / "a.heic")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edgenets.data.images import load_rgb\n"
        "for name in ('a.jpg', 'a.heic'):\n"
        "    load_rgb(Path(sys.argv[1]) / name)\n"
        "    print('pillow_heif' in sys.modules)\n"
    )
    run = [sys.executable, "-c", script, str(tmp_path)]
    said = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
    assert said == ["False", "True"]


# Preparation


@pytest.mark.parametrize(
    "name, resolution, resize",
    [
        ("mobilenet_v1", 224, 256),  # 224 / 0.875
        ("mobilenet_v2", 160, 183),  # 182.86
        ("inception_v3", 299, 342),  # 341.71
        ("alexnet", 227, 259),  # 259.43
        ("squeezenet", 227, 256),
        ("squeezenet", 224, 256),
        ("mobilenet_v1", 97, 111),  # 110.86
        ("mobilenet_v1", 96, 96),
        ("squeezenet", 32, 32),
    ],
)
def test_default_preparation_is_that_of_the_design(name, resolution, resize):
    assert Preparation.default(name, resolution) == Preparation(resolution, resize)
    stretched = Preparation.default(name, resolution, "stretch")  # nothing is cut off
    assert stretched == Preparation(resolution, resolution, "stretch")


@pytest.mark.parametrize(
    "resolution, resize", [(0, 10), (10, 9), (-1, 1), (2.0, 4), (True, 4), ("2", 4)]
)
def test_preparation_that_cannot_be_is_refused(resolution, resize):
    with pytest.raises(EdgenetsError, match="1 <= resolution <= resize"):
        Preparation(resolution, resize)


def test_preparation_survives_json():
    preparation = Preparation(224, 256)
    assert preparation.to_json() == {
        "resolution": 224,
        "resize": 256,
        "interpolation": "bilinear",
        "crop": "center",
    }
    assert Preparation.from_json(preparation.to_json()) == preparation


@pytest.mark.parametrize(
    "fit, interpolation", [("stretch", "bilinear of four pixels"), ("pad", "bilinear")]
)
def test_preparation_of_the_whole_picture_survives_json(fit, interpolation):
    preparation = Preparation(96, 96, fit)
    stored = {"resolution": 96, "resize": 96, "interpolation": interpolation, "fit": fit}
    assert preparation.to_json() == stored
    assert Preparation.from_json(stored) == preparation


def test_fit_that_cannot_be_is_refused_with_what_to_do():
    with pytest.raises(EdgenetsError, match=r"unknown fit 'strech'; did you mean stretch\?"):
        Preparation(96, 96, "strech")
    with pytest.raises(EdgenetsError, match=r"fit pad shows the whole picture .* leave resize out"):
        Preparation(96, 128, "pad")


@pytest.mark.parametrize(
    "change",
    [
        {"interpolation": "bicubic"},
        {"crop": None},
        {"mean": 0},
        {"resize": 3},
        {"resize": "256"},
        {"resolution": 224.0},
        {"fit": "crop"},
        {"fit": "stretch"},
        {"fit": ["pad"]},
    ],
)
def test_stored_preparation_that_differs_is_refused(change):
    with pytest.raises(EdgenetsError, match=r"image preparation|unknown fit"):
        Preparation.from_json({**Preparation(224, 256).to_json(), **change})


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, {"resolution": 224, "resize": 256}])
def test_stored_preparation_that_is_none_is_refused(value):
    with pytest.raises(EdgenetsError, match="image preparation looks like"):
        Preparation.from_json(value)


def test_image_of_the_right_size_is_unchanged():
    image = noise(32, 32)
    np.testing.assert_array_equal(prepare(image, Preparation(32, 32)), np.array(image))


def test_crop_is_the_centre_after_resizing_the_short_side():
    image = noise(100, 150)
    expected = image.resize((84, 56), Image.Resampling.BILINEAR).crop((18, 4, 66, 52))
    np.testing.assert_array_equal(prepare(image, Preparation(48, 56)), np.array(expected))


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (5, 4), (7, 33), (400, 300), (33, 32)])
@pytest.mark.parametrize(
    "preparation",
    [Preparation(32, 32), Preparation(32, 37), Preparation(1, 1), Preparation(32, 32, "stretch")],
)
def test_any_size_becomes_the_resolution(size, preparation):
    pixels = prepare(Image.new("RGB", size, RED), preparation)
    assert pixels.shape == (preparation.resolution, preparation.resolution, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == RED).all()


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_thread_of_an_image_needs_no_memory(size):
    # Resized whole, this would be 256 x 15,360,000 pixels.
    assert prepare(Image.new("RGB", size, BLUE), Preparation(224, 256)).shape == (224, 224, 3)
    for fit in ("stretch", "pad"):
        whole = prepare(Image.new("RGB", size, BLUE), Preparation(224, 224, fit))
        assert (whole[111, 111] == BLUE).all()  # of a pad one line, in the middle


def grey(*rows: list[int]) -> Image.Image:
    return Image.fromarray(np.uint8(rows)).convert("RGB")


@pytest.mark.parametrize(
    "rows, side, expected",
    [
        # A square of 2: points at 0 and 2 of four columns, 0 and 1 of two rows.
        ([[0, 9, 40, 9], [8, 9, 88, 9]], 2, [[0, 40], [8, 88]]),
        # Of 4: points at 0, 1.5, 3 and 4.5 of six columns, all in one row.
        ([[0, 10, 30, 40, 60, 81]], 4, [[0, 20, 40, 70]] * 4),  # 70.5 goes to the even number
        # Of 4 from 2: at 0, 0.5, 1 and 1.5; behind the last pixel that one goes on.
        (
            [[0, 100], [40, 200]],
            4,
            [[0, 50, 100, 100], [20, 85, 150, 150], *[[40, 120, 200, 200]] * 2],
        ),
    ],
)
def test_stretched_picture_is_whole_and_of_four_pixels_each(rows, side, expected):
    pixels = prepare(grey(*rows), Preparation(side, side, "stretch"))
    np.testing.assert_array_equal(pixels, np.array(grey(*expected)))


def test_padded_picture_is_whole_in_the_middle_of_black():
    wide = grey([10, 20, 30, 40], [50, 60, 70, 80])
    black = [0, 0, 0, 0]
    expected = grey(black, [10, 20, 30, 40], [50, 60, 70, 80], black)
    np.testing.assert_array_equal(prepare(wide, Preparation(4, 4, "pad")), np.array(expected))
    tall = noise(90, 30)
    pixels = prepare(tall, Preparation(32, 32, "pad"))
    resized = np.array(tall.resize((11, 32), Image.Resampling.BILINEAR))  # 32 * 30 / 90 = 10.67
    np.testing.assert_array_equal(pixels[:, 10:21], resized)
    assert not pixels[:, :10].any() and not pixels[:, 21:].any()


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_square_of_the_right_size_is_unchanged_by_any_fit(fit):
    image = noise(32, 32)
    np.testing.assert_array_equal(prepare(image, Preparation(32, 32, fit)), np.array(image))


def test_narrow_image_shows_its_centre():
    image = Image.new("RGB", (64, 2000), RED)
    image.paste(GREEN, (0, 900, 64, 1100))
    assert (prepare(image, Preparation(32, 32)) == GREEN).all()


def test_network_inputs_are_float_and_int8_of_the_same_pixels():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    floats, integers = to_network(pixels), to_int8(pixels)
    assert floats.dtype == np.float32
    assert integers.dtype == np.int8
    np.testing.assert_array_equal(integers.astype(int), pixels.astype(int) - 128)
    np.testing.assert_allclose(floats, pixels / 127.5 - 1, atol=2**-24)
    assert (floats[0, 0], floats[-1, -1]) == (-1, 1)
    # (q + 128) / 127.5 - 1: scale 1 / 127.5, and a zero point half a code off -0.5.
    np.testing.assert_allclose(floats, (integers.astype(float) + 0.5) / 127.5, atol=2**-23)


def test_images_need_numpy_and_pillow_only():
    absent = ["sklearn", "tensorflow", "tf_keras", "rich", "click"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));"
        "import edgenets.data.images, edgenets.data.dataset"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
