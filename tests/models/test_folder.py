from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from edgenets.data.images import Preparation
from edgenets.data.splits import SeededSplit
from edgenets.errors import EdgenetsError
from edgenets.files import sha256_file
from edgenets.models.backend import keras
from edgenets.models.channels import count_channels, keep_filters
from edgenets.models.codes import Codes, Grid
from edgenets.models.fold import fold_batch_norm, is_folded
from edgenets.models.folder import Model, Spec, load_spec
from edgenets.models.registry import complete_arguments, create
from edgenets.models.weights.initial import load_weights
from edgenets.quantize.layers import assign_kernels
from edgenets.quantize.stages.int8 import quantize_kernels

ARGUMENTS = {"width": 0.25, "resolution": 32, "classes": 2}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return create("mobilenet_v1", **ARGUMENTS)


@pytest.fixture(scope="module")
def saved(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, of which tests change copies."""
    path = tmp_path_factory.mktemp("saved") / "model"
    spec = Spec(
        name="mobilenet_v1",
        arguments=complete_arguments("mobilenet_v1", ARGUMENTS),
        labels=("cat", "dog"),
        preparation=Preparation.default("mobilenet_v1", 32),
        seed=3,
    )
    Model(model, spec).save(path)
    return path


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


def edit_spec(folder: Path, **changes: object) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, **changes}))


def edit_weights(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    (folder / "weights.safetensors").write_bytes(safetensors.numpy.save(tensors))
    edit_spec(folder, weights_sha256=sha256_file(folder / "weights.safetensors"))


def weights(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load((folder / "weights.safetensors").read_bytes())


def test_loaded_model_computes_the_same_bits(model: keras.Model, folder: Path):
    loaded = Model.load(folder)
    loaded, spec = loaded.net, loaded.spec
    image = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(image), model(image))
    assert (spec.labels, spec.seed, spec.preparation.resize) == (("cat", "dog"), 3, 32)


def test_folded_model_is_rebuilt_folded(model: keras.Model, folder: Path, tmp_path: Path):
    spec, _ = load_spec(folder)
    folded = fold_batch_norm(model)
    Model(folded, replace(spec, folded=True)).save(tmp_path / "folded")
    loaded = Model.load(tmp_path / "folded")
    loaded, spec = loaded.net, loaded.spec
    assert spec.folded and is_folded(loaded)
    image = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(image), folded(image))


def test_seeded_split_is_kept_and_left_out_where_there_is_none(folder: Path):
    spec, _ = load_spec(folder)
    assert spec.seeded_split is None and "seeded_split" not in spec.to_json()
    split = SeededSplit(seed=3, test_fraction=0.25, fingerprint="abc")
    edit_spec(folder, seeded_split=replace(spec, seeded_split=split).to_json()["seeded_split"])
    assert load_spec(folder)[0].seeded_split == split
    edit_spec(folder, seeded_split={"seed": 3, "test_fraction": 1.5, "fingerprint": "abc"})
    with pytest.raises(EdgenetsError, match=r"spec\.json: a seeded split looks like .* not"):
        load_spec(folder)


def test_channels_rebuild_a_slimmed_net(model: keras.Model, saved: Path, tmp_path: Path):
    small = keep_filters(model, {"block2_pointwise_conv": np.arange(0, 32, 4)})
    spec = replace(load_spec(saved)[0], channels=count_channels(model, small))
    Model(small, spec).save(tmp_path / "slim")
    loaded = Model.load(tmp_path / "slim")
    assert loaded.spec.channels == {"block2_pointwise_conv": 8}
    for a, b in zip(small.get_weights(), loaded.net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    begun = load_weights(str(tmp_path / "slim"), "mobilenet_v1", {"resolution": 64}, seed=0)
    assert begun.spec.channels == loaded.spec.channels and begun.net.input_shape[1] == 64


@pytest.mark.parametrize(
    "channels, message",
    [
        ({"block2_pointwise_conv": 33}, "from 1 to the 32 filters"),
        ({"block2_pointwise_conv": 16.5}, "channels must be whole numbers by layer"),
        ({"nothing": 1}, "channels of nothing"),
        ([], "channels must be whole numbers by layer"),
    ],
)
def test_channels_that_do_not_fit_the_net_are_named(folder: Path, channels: object, message: str):
    edit_spec(folder, channels=channels)
    with pytest.raises(EdgenetsError, match=rf"spec\.json: .*{message}"):
        Model.load(folder)


@pytest.fixture(scope="module")
def saved_with_codes(
    model: keras.Model, saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("saved") / "coded"
    spec, _ = load_spec(saved)
    folded = fold_batch_norm(model)
    codes = Codes(quantize_kernels(folded), {"logits": (Grid(0.25, -3), Grid(0.5, 7))})
    assign_kernels(folded, codes.kernels)
    Model(folded, replace(spec, folded=True), codes).save(path)
    return path


@pytest.fixture
def coded(saved_with_codes: Path, tmp_path: Path) -> Path:
    """A folder with codes, and the rounding of one layer's output."""
    return shutil.copytree(saved_with_codes, tmp_path / "coded")


def test_codes_come_back_and_are_the_weights(coded: Path):
    loaded = Model.load(coded).net
    codes = Model.load(coded).codes
    assert codes.activations == {"logits": (Grid(0.25, -3), Grid(0.5, 7))}
    assert len(codes.kernels) == 28
    depthwise = codes.kernels["block1_depthwise_conv"]
    assert (depthwise.codes.shape, depthwise.scale.shape) == ((3, 3, 8, 1), (1, 1, 8, 1))
    kernel = loaded.get_layer("block1_depthwise_conv").depthwise_kernel
    np.testing.assert_array_equal(depthwise.values, kernel)


def test_folder_without_codes_has_none(folder: Path):
    assert Model.load(folder).codes is None


def edit_codes(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    path = folder / "codes.safetensors"
    tensors = safetensors.numpy.load(path.read_bytes())
    change(tensors)
    path.write_bytes(safetensors.numpy.save(tensors))
    edit_spec(folder, codes_sha256=sha256_file(path))


def test_layers_kept_float_may_lack_codes(coded: Path):
    edit_codes(coded, lambda t: (t.pop("stem_conv/kernel"), t.pop("stem_conv/kernel_scale")))
    edit_spec(coded, keep_float=["stem_*", "logits"])
    spec = Model.load(coded).spec
    assert spec.keep_float == ("stem_*", "logits") and spec.to_json()["keep_float"]
    assert [spec.keeps_float(layer) for layer in ("stem_conv", "block1_depthwise_conv")] == [1, 0]
    assert len(Model.load(coded).codes.kernels) == 27
    edit_spec(coded, keep_float=[1])
    with pytest.raises(EdgenetsError, match="keep_float must be a list of texts"):
        load_spec(coded)


@pytest.mark.usefixtures("nets_built_once")
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("stem_conv/kernel_scale"), "lacks the other half of"),
        (lambda t: t.pop("stem_conv/kernel"), "is damaged; restore it or compress again"),
        (lambda t: t["stem_conv/kernel"].fill(-128), "is damaged; restore it or compress again"),
        (lambda t: t["stem_conv/kernel_scale"].fill(0), "is damaged; restore it or compress"),
        (lambda t: t["stem_conv/kernel"].fill(1), "does not hold the codes of stem_conv's weights"),
        (
            lambda t: (t.pop("stem_conv/kernel"), t.pop("stem_conv/kernel_scale")),
            "lacks some kernels of mobilenet_v1",
        ),
    ],
)
def test_codes_that_do_not_fit_get_a_sentence(coded: Path, change: Callable, message: str):
    edit_codes(coded, change)
    with pytest.raises(EdgenetsError, match=message):
        Model.load(coded)


@pytest.mark.usefixtures("nets_built_once")
def test_exchanged_codes_are_noticed(coded: Path):
    (coded / "codes.safetensors").write_bytes(safetensors.numpy.save({}))
    with pytest.raises(
        EdgenetsError, match=r"codes\.safetensors .* \(its SHA-256 differs\); .* compress"
    ):
        Model.load(coded)


@pytest.mark.usefixtures("nets_built_once")
def test_folder_without_the_codes_of_its_spec_is_incomplete(coded: Path):
    (coded / "codes.safetensors").unlink()
    expected = "is incomplete: codes.safetensors is missing; restore it or compress again"
    with pytest.raises(EdgenetsError, match=expected):
        Model.load(coded)


def test_equal_models_are_equal_files(model: keras.Model, folder: Path, tmp_path: Path):
    loaded = Model.load(folder)
    loaded, spec = loaded.net, loaded.spec
    Model(loaded, spec).save(tmp_path / "again")
    for name in ("spec.json", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_tensors_are_named_after_layers(folder: Path):
    assert weights(folder)["stem_conv/kernel"].shape == (3, 3, 3, 8)


def test_folder_with_a_model_is_not_overwritten(model: keras.Model, folder: Path):
    spec, _ = load_spec(folder)
    with pytest.raises(EdgenetsError, match="already holds a model"):
        Model(model, spec).save(folder)


@pytest.mark.usefixtures("nets_built_once")
def test_missing_tensor_is_named(folder: Path):
    tensors = weights(folder)
    del tensors["logits/bias"]
    edit_weights(folder, tensors)
    with pytest.raises(EdgenetsError, match="lacks the tensor logits/bias"):
        Model.load(folder)


@pytest.mark.usefixtures("nets_built_once")
def test_unknown_tensor_is_named(folder: Path):
    edit_weights(folder, {**weights(folder), "extra": np.zeros(1, np.float32)})
    with pytest.raises(EdgenetsError, match="holds the tensor extra"):
        Model.load(folder)


@pytest.mark.usefixtures("nets_built_once")
def test_wrong_shape_is_named(folder: Path):
    edit_weights(folder, {**weights(folder), "logits/bias": np.zeros(3, np.float32)})
    with pytest.raises(
        EdgenetsError, match=r"logits/bias .* must have the shape \(2,\), got \(3,\)"
    ):
        Model.load(folder)


@pytest.mark.usefixtures("nets_built_once")
def test_nan_is_refused(folder: Path):
    edit_weights(folder, {**weights(folder), "logits/bias": np.float32([0, np.nan])})
    with pytest.raises(EdgenetsError, match=r"logits/bias .* holds a NaN"):
        Model.load(folder)


def test_exchanged_weights_are_noticed(folder: Path):
    (folder / "weights.safetensors").write_bytes(safetensors.numpy.save({}))
    with pytest.raises(EdgenetsError, match="SHA-256 differs"):
        Model.load(folder)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "mobilnet_v1"}, "unknown model 'mobilnet_v1'; did you mean mobilenet_v1?"),
        ({"labels": ["cat"]}, "has 2 classes but 1 labels"),
        ({"arguments": {"width": 0.25, "depth": 3}}, "unknown argument of mobilenet_v1 'depth'"),
        ({"surprise": 1}, "surprise"),
        ({"folded": 1}, "folded must be true or false, got 1"),
        ({"seed": True}, "seed must be a whole number, got True"),
        ({"seed": -1}, "the seed must be at least 0, got -1"),
        ({"labels": "cat, dog"}, "labels must be a list of texts, got 'cat, dog'"),
        ({"recipe": ["prune"]}, "recipe must be a list of stages' settings, got ['prune']"),
        ({"history": {"train": {"loss": ["low"]}}}, "history must be lists of numbers by stage"),
        ({"preparation": 224}, "preparation must be keys and values, got 224"),
        ({"weights_sha256": None}, "weights_sha256 must be a text, got None"),
    ],
)
def test_spec_that_does_not_fit_gets_a_sentence(folder: Path, changes: dict, message: str):
    edit_spec(folder, **changes)
    with pytest.raises(EdgenetsError) as raised:
        Model.load(folder)
    assert message in str(raised.value)


def test_spec_without_a_key_is_told_which(folder: Path):
    spec = json.loads((folder / "spec.json").read_text())
    kept = {key: value for key, value in spec.items() if key not in ("labels", "versions")}
    (folder / "spec.json").write_text(json.dumps(kept))
    with pytest.raises(EdgenetsError, match=r"spec\.json: it lacks labels, versions; restore it"):
        load_spec(folder)


def test_other_folder_is_not_a_model_folder(tmp_path: Path):
    with pytest.raises(EdgenetsError, match=r"is not a model folder: it has no spec\.json"):
        Model.load(tmp_path)
