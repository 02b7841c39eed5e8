"""The built-in digits: scikit-learn's images, a fixed split."""

import sys

import numpy as np
import pytest

from edgenets.data.digits import _read as read_digits
from edgenets.data.images import Preparation
from edgenets.data.sources import open_dataset, open_for_evaluation
from edgenets.errors import EdgenetsError


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


def test_digits_have_the_fixed_split(digits):
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert np.bincount(digits.test.labels).tolist() == [36] * 10
    assert digits.classes == tuple("0123456789")
    assert digits.skipped == ()
    assert digits.flip is False


def test_digits_are_the_same_for_every_seed_numpy_and_machine(digits):
    # Equal under NumPy 1.26 and 2.4, Pillow 10.3 and 13; if it changes, published results end.
    assert digits.fingerprint.startswith("67d1d38eb262f1ad")
    assert open_dataset("digits", seed=7, test_fraction=0.5).fingerprint == digits.fingerprint


def test_no_test_image_is_in_train(digits):
    train = {image.tobytes() for image in digits.train.sources}
    assert not train & {image.tobytes() for image in digits.test.sources}


def test_pixels_are_the_enlarged_values(digits):
    from sklearn.datasets import load_digits

    pixels = digits.train.load(Preparation(32, 32)).take(range(1437))
    assert pixels.shape == (1437, 32, 32, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    # Enlarging keeps the mean of 8 x 8 values 0..16, up to what the borders repeat.
    values = load_digits().images * 255 / 16
    assert pixels.mean() == pytest.approx(values.mean(), rel=0.02)


def test_values_are_read_as_scikit_learn_reads_them():
    from sklearn.datasets import load_digits

    for ours, theirs in zip(
        read_digits(), (load_digits().images, load_digits().target), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_evaluation_uses_the_test_images_under_the_models_labels(digits):
    images = open_for_evaluation("digits", tuple("9876543210"))
    np.testing.assert_array_equal(images.split.labels, 9 - digits.test.labels)
    assert (images.part, images.skipped, images.warnings) == ("test", (), ())
    everything = open_for_evaluation("digits", tuple("0123456789"), everything=True)
    assert len(everything.split) == 1797
    assert len(everything.warnings) == 1


def test_evaluation_of_a_model_of_something_else_is_refused():
    with pytest.raises(EdgenetsError, match="class '0' of digits is not a label of the model"):
        open_for_evaluation("digits", ("cat", "dog"))


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(EdgenetsError, match=r"pip install 'edgenets\[train\]'"):
        open_dataset("digits")
