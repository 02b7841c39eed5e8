"""`edgenets compress` on a trained model, and the file that is exported of its result."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
import yaml

from edgenets import flatbuffer
from edgenets.cli.compress import print_worst_layers
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.ethos_u.compiler import compile_file
from edgenets.export.metadata import layer_names
from edgenets.export.targets import find_target
from edgenets.models.folder import Model
from edgenets.pipeline.stages import compress
from edgenets.quantize.layers import kernel_axes, kernel_of
from edgenets.quantize.package.epk import pack

pytestmark = pytest.mark.slow
RECIPE = """\
- stage: prune
  sparsity: 0.6
  layers: {logits: {sparsity: 0.5}}
  epochs: 4
  batch_size: 16
  augment: 0
- stage: share
  clusters: 16
  layers: {stem_conv: {clusters: 24}}
  epochs: 4
  batch_size: 16
  augment: 0
- stage: int8
  calibration_images: 50
"""


def edgenets(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    edgenets_command.main([*map(str, arguments), "--json"], standalone_mode=False)
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def trained(tiny_run: Path) -> Path:
    return tiny_run / "stages" / "01-train"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def compressed(
    trained: Path, recipe: Path, image_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("compressed") / "model"
    options = ["--recipe", recipe, "--data", image_folder, "--out", out, "--no-flip"]
    edgenets_command.main(["compress", *map(str, [trained, *options])], standalone_mode=False)
    return out


def test_result_is_a_model_folder_with_its_recipe_and_measurements(compressed: Path):
    names = sorted(path.name for path in compressed.iterdir())
    assert names == [
        *("codes.safetensors", "compress.json", "int8_error.svg", "recipe.yaml", "spec.json"),
        "weights.safetensors",
    ]
    stored = yaml.safe_load((compressed / "recipe.yaml").read_text())
    assert [stage["stage"] for stage in stored] == ["prune", "share", "int8"]
    measured = json.loads((compressed / "compress.json").read_text())["stages"]
    assert [stage["name"] for stage in measured] == ["model", "prune", "share", "int8"]
    top1 = [stage["top1"] for stage in measured]
    assert top1[0] >= 0.9 and top1[-1] >= top1[0] - 0.1
    assert measured[-1]["distinct_values"] <= 24
    # Only the integer file is packed: a package of floats takes long and nobody sends it.
    *of_floats, of_integers = [stage["stored_bytes"] for stage in measured]
    assert of_floats == [None] * 3 and of_integers < measured[-1]["size_bytes"] / 2


def test_int8_says_which_layers_lose_most(compressed: Path, capsys):
    errors = json.loads((compressed / "compress.json").read_text())["stages"][-1]["error"]
    assert len(errors) == 29  # stem, 13 blocks of two, pool, logits
    assert [errors[0]["layer"], errors[-1]["layer"]] == ["stem_conv", "logits"]
    assert all(error["own_snr_db"] > 20 for error in errors)
    print_worst_layers(errors)
    worst = min(errors, key=lambda error: error["own_snr_db"])
    named = f"{worst['layer']} {worst['own_snr_db']:.1f} dB"
    assert capsys.readouterr().out.startswith(f"int8 adds most error in {named}, ")


def test_exported_file_holds_the_folder_s_integers_and_needs_no_images(
    compressed: Path, image_folder: Path, tmp_path: Path, capsys
):
    file = tmp_path / "small.tflite"
    edgenets(capsys, "export", compressed, "--out", file)
    codes = Model.load(compressed).codes
    read = flatbuffer.read(file)
    tensors = {
        layer: read.tensors[operator.inputs[1]]
        for operator, layer in zip(read.operators, layer_names(read), strict=True)
        if operator.name in flatbuffer.WEIGHTED
    }
    assert len(tensors) == 28 and tensors.keys() == codes.kernels.keys()
    for layer, tensor in tensors.items():
        kernel = codes.kernels[layer]
        assert tensor.dtype == "int8"
        assert len(np.unique(tensor.data)) <= (24 if layer == "stem_conv" else 16)
        np.testing.assert_array_equal(np.sort(tensor.data, None), np.sort(kernel.codes, None))
        if layer.endswith("pointwise_conv") and kernel.codes.size >= 1000:
            assert np.mean(tensor.data == 0) >= 0.6 - 1 / tensor.data.size
    assert np.mean(codes.kernels["logits"].codes == 0) >= 0.5
    last = json.loads((compressed / "compress.json").read_text())["stages"][-1]
    assert last["size_bytes"] == file.stat().st_size
    assert edgenets(capsys, "evaluate", file, "--data", image_folder)["top1"] == last["top1"]
    with_images = edgenets(
        capsys, "export", compressed, "--data", image_folder, "--out", tmp_path / "again.tflite"
    )
    assert with_images["fidelity"]["agreement"] >= 0.9
    assert (tmp_path / "again.tflite").read_bytes() == file.read_bytes()


def test_rate_meets_a_budget_and_settles_the_integers(
    trained: Path, image_folder: Path, tmp_path: Path, capsys
):
    path = tmp_path / "recipe.yaml"
    path.write_text("- {stage: rate, budget_bytes: 110000, calibration_images: 40}\n")
    options = ("--data", image_folder, "--out")
    edgenets(capsys, "export", trained, *options, tmp_path / "plain.tflite")
    before, after = edgenets(
        capsys, "compress", trained, "--recipe", path, *options, tmp_path / "m"
    )["stages"]
    plain_bytes = len(pack((tmp_path / "plain.tflite").read_bytes()))
    assert after["package_bytes"] <= 110_000 < plain_bytes
    assert after["divergence"]["kl"] < 0.1 and after["top1"] >= before["top1"] - 0.1
    file = tmp_path / "m.tflite"
    edgenets(capsys, "export", tmp_path / "m", "--out", file)
    assert len(pack(file.read_bytes())) == after["package_bytes"]


def test_rate_for_an_npu_tells_what_its_file_takes_there(
    trained: Path, image_folder: Path, tmp_path: Path, capsys
):
    path, target = tmp_path / "recipe.yaml", find_target("ethos-u55-128")
    options = ("--recipe", path, "--data", image_folder, "--out", tmp_path / "m")
    path.write_text("- {stage: rate, calibration_images: 40}\n")
    budget = ("--budget-cycles", 1, "--target", target.name)
    with pytest.raises(EdgenetsError, match=r"no waiting for weights.* pass a budget_cycles above"):
        edgenets(capsys, "compress", trained, *options, *budget)
    assert not (tmp_path / "m" / "spec.json").exists()
    settings = f"calibration_images: 40, price: 1.0e-6, target: {target.name}"
    path.write_text(f"- {{stage: rate, {settings}}}\n")
    after = edgenets(capsys, "compress", trained, *options)["stages"][-1]
    assert after["npu"]["target"] == target.name
    file = tmp_path / "m.tflite"
    edgenets(capsys, "export", tmp_path / "m", "--target", target.name, "--out", file)
    estimates = compile_file(file, target).estimates
    assert {key: after["npu"][key] for key in estimates} == estimates


def test_rate_that_trains_settles_the_integers_too(
    trained: Path, image_folder: Path, tmp_path: Path, capsys
):
    path = tmp_path / "recipe.yaml"
    settings = "epochs: 2, batch_size: 16, augment: 0, calibration_images: 40, price: 1.0e-6"
    path.write_text(f"- {{stage: rate, {settings}}}\n")
    options = ("--recipe", path, "--data", image_folder, "--out", tmp_path / "m")
    before, after = edgenets(capsys, "compress", trained, *options)["stages"]
    assert after["history"]["epoch"] == [1, 2] and after["price"] == 1e-6
    assert after["top1"] >= before["top1"] - 0.1
    model = Model.load(tmp_path / "m")
    assert model.spec.history["rate"] == after["history"]
    assert model.spec.recipe[-1]["distillation"] == {"alpha": 0.9, "temperature": 1.0}
    file = tmp_path / "m.tflite"
    edgenets(capsys, "export", tmp_path / "m", "--out", file)
    assert len(pack(file.read_bytes())) == after["package_bytes"]


def test_fp16_folder_is_the_file_and_takes_half(
    trained: Path, image_folder: Path, tmp_path: Path, capsys
):
    options = ("--recipe", "fp16", "--data", image_folder, "--out", tmp_path / "m")
    before, after = edgenets(capsys, "compress", trained, *options)["stages"]
    assert before["size_bytes"] / after["size_bytes"] > 1.8
    assert after["fidelity"]["agreement"] >= 0.95
    model = Model.load(tmp_path / "m").net
    for weight in model.get_weights():
        np.testing.assert_array_equal(weight, weight.astype(np.float16))
    file = tmp_path / "m.tflite"
    edgenets(capsys, "export", tmp_path / "m", "--format", "fp16", "--out", file)
    assert file.stat().st_size == after["size_bytes"]


def test_xnnpack_s_policy_prunes_pointwise_convolutions_only(
    trained: Path, image_folder: Path, tmp_path: Path, capsys
):
    path = tmp_path / "recipe.yaml"
    text = "- {stage: prune, policy: xnnpack, sparsity: 0.75, epochs: 2, batch_size: 16}\n"
    path.write_text(text)
    options = ("--recipe", path, "--data", image_folder, "--out", tmp_path / "m")
    edgenets(capsys, "compress", trained, *options)
    model = Model.load(tmp_path / "m").net
    for layer in model.layers:
        if kernel_axes(layer):
            zeros = np.mean(kernel_of(layer).numpy() == 0)
            is_pointwise = layer.name.endswith("pointwise_conv")
            assert zeros == (pytest.approx(0.75, abs=0.01) if is_pointwise else 0)


@pytest.mark.parametrize("number_format", ["int16x8", "dynamic", "fp16", "fp32"])
def test_other_formats_say_what_they_do_with_the_folder_s_integers(
    number_format: str, compressed: Path, image_folder: Path, tmp_path: Path, capsys
):
    file = tmp_path / "small.tflite"
    options = ("--format", number_format, "--data", image_folder, "--out", file)
    result = edgenets(capsys, "export", compressed, *options)
    assert "codes.safetensors" in result["codes"]
    assert result["fidelity"]["agreement"] >= 0.9
    integers = [t for t in flatbuffer.read(file).weights if t.dtype == "int8"]
    assert bool(integers) == (number_format in ("int16x8", "dynamic"))
    assert all(len(np.unique(tensor.data)) <= 24 for tensor in integers)


def test_stopped_compression_goes_on_and_ends_as_an_undisturbed_one(
    compressed: Path,
    trained: Path,
    recipe: Path,
    image_folder: Path,
    tmp_path: Path,
    capsys,
    monkeypatch: pytest.MonkeyPatch,
):
    options = ("--recipe", recipe, "--data", image_folder, "--out", tmp_path / "m", "--no-flip")

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(click.Abort):
        patch.setattr(compress, "_settle_integers", stop)
        edgenets(capsys, "compress", trained, *options)
    assert not (tmp_path / "m" / "spec.json").exists()

    def repeat(*arguments: object, **named: object) -> None:
        raise AssertionError("a finished stage is made again")

    monkeypatch.setitem(compress.COMPRESS, "prune", repeat)
    monkeypatch.setitem(compress.COMPRESS, "share", repeat)
    edgenets(capsys, "compress", trained, *options)
    same = ("weights.safetensors", "codes.safetensors", "spec.json", "recipe.yaml")
    for name in (*same, "int8_error.svg"):
        assert (tmp_path / "m" / name).read_bytes() == (compressed / name).read_bytes()
    with pytest.raises(EdgenetsError, match="already holds a model"):
        edgenets(capsys, "compress", trained, *options)


@pytest.mark.parametrize(
    "text, message",
    [
        ("- {stage: prune, sparsity: 1.0}\n", "line 1: compress.0.sparsity: input should be less"),
        ("- stage: share\n  clusters: 1\n", "line 2: compress.0.clusters: input should be great"),
        ("- stage: share\n  clusters: 0\n", "line 2: compress.0.clusters: input should be great"),
        ("- {stage: share, cluster: 9}\n", "unknown key 'compress.0.cluster'; did you mean clust"),
        ("- {stage: prune, layers: {stem*: {sparse: 0.5}}}\n", "sparse'; did you mean sparsity?"),
        ("- {stage: int8}\n- {stage: prune}\n", "prune after int8 would change its weights"),
        ("- {stage: share}\n- {stage: fp16}\n", "fp16 after share would undo it; leave one"),
        (
            "- {stage: prune, policy: xnnpack, sparsity: 0.5}\n",
            "must be at least 0.6667, from",
        ),
        ("stage: int8\n", "must hold a list of stages"),
        ("- {stage: prune, layers: {stemm: {sparsity: 0.5}}}\n", "unknown layer of mobilenet_v1"),
    ],
)
def test_recipe_that_does_not_fit_gets_a_sentence(
    text: str, message: str, trained: Path, image_folder: Path, tmp_path: Path, capsys
):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(EdgenetsError) as raised:
        edgenets(
            capsys,
            *("compress", trained, "--recipe", path, "--data", image_folder),
            *("--out", tmp_path / "out"),
        )
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_recipe_and_images_of_other_classes_get_a_sentence(
    trained: Path, image_folder: Path, tmp_path: Path, capsys
):
    options = ("--out", tmp_path / "out")
    with pytest.raises(EdgenetsError, match="unknown recipe 'deep'"):
        edgenets(capsys, "compress", trained, "--recipe", "deep", "--data", image_folder, *options)
    with pytest.raises(
        EdgenetsError, match="knows dark, left, right, the images are of 0, 1, 2 and 7"
    ):
        edgenets(capsys, "compress", trained, "--recipe", "int8", "--data", "digits", *options)


def test_net_trained_with_a_teacher_is_another_one(trained: Path, image_folder: Path, tmp_path):
    net = ("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8")
    options = ("--data", image_folder, "--epochs", "1", "--no-flip", "--weights", "none")
    command = ["train", *net, *options, "--teacher", trained, "--out", tmp_path / "m"]
    edgenets_command.main([*map(str, command)], standalone_mode=False)
    spec = json.loads((tmp_path / "m" / "spec.json").read_text())
    alone = json.loads((trained / "spec.json").read_text())
    assert spec["history"]["train"]["loss"][0] != alone["history"]["train"]["loss"][0]


KEPT = {"stem_conv", "logits"}


@pytest.fixture(scope="module")
def kept(trained: Path, image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose int8 file keeps two layers float."""
    return compress_keeping(trained, ["stem_*", "logits"], image_folder, tmp_path_factory)


def compress_keeping(
    folder: Path, patterns: list[str], images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    parent = tmp_path_factory.mktemp("kept")
    stage = {"stage": "int8", "calibration_images": 50, "keep_float": patterns}
    (parent / "kept.yaml").write_text(yaml.safe_dump([stage]))
    options = ["--recipe", parent / "kept.yaml", "--data", images, "--out", parent / "model"]
    edgenets_command.main(["compress", *map(str, [folder, *options])], standalone_mode=False)
    return parent / "model"


def float_kernels(file: Path) -> list[flatbuffer.Tensor]:
    return [tensor for tensor in flatbuffer.read(file).weights if tensor.dtype == "float32"]


def test_layers_kept_float_stay_so_in_the_exported_file(
    kept: Path, image_folder: Path, tmp_path: Path, capsys
):
    file, again = tmp_path / "kept.tflite", tmp_path / "again.tflite"
    result = edgenets(capsys, "export", kept, "--out", file)
    assert set(result["kept_float"]) == KEPT
    edgenets(capsys, "export", kept, "--data", image_folder, "--out", again)
    assert again.read_bytes() == file.read_bytes()
    loaded = Model.load(kept)
    assert loaded.codes.kernels.keys() == {
        layer.name for layer in loaded.net.layers if layer.name.endswith("conv")
    } - {"stem_conv"}
    stem, logits = float_kernels(file)
    np.testing.assert_array_equal(logits.content, loaded.net.get_layer("logits").kernel.numpy().T)
    assert stem.shape == (8, 3, 3, 3)
    last = json.loads((kept / "compress.json").read_text())["stages"][-1]
    assert last["size_bytes"] == file.stat().st_size
    assert edgenets(capsys, "evaluate", file, "--data", image_folder)["top1"] == last["top1"]


def test_layers_kept_float_are_accounted_in_32_bits(kept: Path):
    layers = json.loads((kept / "compress.json").read_text())["accounting"]["layers"]
    assert {row["name"] for row in layers if row["weight_bits"] == 32} == KEPT


def test_folder_decides_which_layers_are_kept_float(
    kept: Path, image_folder: Path, tmp_path: Path, tmp_path_factory, capsys
):
    file = tmp_path / "model.tflite"
    with pytest.raises(EdgenetsError, match="says which layers are kept float"):
        edgenets(capsys, "export", kept, "--keep-float", "logits", "--out", file)
    with pytest.raises(EdgenetsError, match="int16x8 cannot keep layers float"):
        options = ("--format", "int16x8", "--data", image_folder, "--out", file)
        edgenets(capsys, "export", kept, *options)
    assert edgenets(capsys, "export", kept, "--format", "fp32", "--out", file)["codes"]
    assert len(float_kernels(file)) == 28
    settled = compress_keeping(kept, [], image_folder, tmp_path_factory)
    capsys.readouterr()  # what compress printed
    edgenets(capsys, "export", settled, "--out", file)
    assert not float_kernels(file)


def test_shared_kernel_kept_float_has_as_many_values_in_each_channel(
    compressed: Path, image_folder: Path, tmp_path: Path, tmp_path_factory, capsys
):
    folder = compress_keeping(compressed, ["stem_conv"], image_folder, tmp_path_factory)
    capsys.readouterr()  # what compress printed
    file = tmp_path / "model.tflite"
    edgenets(capsys, "export", folder, "--out", file)
    (stem,) = float_kernels(file)
    codes = Model.load(folder).codes.kernels["stem_conv"]
    np.testing.assert_array_equal(stem.content, np.moveaxis(codes.values, -1, 0))
    assert len(np.unique(codes.codes)) <= 24


def test_pattern_of_layers_to_keep_float_must_match_one(
    trained: Path, image_folder: Path, tmp_path_factory
):
    with pytest.raises(EdgenetsError, match="mobilenet_v1 'stem_konv'; did you mean stem_conv"):
        compress_keeping(trained, ["stem_konv"], image_folder, tmp_path_factory)
