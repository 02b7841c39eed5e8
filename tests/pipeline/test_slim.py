"""A net that is slimmed for a board, as the command and the verb do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgenets as en
from edgenets.data.images import Preparation
from edgenets.errors import EdgenetsError
from edgenets.models.folder import Model, Spec, build_model
from edgenets.models.registry import complete_arguments
from edgenets.quantize.slim.cost import estimate_net

CLASSES = ("dark", "left", "right")
NET = {"resolution": 32, "classes": 3, "output_stride": 8}
NET |= {"base_expand": 64, "expand_increment": 32}
BEFORE = {"fire9_expand1x1_conv": 64}  # of 80: it was slimmed before


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    arguments = complete_arguments("squeezenet", NET)
    spec = Spec("squeezenet", arguments, CLASSES, Preparation(32, 32), seed=0, channels=BEFORE)
    place = tmp_path_factory.mktemp("slim") / "net"
    Model(build_model(spec), spec).save(place)
    return place


@pytest.mark.slow
def test_speedup_gives_a_net_of_the_family_with_its_table_of_channels(
    folder: Path, image_folder: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("edgenets.quantize.slim.choice.ROUNDS", 2)
    out = tmp_path / "fast"
    model = en.Model.load(folder)
    fast = model.compress(image_folder, speedup=1.5, target="rpi5", epochs=1, out=out)
    slim, int8 = fast.record.stages[1:]
    assert (slim["name"], int8["name"]) == ("slim", "int8")
    counted, before = slim["instructions"], Model.load(folder)
    assert counted["target"] == "rpi5"
    assert counted["before"] == estimate_net(before.net, "cortex-a76")
    loaded = Model.load(out)
    assert counted["after"] == estimate_net(loaded.net, "cortex-a76") <= counted["before"] / 1.5
    channels = loaded.spec.channels
    assert channels == slim["channels"] and len(channels) > 1
    assert all(count % 8 == 0 for count in channels.values())
    assert channels["fire9_expand1x1_conv"] <= 64
    for layer, count in channels.items():
        assert loaded.net.get_layer(layer).filters == count
    content = fast.export(tmp_path / "fast.tflite").path.read_bytes()
    assert len(content) < int8["size_bytes"] * 1.05
    assert np.isfinite(loaded.net.get_weights()[0]).all()
    model.compress(image_folder, near=out, epochs=1, out=tmp_path / "near")
    assert Model.load(tmp_path / "near").spec.channels == channels  # an update of what boards have


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"speedup": 2.0}, "^speedup needs target: rpi3, rpi4 or rpi5"),
        ({"speedup": 2.0, "target": "coral"}, "must be one of rpi3, rpi4, rpi5, .* 'coral'"),
        ({"speedup": 0.5, "target": "rpi5"}, "speedup must be a number above 1, got 0.5"),
        (
            {"max_instructions": 0, "target": "rpi5"},
            "max_instructions must be a whole number, at least 1",
        ),
        ({"speedup": 2.0, "max_instructions": 9, "target": "rpi5"}, "pass one of speedup"),
        ({"speedup": 2.0, "target": "rpi5", "budget": 9}, "a recipe may follow, but no budget"),
        ({"speedup": 2.0, "target": "rpi5", "recipe": "int8", "epochs": 1}, "has its own"),
        ({"recipe": "int8", "target": "rpi5"}, "target goes with"),
    ],
)
def test_what_does_not_go_together_is_refused(
    folder: Path, image_folder: Path, asked: dict[str, object], message: str
):
    with pytest.raises(EdgenetsError, match=message):
        en.Model.load(folder).compress(image_folder, **asked)


def test_slim_stands_before_what_it_would_undo(folder: Path, image_folder: Path, tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("- {stage: qat}\n- {stage: slim}\n- {stage: int8}\n")
    with pytest.raises(EdgenetsError, match="slim after qat would undo it; let slim stand first"):
        en.Model.load(folder).compress(image_folder, recipe=recipe)


def test_mistakes_in_a_recipe_after_slim_are_found_in_its_lines(
    folder: Path, image_folder: Path, tmp_path: Path
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("- stage: prune\n- stage: share\n  clusters: 1\n")
    with pytest.raises(EdgenetsError, match=r"recipe\.yaml line 3: .*clusters"):
        en.Model.load(folder).compress(image_folder, recipe=recipe, speedup=2, target="rpi4")
