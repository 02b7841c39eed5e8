"""Pictures of any size become what the network takes."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from edgenets.data.images import Preparation, prepare
from edgenets.data.pixels import to_int8, to_network
from edgenets.errors import EdgenetsError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


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


def test_image_of_the_right_size_is_unchanged(noise):
    image = noise(32, 32)
    np.testing.assert_array_equal(prepare(image, Preparation(32, 32)), np.array(image))


def test_crop_is_the_centre_after_resizing_the_short_side(noise):
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


def test_padded_picture_is_whole_in_the_middle_of_black(noise):
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
def test_square_of_the_right_size_is_unchanged_by_any_fit(fit, noise):
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
