"""`edgenets compress --near` on a trained model: small updates of the file that boards have."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgenets as en
from edgenets.cli.main import edgenets_command
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.export.targets import GENERIC
from edgenets.files import sha256_file
from edgenets.models.folder import SPEC, WEIGHTS, Model
from edgenets.pipeline.figures import file_for
from edgenets.pipeline.near import load_base, settle_near
from edgenets.quantize.package.epk import pack, unpack
from edgenets.quantize.rate.near_training import Moved

RECIPE = "- stage: int8\n  calibration_images: 50\n"


@pytest.fixture(scope="module")
def trained(tiny_run: Path) -> Path:
    return tiny_run / "stages" / "01-train"


@pytest.fixture(scope="module")
def base(trained: Path, image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    (folder / "int8.yaml").write_text(RECIPE)
    out = folder / "model"
    en.Model.load(trained).compress(image_folder, recipe=folder / "int8.yaml", out=out, flip=False)
    return out


@pytest.mark.slow
def test_command_gives_the_file_of_the_base_but_for_what_the_budget_holds(
    trained: Path, base: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    budget, out = 3000, tmp_path / "near"
    line = ["compress", trained, "--near", base, "--update-budget", budget, "--epochs", 1]
    line += ["--data", image_folder, "--out", out, "--no-flip", "--json"]
    edgenets_command.main(list(map(str, line)), standalone_mode=False)
    last = json.loads(capsys.readouterr().out)["stages"][-1]
    new, old = (file_for(Model.load(folder), GENERIC) for folder in (out, base))
    update = pack(new, base=old)
    assert len(update) == last["update_bytes"] <= budget
    assert last["package_bytes"] == len(pack(new)) > 10 * budget
    assert unpack(update, base=old) == new
    en.Model.load(base).export(tmp_path / "old.tflite")
    assert (tmp_path / "old.tflite").read_bytes() == old  # what the boards have
    assert str(base).encode() not in new
    assert str(base) in (out / "recipe.yaml").read_text()


@pytest.mark.slow
def test_training_near_to_a_base_ends_within_a_budget_and_teaches_what_was_trained(
    trained: Path, base: Path, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    spec, out = en.Model.load(trained).spec, tmp_path / "near"
    line = ["train", spec.name, "--near", base, "--update-budget", 3000, "--epochs", 1]
    line += ["--data", image_folder, "--out", out, "--no-flip", "--json"]
    edgenets_command.main(list(map(str, line)), standalone_mode=False)
    result = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in result["stages"]] == ["train", "near"]
    new, old = (file_for(Model.load(folder), GENERIC) for folder in (out, base))
    assert len(pack(new, base=old)) == result["stages"][-1]["update_bytes"] <= 3000
    made = en.Model.load(out).spec
    assert made.initial_weights["sha256"] == sha256_file(base / WEIGHTS)
    assert made.recipe[-1]["distillation"]["alpha"] == 0.9
    assert made.history.keys() >= {"train", "near"}
    assert not (out / "stages").exists()


def test_base_of_other_classes_is_refused_before_the_training(
    base: Path, tiny_run: Path, tmp_path: Path
):
    name = en.Model.load(base).spec.name
    with pytest.raises(EdgenetsError, match="pass images of the classes that it knows"):
        en.train(name, "digits", near=base, out=tmp_path / "near")
    assert not (tmp_path / "near" / "stages").exists()
    with pytest.raises(EdgenetsError, match="weights none out"):
        en.train(name, "digits", near=base, weights="none", out=tmp_path / "near")


@pytest.mark.parametrize(
    "how, sentence",
    [
        ({"near": "base", "data": None, "epochs": 0}, "near learns from images: pass data"),
        ({"near": "base", "workers": 2}, "near is learned by one process; leave workers"),
        ({"update_budget": "10KB"}, "update_budget goes with near; pass both"),
        ({"near": "nowhere"}, "nowhere is not a model folder"),
    ],
)
def test_trainings_that_do_not_fit_are_refused(how: dict, sentence: str):
    with pytest.raises(EdgenetsError, match=sentence):
        en.train("mobilenet_v1", **{"data": "digits", **how})


@pytest.mark.slow
def test_codes_return_until_the_budget_holds(base: Path):
    model = Model.load(base)
    random = np.random.default_rng(0)
    wanted = {
        name: np.clip(kernel.codes + random.normal(0, 0.7, kernel.codes.shape), -127, 127)
        for name, kernel in model.kernels.items()
    }
    moved = Moved(model.net, model.kernels, wanted, {}, {})
    budget = 11_000
    held = settle_near(model, model.spec, moved, budget)
    assert 0.9 * budget < held.update_bytes <= budget
    assert 0.01 < held.changed < 0.1
    assert held.update_bytes == len(
        pack(file_for(held.model, GENERIC), base=file_for(model, GENERIC))
    )


@pytest.mark.slow
def test_nothing_moved_is_next_to_nothing_and_no_budget_is_below_that(base: Path):
    model = Model.load(base)
    wanted = {name: kernel.codes.astype(float) for name, kernel in model.kernels.items()}
    still = Moved(model.net, model.kernels, wanted, {}, {})
    update = settle_near(model, model.spec, still, None)
    assert update.changed == 0 and update.update_bytes < 120
    with pytest.raises(EdgenetsError, match=r"bytes, which is over 10; pass a larger budget"):
        settle_near(model, model.spec, still, 10)


@pytest.mark.slow
def test_base_must_be_of_the_same_net_labels_and_images_with_all_integers(
    trained: Path, base: Path, tiny_run: Path, tmp_path: Path
):
    spec = en.Model.load(trained).spec
    assert load_base(base, spec).codes is not None
    with pytest.raises(EdgenetsError, match="all integers of its int8 file"):
        load_base(trained, spec)
    with pytest.raises(EdgenetsError, match="all integers of its int8 file"):
        load_base(tiny_run / "stages" / "03-share", spec)
    for part, other in {
        "net": replace(spec, arguments={**spec.arguments, "width": 0.5}),
        "labels": replace(spec, labels=("x", "y", "z")),
        "preparation of images": replace(spec, preparation=Preparation(32, 36)),
    }.items():
        with pytest.raises(EdgenetsError, match=f"a base of the same {part}, .* has another"):
            load_base(base, other)
    content = json.loads((base / SPEC).read_text())
    shutil.copytree(base, tmp_path / "float")
    (tmp_path / "float" / SPEC).write_text(json.dumps({**content, "keep_float": ["logits"]}))
    with pytest.raises(EdgenetsError, match=r"a base without float layers, .* keeps logits"):
        load_base(tmp_path / "float", spec)


@pytest.mark.parametrize(
    "how, sentence",
    [
        ({"near": "base", "recipe": "int8"}, "max_drop and near"),
        ({"update_budget": "10KB"}, "update_budget goes with near; pass both"),
        ({"near": "nowhere"}, "nowhere is not a model folder"),
        ({"near": "base", "update_budget": "ten"}, "update_budget must be a size"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tiny_run: Path, how: dict, sentence: str):
    model = en.Model.load(tiny_run / "stages" / "01-train")
    with pytest.raises(EdgenetsError, match=sentence):
        model.compress("digits", **how)
