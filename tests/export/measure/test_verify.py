"""One file in several runtimes: what is equal, what differs, from which operator on, what dies."""

from __future__ import annotations

import base64
import io
import tarfile
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

from edgenets import flatbuffer
from edgenets.data.input_range import CENTRED
from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import KERNELS, TFLM
from edgenets.export.devices import environments
from edgenets.export.devices.local import LocalSession
from edgenets.export.measure import runtimes, verify
from edgenets.export.measure.accuracy import evaluate_file
from edgenets.export.measure.classifier import ClassifierFile
from edgenets.export.measure.parting import Run, find_parting
from edgenets.export.measure.remote_classifier import RemoteClassifier
from edgenets.export.measure.runtimes import TOSA, SessionRuntime, TosaRuntime, open_runtimes
from edgenets.export.measure.verify import Inputs, compare, verify_briefly, verify_file
from edgenets.models.weights.sources import PRETRAINED

IMAGES = 3
NETS = ("mobilenet_v1", "squeezenet", "shufflenet_v2", "xception")
LAST = "FULLY_CONNECTED"


def change_kernel(content: bytes, operator: int, value: int) -> bytes:
    """Return the file with the first code of an operator's kernel changed."""
    kernel = flatbuffer.read(content).operators[operator].inputs[1]

    def change(model):
        buffer = model.buffers[model.subgraphs[0].tensors[kernel].buffer]
        buffer.data = np.array(buffer.data, np.uint8)
        assert buffer.data[0] != value
        buffer.data[0] = value

    return flatbuffer.rewrite(content, change)


@pytest.fixture
def here():
    with LocalSession() as session:
        yield session


@pytest.fixture
def written(tiny_int8_file, tmp_path):
    """A function from a change of the tiny int8 file's content to the path of the changed file."""

    def write(change, *arguments):
        path = tmp_path / "changed.tflite"
        # Labels and preparation stand behind the model or in its metadata, and are not compared.
        path.write_bytes(change(tiny_int8_file.read_bytes(), *arguments))
        return path

    return write


def test_runtimes_at_hand_are_compared_with_the_reference_kernels(tiny_int8_file, monkeypatch):
    monkeypatch.setenv("EDGENETS_CACHE", str(tiny_int8_file.parent / "no cache"))
    result = verify_file(tiny_int8_file, images=IMAGES)
    names = [row["name"] for row in result["runtimes"]]
    assert names == [*KERNELS, TFLM]
    first = result["runtimes"][0]
    assert (first["package"], first["problem"]) == ("ai-edge-litert", None)
    assert (first["bit_equal"], first["largest_step"], first["same_answers"]) == (IMAGES, 0, 1)
    assert first["top1"] is None  # noise has no classes
    assert result["images"] == IMAGES and result["data"] is None
    reasons = {row["name"]: row["reason"] for row in result["missing"]}
    assert "edgenets doctor --setup-verify" in reasons[TOSA]
    assert reasons.keys() <= {TOSA, TFLM}


@pytest.mark.parametrize("operator", [0, 2])
def test_a_wrong_kernel_value_is_found_at_its_operator(tiny_int8_file, written, operator):
    other = written(change_kernel, operator, 99)
    result = verify_file(tiny_int8_file, images=IMAGES, against=other)
    found = result["first_difference"]
    operators = flatbuffer.read(tiny_int8_file).operators
    assert (found["operator"], found["op"]) == (operator, operators[operator].name)
    assert found["runtimes"] == ["reference", "reference, changed.tflite"]
    assert 0 < found["values"] < found["of"] and found["largest_step"] >= 1
    changed = result["runtimes"][1]
    assert changed["bit_equal"] < IMAGES and changed["largest_step"] >= 1
    assert found["images"] == IMAGES - changed["bit_equal"]


def test_operators_that_differ_themselves_are_named(tiny_int8_file, written):
    def sum_up(content):
        mean, total = map(flatbuffer.OPERATORS.index, ("MEAN", "SUM"))

        def change(model):
            for code in model.operatorCodes:
                if code.builtinCode == mean:
                    code.builtinCode = code.deprecatedBuiltinCode = total

        return flatbuffer.rewrite(content, change)

    found = verify_file(tiny_int8_file, images=IMAGES, against=written(sum_up))["first_difference"]
    assert (found["operator"], found["op"], found["values"]) == (1, "MEAN", None)


def test_files_with_other_ends_are_not_compared(tiny_int8_file, tiny_net, tmp_path):
    other = tmp_path / "float.tflite"
    other.write_bytes(tiny_net.float32)
    with pytest.raises(EdgenetsError, match=r"takes float32 .* other file has int8 .* one format"):
        verify_file(tiny_int8_file, against=other, input_range=(-1, 1))


def test_the_operator_is_the_same_however_little_is_returned_at_once(
    tiny_int8_file, written, here, tiny_net
):
    inputs = ClassifierFile(tiny_int8_file).inputs(tiny_net.pixels[:1])
    content, other = tiny_int8_file.read_bytes(), written(change_kernel, 2, 99).read_bytes()
    runtime = SessionRuntime("reference", here, "reference")
    at_once = find_parting(Run(runtime, content), Run(runtime, other), inputs)
    runtime.sent_bytes = 1  # an operator at a time
    assert find_parting(Run(runtime, content), Run(runtime, other), inputs) == at_once
    assert at_once.operator == 2


def test_a_runtime_that_dies_is_a_sentence_beside_the_others(tiny_int8_file, here, tiny_net):
    content = tiny_int8_file.read_bytes()
    classifier = ClassifierFile(tiny_int8_file)
    inputs = Inputs(classifier.inputs(tiny_net.pixels), np.zeros(len(tiny_net.pixels), np.int64))
    with LocalSession("dying", ("sh", "-c", "kill -SEGV $$")) as dying:
        candidates = [
            (Run(SessionRuntime("dying", dying, None), content), "dying"),
            (Run(SessionRuntime("reference", here, "reference"), content), "reference"),
        ]
        result = compare(classifier, candidates, inputs)
        dead, alive = result["runtimes"]
        assert "crashed with SIGSEGV" in dead["problem"]
        assert dead["bit_equal"] is dead["same_answers"] is dead["top1"] is None
        assert alive["bit_equal"] == len(tiny_net.pixels) and alive["problem"] is None
        answers = classifier.logits_of(
            RemoteClassifier(tiny_int8_file, here, kernels="reference").outputs(tiny_net.pixels)
        )
        assert alive["top1"] == np.mean(answers.argmax(axis=1) == 0)
        with pytest.raises(EdgenetsError, match=r"no runtime runs the file: dying says: .*SIGSEGV"):
            compare(classifier, candidates[:1], inputs)


def test_a_file_with_nan_is_said(tiny_net, tmp_path):
    def poison(model):
        bias = flatbuffer.read(tiny_net.float32).operators[0].inputs[2]
        values = np.array([np.nan, *range(7)], np.float32)
        buffer = model.buffers[model.subgraphs[0].tensors[bias].buffer]
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)

    path = tmp_path / "nan.tflite"
    path.write_bytes(flatbuffer.rewrite(tiny_net.float32, poison))
    result = verify_file(path, images=IMAGES, runtimes=["reference"], input_range=(-1, 1))
    (row,) = result["runtimes"]
    assert row["problem"] == f"it returned a NaN or an infinity for {IMAGES} images"
    assert row["bit_equal"] == IMAGES and row["same_answers"] is None


def test_an_answer_of_another_size_is_refused(tiny_int8_file, here, tiny_net, monkeypatch):
    runtime = SessionRuntime("reference", here, "reference")
    wrong = {"dtype": "int8", "shape": [1, 6], "base64": base64.b64encode(bytes(6)).decode()}
    answer = {"outputs": [wrong], "runtime": {"name": "x", "version": "1"}}
    monkeypatch.setattr(here, "ask", lambda jobs, **settings: [answer])
    inputs = ClassifierFile(tiny_int8_file).inputs(tiny_net.pixels[:1])
    with pytest.raises(EdgenetsError, match=r"returned int8 of \(1, 6\) for 1 images.*\(1, 7\)"):
        runtime.run(tiny_int8_file.read_bytes(), inputs)


def test_more_images_than_memory_has_room_for_are_one_sentence(tiny_int8_file):
    with pytest.raises(EdgenetsError, match="1000000000000 images are too many, which would take"):
        verify_file(tiny_int8_file, images=10**12, runtimes=["reference"])


def test_a_runtime_that_was_asked_for_must_be_at_hand(tiny_int8_file, monkeypatch):
    monkeypatch.setattr("edgenets.packages.installed_version", lambda name: None)
    with pytest.raises(EdgenetsError, match=r"needs tflite-micro.*'edgenets\[mcu\]'"):
        verify_file(tiny_int8_file, runtimes=[TFLM])
    monkeypatch.setattr("edgenets.packages.platform.machine", lambda: "aarch64")
    with pytest.raises(EdgenetsError, match="is made for Linux on x86-64 alone"):
        verify_file(tiny_int8_file, runtimes=[TFLM])


def test_tflm_says_which_operator_it_cannot_run(tiny_int8_file, written, here, tiny_net):
    def without_kernel(content):
        def change(model):
            (graph,) = model.subgraphs
            kernel = flatbuffer.read(content).operators[0].inputs[1]
            graph.tensors[kernel].quantization.scale = None
            graph.tensors[kernel].quantization.zeroPoint = None

        return flatbuffer.rewrite(content, change)

    runtime = SessionRuntime(TFLM, here, TFLM)
    inputs = ClassifierFile(tiny_int8_file).inputs(tiny_net.pixels)
    with pytest.raises(EdgenetsError, match=r"tflite-micro .* cannot run the file: .*CONV_2D"):
        runtime.run(written(without_kernel).read_bytes(), inputs)


def test_test_images_are_taken_evenly_and_scored(tiny_run, image_folder):
    result = verify_file(
        tiny_run / "model.tflite", str(image_folder), 9, runtimes=["reference", "xnnpack"]
    )
    assert result["images"] == 9
    for row in result["runtimes"]:
        assert row["top1"] in [hits / 9 for hits in range(10)]
        assert row["ci95"][0] <= row["same_answers"] <= row["ci95"][1]
    assert result["runtimes"][1]["bit_equal"] < 9  # XNNPACK rounds in its own way


def test_images_of_other_classes_are_compared_without_top1(tiny_int8_file, image_folder):
    result = verify_file(tiny_int8_file, str(image_folder), 4, runtimes=["reference", "xnnpack"])
    assert result["images"] == 4
    assert [row["top1"] for row in result["runtimes"]] == [None, None]
    assert all(row["ci95"][0] <= row["same_answers"] for row in result["runtimes"])
    (warning,) = [one for one in result["warnings"] if "top-1" in one]
    assert warning == (
        f"not all classes of {image_folder} are labels of the model, so top-1 is not counted"
    )


def test_evaluation_with_other_kernels_is_the_accuracy_with_them(tiny_run, image_folder, here):
    path = tiny_run / "model.tflite"
    result = verify_file(path, str(image_folder), 36, runtimes=["reference"])
    evaluated = evaluate_file(path, str(image_folder), kernels="reference")
    assert evaluated["samples"] == result["images"] == 36
    assert evaluated["top1"] == result["runtimes"][0]["top1"]
    pixels = smooth_images(4, 0)
    reference, usual = (
        RemoteClassifier(path, here, kernels=kernels).outputs(pixels)
        for kernels in ("reference", None)
    )
    assert (reference != usual).any()


def test_brief_verification_takes_as_many_images_as_there_is_time_for(
    tiny_net, tiny_int8_file, monkeypatch
):
    content, labels = tiny_int8_file.read_bytes(), np.zeros(len(tiny_net.pixels), np.int64)
    result = verify_briefly(content, "tiny.tflite", tiny_net.pixels, labels)
    assert result["images"] == len(tiny_net.pixels)
    assert [row["name"] for row in result["runtimes"]] == [*KERNELS, TFLM]
    monkeypatch.setattr(verify, "BRIEF_MACS", 1)
    monkeypatch.setattr(verify, "BRIEF_RUNTIMES", ("reference",))
    assert verify_briefly(content, "tiny.tflite", tiny_net.pixels, labels)["images"] == 1


def smooth_images(count: int, seed: int) -> np.ndarray:
    """Return images whose neighbouring pixels are alike: [count, 32, 32, 3]."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    large = [Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC) for one in small]
    return np.stack([np.asarray(one) for one in large])


def compare_int8(net: str, calibration: np.ndarray, pixels: np.ndarray, names) -> list[dict]:
    """Export a net of the package as int8 and return the rows of its runtimes."""
    from edgenets.export.write.tflite import to_int8
    from edgenets.models.folder import Model

    model = Model.load(PRETRAINED / f"cifar10_{net}")
    content = to_int8(model.net, model.spec, calibration)
    classifier = ClassifierFile(content, input_range=CENTRED)
    with ExitStack() as stack:
        runtimes, missing = open_runtimes(stack, names, ())
        assert not missing
        candidates = [(Run(runtime, content), runtime.name) for runtime in runtimes]
        inputs = Inputs(classifier.inputs(pixels), None)
        return compare(classifier, candidates, inputs)["runtimes"]


@pytest.mark.parametrize(
    "command, max_seconds, sentence",
    [
        (
            ["sh", "-c", "echo 'an error: no type.'; exit 3"],
            60,
            "with status 3: an error: no type$",
        ),
        (["sh", "-c", "sleep 60"], 0.1, "was stopped after 0 s$"),
        (["./nowhere"], 60, "cannot be run: No such file or directory$"),
    ],
)
def test_a_tool_of_tosa_that_fails_is_one_sentence(
    tiny_int8_file, tiny_net, monkeypatch, command, max_seconds, sentence
):
    monkeypatch.setattr(environments, "find_environment", lambda environment: None)
    monkeypatch.setattr(environments, "program", lambda environment, name: command)
    monkeypatch.setattr(runtimes, "MAX_SECONDS", max_seconds)
    content = tiny_int8_file.read_bytes()
    inputs = ClassifierFile(tiny_int8_file).inputs(tiny_net.pixels[:1])
    with pytest.raises(EdgenetsError, match=rf"^tosa-converter-for-tflite .*{sentence}"):
        TosaRuntime().run(content, inputs)


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_microcontrollers_and_tosa_answer_as_the_reference_kernels(net, tosa):
    rows = compare_int8(net, smooth_images(32, 1), smooth_images(16, 2), ("reference", TFLM, TOSA))
    for row in rows[1:]:
        assert row["bit_equal"] >= 15
        assert row["largest_step"] <= 1
        found = row["first_difference"]
        assert found is None or found["op"] == LAST


@pytest.mark.slow
def test_microcontrollers_answer_as_the_reference_kernels_on_cifar10(shared_file):
    trained, tested = [], []
    with tarfile.open(shared_file("cifar10.tar.xz"), "r|xz") as archive:
        for number, member in enumerate(archive):
            part = member.name.split("/")[1]
            wanted = {"train": (trained, 250), "test": (tested, 78)}.get(part)
            if member.isfile() and wanted and number % wanted[1] == 0 and len(wanted[0]) < 200:
                content = archive.extractfile(member).read()
                wanted[0].append(np.asarray(Image.open(io.BytesIO(content))))
    pixels = np.stack(tested[:64])
    reference, tflm = compare_int8("mobilenet_v1", np.stack(trained), pixels, ("reference", TFLM))
    assert reference["bit_equal"] == 64 and tflm["bit_equal"] >= 63
