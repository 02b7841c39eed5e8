import doctest
import tarfile

import numpy as np
import pytest
from PIL import Image

from edgenets import flatbuffer
from edgenets.data.sources import open_dataset
from edgenets.errors import EdgenetsError
from edgenets.export.measure import accuracy
from edgenets.export.measure.accuracy import evaluate_file, label_ranks, score, warnings_of_score
from edgenets.export.measure.classifier import Classifier
from edgenets.intervals import wilson_interval

LABELS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


@pytest.fixture
def dataset(tiny_net, tmp_path):
    """A function that saves the tiny net's images, each in the folder of the class it is given."""

    def save(classes):
        for i, (pixels, label) in enumerate(zip(tiny_net.pixels, classes, strict=True)):
            folder = tmp_path / "data" / "test" / LABELS[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
        return tmp_path / "data"

    return save


def test_score_is_the_arithmetic_by_hand():
    logits = np.array(
        [
            [9, 8, 7, 6, 5, 4],  # class 0: first
            [9, 8, 7, 6, 5, 4],  # class 4: fifth
            [9, 8, 7, 6, 5, 4],  # class 5: sixth
            [0, 0, 3, 0, 0, 0],  # class 2: first
        ],
        np.float32,
    )
    result = score(logits, np.array([0, 4, 5, 2]), list("abcdef"))
    assert result["top1"] == 2 / 4
    assert result["top5"] == 3 / 4
    assert result["samples"] == 4
    assert result["ci95"] == list(wilson_interval(2 / 4, 4))
    assert result["per_class"][4] == {
        **{"label": "e", "samples": 1, "top1": 0.0},
        "ci95": list(wilson_interval(0.0, 1)),
    }
    assert result["per_class"][1] == {
        **{"label": "b", "samples": 0},
        **{"top1": None, "ci95": None},
    }
    expected = np.zeros((6, 6), int)
    expected[0, 0] = expected[4, 0] = expected[5, 0] = expected[2, 2] = 1
    assert result["confusion"] == expected.tolist()


def test_equal_logits_rank_by_class_index():
    logits = np.array([[5, 5, 9, 5]] * 4, np.float32)
    assert label_ranks(logits, np.array([0, 1, 2, 3])).tolist() == [1, 2, 0, 3]
    # All equal: only class 0 is right, and the confusion matrix says the same.
    result = score(np.zeros((3, 3)), np.array([0, 1, 2]), "abc")
    assert result["top1"] == 1 / 3
    assert result["confusion"] == [[1, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_the_first_five_take_in_ties_by_class_index():
    result = score(np.zeros((7, 7)), np.arange(7), LABELS)
    assert result["top5"] == 5 / 7


@pytest.mark.parametrize("classes, top5", [(2, None), (5, None), (6, 1.0)])
def test_top5_needs_six_classes(classes, top5):
    assert score(np.eye(classes), np.arange(classes), LABELS[:classes])["top5"] == top5


def test_a_nan_is_never_counted_as_right():
    with pytest.raises(EdgenetsError, match="NaN"):
        score(np.array([[1, np.nan]]), np.array([1]), "ab")


def score_of(answers, labels):
    return score(np.eye(3)[answers], np.array(labels), ["ant", "bee", "cat"])


def test_answering_the_commonest_class_always_is_said_loudly_with_what_to_do():
    labels = [0] * 20 + [1] * 50 + [2] * 30
    (warning,) = warnings_of_score(score_of([1] * 100, labels))
    assert warning.startswith(
        "top-1 50.00 % (95 % interval 40.4 to 59.6 %) cannot be told from always answering 'bee', "
        "the commonest class, which is right for 50.00 % of the 100 test images"
    )
    assert "more images" in warning and "weights" in warning


@pytest.mark.parametrize("right, warned", [(59, True), (60, False), (100, False)])
def test_the_lower_end_of_the_interval_must_be_above_the_commonest_class(right, warned):
    labels = np.array([0] * 25 + [1] * 50 + [2] * 25)
    answers = np.where(np.arange(100) < right, labels, (labels + 1) % 3)
    result = score_of(answers, labels)
    assert (result["ci95"][0] <= 0.5) == warned
    assert bool(warnings_of_score(result)) == warned


def test_images_of_one_class_tell_nothing_of_the_commonest():
    assert warnings_of_score(score_of([1, 0, 1], [1, 1, 1])) == []


def test_no_images_are_an_error():
    with pytest.raises(EdgenetsError, match="no image"):
        score(np.zeros((0, 3)), np.zeros(0, np.int64), "abc")


def test_file_is_right_as_often_as_its_images_lie_in_the_right_folder(
    tiny_net, tiny_int8_file, dataset
):
    answers = tiny_net.logits.argmax(axis=1)
    classes = answers.copy()
    classes[:4] = (classes[:4] + 1) % 7
    result = evaluate_file(tiny_int8_file, str(dataset(classes)))
    assert result["samples"] == 16
    assert result["top1"] == 12 / 16
    assert result["labels"] == list(LABELS)
    assert (result["split"], result["skipped"], result["warnings"]) == ("test", [], [])
    assert np.sum(result["confusion"]) == 16 and np.trace(result["confusion"]) == 12
    assert [row["samples"] for row in result["per_class"]] == np.bincount(
        classes, minlength=7
    ).tolist()


def test_a_damaged_image_is_skipped_with_its_reason(tiny_net, tiny_int8_file, dataset):
    data = dataset(tiny_net.logits.argmax(axis=1))
    broken = next(data.rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:40])
    result = evaluate_file(tiny_int8_file, str(data))
    assert result["samples"] == 15
    ((skipped),) = result["skipped"]
    assert skipped["path"].endswith(broken.name) and skipped["reason"]


def test_file_is_scored_on_the_test_part_that_was_split_off_for_it(
    tiny_net, tiny_metadata, with_metadata, dataset, tmp_path
):
    folder = dataset(np.arange(16) % 2) / "test"  # one level: two classes of eight images
    own = open_dataset(str(folder), seed=5)
    path = tmp_path / "own.tflite"
    metadata = {**tiny_metadata, "seeded_split": own.seeded_split.to_json()}
    path.write_bytes(with_metadata(tiny_net.int8, metadata))
    result = evaluate_file(path, str(folder))
    assert (result["split"], result["samples"]) == ("own test part", 4)
    (warning,) = result["warnings"]  # of two classes no net has seen
    assert "cannot be told from always answering" in warning
    assert result["confusion"] == _confusion_of(path, own.test)
    everything = evaluate_file(path, str(folder), everything=True)
    assert (everything["split"], everything["samples"]) == ("all", 16)
    assert "training images among them" in everything["warnings"][0]
    own.train.sources[0].unlink()
    changed = evaluate_file(path, str(folder))
    assert (changed["split"], changed["samples"]) == ("all", 15)
    assert "is not as the model was trained on it" in changed["warnings"][0]


def _confusion_of(path, split):
    classifier = Classifier(path)
    pixels = split.load(classifier.preparation).take(range(len(split)))
    return score(classifier.logits(pixels), split.labels, LABELS)["confusion"]


@pytest.mark.parametrize("value", [{}, 7, {"seed": -1, "test_fraction": 0.2, "fingerprint": "x"}])
def test_a_damaged_split_in_a_file_is_one_sentence(
    tiny_net, tiny_metadata, with_metadata, tmp_path, value
):
    path = tmp_path / "bad.tflite"
    path.write_bytes(with_metadata(tiny_net.int8, {**tiny_metadata, "seeded_split": value}))
    with pytest.raises(EdgenetsError, match=r"bad\.tflite: a seeded split looks like"):
        evaluate_file(path, "digits")


def test_labels_of_a_file_that_has_none_are_asked_for_and_taken(
    tiny_net, tiny_metadata, with_metadata, dataset, tmp_path
):
    path = tmp_path / "bare.tflite"
    path.write_bytes(with_metadata(tiny_net.int8, {"preparation": tiny_metadata["preparation"]}))
    data = str(dataset(tiny_net.logits.argmax(axis=1)))
    with pytest.raises(EdgenetsError, match=r"bare\.tflite does not hold its labels; pass"):
        evaluate_file(path, data)
    assert evaluate_file(path, data, labels=LABELS)["top1"] == 1
    wrong = LABELS[::-1]  # labels are taken as they are given
    assert evaluate_file(path, data, labels=wrong)["top1"] < 1


def test_a_file_of_another_tool_is_scored_with_what_it_does_not_say(tiny_net, dataset, tmp_path):
    path = tmp_path / "foreign.tflite"
    path.write_bytes(tiny_net.softmax_float32)
    data = str(dataset(tiny_net.logits.argmax(axis=1)))
    with pytest.raises(EdgenetsError, match="does not say which values its float32 input takes"):
        evaluate_file(path, data, labels=LABELS)
    scored = evaluate_file(path, data, labels=LABELS, input_range=(-1, 1))
    assert scored["top1"] == 1
    assert scored["warnings"][0] == (
        "the file does not say how its images are prepared; taken was the usual way, the short "
        "side at 8 pixels and the centre of 8 x 8"
    )


def test_a_rewritten_file_says_what_became_of_its_labels(tiny_int8_file, tmp_path):
    path = tmp_path / "rewritten.tflite"
    path.write_bytes(flatbuffer.rewrite(tiny_int8_file.read_bytes(), lambda model: None))
    with pytest.raises(EdgenetsError) as raised:
        evaluate_file(path, "digits")
    assert str(raised.value) == (
        f"{path} names its labels, labels.txt, and does not hold them: it was cut short, or a "
        "tool that rewrote it left out what stood behind the model; pass them with --labels FILE"
    )


RESNET_LABELS = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())


@pytest.mark.slow
def test_the_resnet_of_mlperf_tiny_knows_cifar10(shared_data, tmp_path):
    """All 5,000 of these JPEG files give 74.84 %, the PNGs before them 81.5; [-1, 1] gave 10 %."""
    archive = shared_data / "cifar10.tar.xz"
    if not archive.is_file():
        pytest.skip("the images of CIFAR-10 (shared/data/cifar10.tar.xz) are not there")
    wanted = {
        f"cifar10/test/{label}/{i:04}.jpg" for label in RESNET_LABELS for i in range(0, 60, 2)
    }
    with tarfile.open(archive) as files:
        for member in files:
            if member.name in wanted:
                content = files.extractfile(member)
                assert content is not None
                image = tmp_path / member.name
                image.parent.mkdir(parents=True, exist_ok=True)
                image.write_bytes(content.read())
                wanted.remove(member.name)
            if not wanted:
                break
    path = shared_data / "mlperf_tiny" / "pretrainedResnet_quant.tflite"
    scored = evaluate_file(path, str(tmp_path / "cifar10"), labels=RESNET_LABELS)
    low, high = scored["ci95"]
    assert scored["samples"] == 300 and low < 0.7484 < high


def test_docstring_examples_are_right():
    assert doctest.testmod(accuracy).failed == 0
