"""Every kind of image file becomes upright 8-bit RGB."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenets.data.images import Preparation, load_prepared, load_rgb, prepare
from edgenets.errors import EdgenetsError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def pixels_of(path: Path) -> np.ndarray:
    image = load_rgb(path)
    assert image.mode == "RGB"
    return np.array(image)


# Modes


def test_rgb_png_is_read_as_it_is(tmp_path, noise):
    noise().save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.png"), np.array(noise()))


def test_grey_is_repeated_in_three_channels(tmp_path, noise):
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


def test_unreadable_exif_is_ignored(tmp_path, noise):
    for name in ("a.png", "a.jpg"):
        noise().save(tmp_path / name, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff rubbish")
        assert load_rgb(tmp_path / name).size == (64, 48)


def test_exif_that_cannot_be_written_back_does_not_matter(tmp_path, noise):
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
def test_file_that_is_not_reduced_has_the_same_pixels_as_ever(tmp_path, extension, noise):
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


def test_first_picture_of_a_multi_picture_file_is_reduced(tmp_path, noise):
    path = tmp_path / "a.jpg"  # as phones store a photograph with its preview
    photograph(1600, 1200).save(path, "MPO", save_all=True, append_images=[noise()])
    assert Image.open(path).format == "MPO"
    assert load_rgb(path, needed=75).size == (200, 150)


@pytest.mark.parametrize("cut", [20, 1000, 30_000])
def test_reduced_decoding_finds_the_truncation_too(tmp_path, cut, noise):
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
def test_truncated_heic_is_refused_with_one_line(tmp_path, save_heic, cut, noise, reason):
    path = tmp_path / "a.heic"
    save_heic(noise(), path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert reason(path).startswith(("truncated or damaged: ", "not an image Pillow can read"))
    assert "\n" not in reason(path)


def test_heic_without_its_package_names_the_extra(tmp_path, save_heic, noise):
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


def test_pillow_heif_is_loaded_only_for_such_a_file(tmp_path, save_heic, noise):
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
