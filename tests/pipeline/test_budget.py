"""A budget: what is chosen, kept, reused and refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.inspect.ethos_u.compiler import compile_file
from edgenets.export.targets import find_target
from edgenets.files import read_bytes
from edgenets.models.folder import SPEC, Model
from edgenets.pipeline import budget as budget_module
from edgenets.pipeline.budget import (
    PLOT,
    SENSITIVITY,
    compress_to_budget,
    with_epochs,
)
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.config_file import load_config, load_recipe
from edgenets.pipeline.draft import chosen_recipe
from edgenets.pipeline.figures import STORED, npu_figure, palette_note
from edgenets.pipeline.one_step import export
from edgenets.quantize.budget.choice import Option
from edgenets.quantize.budget.sensitivity import CLUSTERS
from edgenets.quantize.recipe import RECIPES
from edgenets.quantize.settings import PruneSettings
from edgenets.quantize.sizes.counts import stored_bytes

BUDGET_BYTES = 90_000
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def model_dir(tiny_run: Path) -> Path:
    return tiny_run / "stages" / "01-train"


@pytest.fixture(scope="module")
def config(tiny_config: Path) -> RunConfig:
    """The tiny run's images and stages; int8 is what a run's export does."""
    loaded = load_config(tiny_config)
    stages = (*loaded.compress, *RECIPES["int8"])
    return with_epochs(loaded.model_copy(update={"compress": stages}), 1)


@pytest.fixture(scope="module")
def compressed(model_dir: Path, config: RunConfig, tmp_path_factory) -> tuple[Path, dict]:
    """The folder of a command, and what it returned; a copy of it before its end is beside it."""
    out = tmp_path_factory.mktemp("budget") / "small"
    keep = budget_module.keep_result

    def copy_and_keep(folder: Path, *arguments, **more):
        shutil.copytree(folder, folder.with_name("trained"))
        return keep(folder, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget_module, "keep_result", copy_and_keep)
        return out, compress_to_budget(Model.load(model_dir), config, BUDGET_BYTES, out)


@pytest.fixture
def trained(compressed: tuple[Path, dict], tmp_path: Path) -> Path:
    """A folder in which the first try was trained already, as the undisturbed command did it."""
    return shutil.copytree(compressed[0].with_name("trained"), tmp_path / "trained")


@pytest.fixture
def scanned(compressed: tuple[Path, dict], tmp_path: Path) -> Path:
    """A folder in which the net was scanned already."""
    (tmp_path / "out").mkdir()
    shutil.copy(compressed[0] / SENSITIVITY, tmp_path / "out")
    return tmp_path / "out"


@slow
def test_exported_file_is_within_the_budget_and_near_it(compressed, tmp_path: Path):
    out, result = compressed
    file = tmp_path / "small.tflite"
    export(Model.load(out), file, "int8", None, 0, 0)
    size = stored_bytes(file.read_bytes())
    assert size == result["stages"][-1]["stored_bytes"] == result["tries"][-1]["stored_bytes"]
    assert 0.9 * BUDGET_BYTES < size <= result["budget_bytes"] == BUDGET_BYTES


@slow
def test_folder_has_recipe_scan_plot_and_model_and_no_rests(compressed):
    out, result = compressed
    assert sorted(file.name for file in out.iterdir()) == [
        *("codes.safetensors", "compress.json", "int8_error.svg", "recipe.yaml"),
        *("sensitivity.json", "sensitivity.svg", "spec.json", "weights.safetensors"),
    ]
    assert json.loads((out / "compress.json").read_text()) == json.loads(json.dumps(result))
    assert result["choice"][-1]["layer"] == "logits"
    assert b"block13_pointwise_conv" in (out / PLOT).read_bytes()


@slow
def test_recipe_is_an_ordinary_one_with_what_was_chosen(compressed, config: RunConfig):
    out, result = compressed
    prune, share, _ = load_recipe(str(out / "recipe.yaml"), {}).compress
    assert prune.epochs == share.epochs == 1
    for row in result["choice"]:
        override = share.layers.get(row["layer"], share)
        assert override.clusters == row["clusters"]
        if row["sparsity"]:
            assert prune.layers.get(row["layer"], prune).sparsity == row["sparsity"]
        else:  # named, or among those that stay dense by themselves
            assert row["layer"] not in prune.layers or not prune.layers[row["layer"]].sparsity
    assert result["stages"][1]["sparsity"] > 0.2


@slow
def test_interrupted_command_scans_and_trains_nothing_twice(
    compressed, model_dir: Path, config: RunConfig, trained: Path, monkeypatch: pytest.MonkeyPatch
):
    keep = budget_module.keep_result
    stages = {f: f.stat().st_mtime_ns for f in trained.glob("stages/try-1/*/stage.json")}
    assert len(stages) == 4

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(budget_module, "scan", stop)
    monkeypatch.setattr(budget_module, "keep_result", stop)
    with pytest.raises(KeyboardInterrupt):
        compress_to_budget(Model.load(model_dir), config, BUDGET_BYTES, trained)
    assert {file: file.stat().st_mtime_ns for file in stages} == stages
    assert not (trained / SPEC).exists()

    def keep_unchanged(*arguments, **more):
        assert {file: file.stat().st_mtime_ns for file in stages} == stages
        return keep(*arguments, **more)

    monkeypatch.setattr(budget_module, "keep_result", keep_unchanged)
    compress_to_budget(Model.load(model_dir), config, BUDGET_BYTES, trained)
    for name in (SPEC, "recipe.yaml", SENSITIVITY, PLOT):
        assert read_bytes(trained / name) == read_bytes(compressed[0] / name)


@slow
def test_damaged_scan_is_made_again(
    model_dir: Path, config: RunConfig, scanned: Path, monkeypatch: pytest.MonkeyPatch
):
    class Scanning(Exception):
        pass

    def scan(*arguments):
        raise Scanning

    monkeypatch.setattr(budget_module, "scan", scan)
    for content in ("{", "[]", '{"layers": {}, "key": "of other images"}', '{"layers": [1]}'):
        (scanned / SENSITIVITY).write_text(content)
        with pytest.raises(Scanning):
            compress_to_budget(Model.load(model_dir), config, BUDGET_BYTES, scanned)


@slow
def test_budget_below_the_graph_says_what_is_reachable(
    model_dir: Path, config: RunConfig, scanned: Path
):
    with pytest.raises(EdgenetsError) as raised:
        compress_to_budget(Model.load(model_dir), config, 10_000, scanned)
    sentence = str(raised.value)
    assert "mobilenet_v1 cannot be compressed to 10,000 bytes" in sentence and "\n" not in sentence
    reachable = int(sentence.split("a budget of ")[1].split()[0])
    assert 10_000 < reachable < BUDGET_BYTES
    assert not (scanned / "stages").exists()


@slow
def test_generous_budget_is_plain_int8_without_training(
    model_dir: Path, config: RunConfig, scanned: Path
):
    result = compress_to_budget(Model.load(model_dir), config, 10**9, scanned)
    assert [stage["name"] for stage in result["stages"]] == ["model", "int8"]
    assert {row["clusters"] for row in result["choice"]} == {255}


@slow
def test_file_that_grew_by_training_is_tried_smaller(
    model_dir: Path, config: RunConfig, trained: Path, monkeypatch: pytest.MonkeyPatch
):
    growth = iter([1.05, 1.0])  # of what training makes of the first and the second try
    run_recipe = budget_module.run_recipe

    def grown(*arguments):
        *others, last = run_recipe(*arguments)
        size = last.measured["stored_bytes"] * next(growth)
        measured = {**last.measured, "stored_bytes": round(size)}
        return [*others, replace(last, measured=measured)]

    monkeypatch.setattr(budget_module, "run_recipe", grown)
    result = compress_to_budget(Model.load(model_dir), config, BUDGET_BYTES, trained)
    first, second = (one["stored_bytes"] for one in result["tries"])
    assert first > BUDGET_BYTES >= second > 0.9 * BUDGET_BYTES


@slow
def test_model_with_shared_weights_gets_a_sentence(compressed, config: RunConfig, tmp_path: Path):
    with pytest.raises(EdgenetsError, match="has shared weights already; pass the model that it"):
        compress_to_budget(Model.load(compressed[0]), config, BUDGET_BYTES, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def option(sparsity: float, clusters: int) -> Option:
    return Option(sparsity, clusters, 1.0, 0.0)


def test_recipe_names_the_layers_that_differ_from_most():
    choice = {"a": option(0, 16), "b": option(0.5, 16), "c": option(0.5, 8), "d": option(0.9, 16)}
    prune, share, _ = chosen_recipe(RECIPES["deep-compression"], choice, ["b", "c", "d"])
    assert (prune.sparsity, share.clusters) == (0.5, 16)
    assert {name: other.sparsity for name, other in prune.layers.items()} == {"d": 0.9}
    assert {name: other.clusters for name, other in share.layers.items()} == {"c": 8}


def test_stages_without_work_are_left_out():
    base = RECIPES["deep-compression"]
    dense, unshared = {"a": option(0, 8)}, {"a": option(0.5, 255)}
    assert [s.stage for s in chosen_recipe(base, dense, ["a"])] == ["share", "int8"]
    assert [s.stage for s in chosen_recipe(base, unshared, ["a"])] == ["prune", "int8"]
    assert [s.stage for s in chosen_recipe(base, {"a": option(0, 255)}, ["a"])] == ["int8"]


def test_epochs_are_those_of_the_stages_that_train():
    config = with_epochs(RunConfig(compress="deep-compression"), 3)
    prune, share, int8 = config.compress
    assert (prune.epochs, share.epochs) == (3, 3)
    assert isinstance(prune, PruneSettings) and not hasattr(int8, "epochs")


@slow
def test_compiled_file_is_within_a_budget_of_an_npu(
    model_dir: Path, config: RunConfig, scanned: Path, tmp_path: Path
):
    target = find_target("ethos-u55-128")
    export(Model.load(model_dir), tmp_path / "plain.tflite", None, "digits", 32, 0, target=target)
    plain = compile_file(tmp_path / "plain.tflite", target).estimates["cycles"]
    budget = round(0.9 * plain)
    figure = npu_figure("cycles", target.name)
    result = compress_to_budget(Model.load(model_dir), config, budget, scanned, None, figure)
    assert result["target"] == "ethos-u55-128" and result["budget_cycles"] == budget
    file = tmp_path / "small.tflite"
    export(Model.load(scanned), file, None, None, 0, 0, target=target)
    compiled = compile_file(file, target).estimates["cycles"]
    assert compiled == result["tries"][-1]["cycles"]
    assert 0.8 * budget < compiled <= budget
    assert all(row["clusters"] in (8, 16, 32, 255) for row in result["choice"])


@slow
def test_cycles_that_no_choice_saves_are_refused_with_what_can_be_had(
    model_dir: Path, config: RunConfig, scanned: Path
):
    figure = npu_figure("cycles", "ethos-u55-128")
    with pytest.raises(EdgenetsError, match=r"to 1 cycles on ethos-u55-128: .* pass a budget of"):
        compress_to_budget(Model.load(model_dir), config, 1, scanned, None, figure)


def test_figures_are_of_targets_with_a_compiler_that_estimates():
    with pytest.raises(EdgenetsError, match=r"estimated for ethos-u55-128, .*, not for coral"):
        npu_figure("cycles", "coral")


def test_an_npu_is_offered_no_more_values_than_it_stores_well():
    offered = [k for k in CLUSTERS if npu_figure("cycles", "ethos-u65-256").may_share(k)]
    assert offered == [255, 32, 16, 8]
    assert all(map(STORED.may_share, CLUSTERS))


@pytest.mark.parametrize(
    "share, target, most",
    [
        ({"clusters": 32}, "ethos-u55-128", None),
        ({"clusters": 33}, "ethos-u55-128", 33),
        ({"clusters": 16, "layers": {"logits": {"clusters": 64}}}, "ethos-u65-512", 64),
        ({"clusters": 64}, "generic", None),
    ],
)
def test_a_recipe_that_shares_more_values_is_told_what_they_cost(share, target, most):
    recipe = RunConfig(compress=[{"stage": "share", **share}, {"stage": "int8"}]).compress
    note = palette_note(recipe, find_target(target))
    assert (note is None) if most is None else f"up to {most} values in a kernel" in note
