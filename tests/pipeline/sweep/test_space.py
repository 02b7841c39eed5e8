import pytest
import yaml

from edgenets.errors import EdgenetsError
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.sweep.config import check_sweep, dump_sweep, load_sweep
from edgenets.pipeline.sweep.space import points_of, run_config
from edgenets.pipeline.sweep.usual import usual_sweep

MOBILENET = {"net": "mobilenet_v1", "width": [0.25, 0.5], "resolution": 32}


def points(**values):
    config = check_sweep({"nets": [MOBILENET], **values}, "sweep.yaml")
    return [str(point) for point in points_of(config)]


def test_a_space_is_every_net_with_every_argument_and_recipe():
    assert points(recipes=["int8", "qat"]) == [
        "mobilenet_v1 resolution=32 width=0.25 int8",
        "mobilenet_v1 resolution=32 width=0.5 int8",
        "mobilenet_v1 resolution=32 width=0.25 qat",
        "mobilenet_v1 resolution=32 width=0.5 qat",
    ]


def test_a_range_has_both_of_its_ends():
    nets = [
        {
            "net": "shufflenet_v1",
            "groups": [2, 8],
            "scale": {"from": 0.25, "to": 0.5, "step": 0.125},
        }
    ]
    scales = [0.25, 0.375, 0.5]
    assert points(nets=nets, recipes=["int8"]) == [
        f"shufflenet_v1 groups={groups} scale={scale} int8" for groups in (2, 8) for scale in scales
    ]


def test_a_condition_holds_where_it_applies():
    nets = [{**MOBILENET, "resolution": [32, 64]}]
    conditions = [{"when": {"resolution": 64}, "then": {"width": 0.25}}]
    assert points(nets=nets, recipes=["int8"], conditions=conditions) == [
        "mobilenet_v1 resolution=32 width=0.25 int8",
        "mobilenet_v1 resolution=64 width=0.25 int8",
        "mobilenet_v1 resolution=32 width=0.5 int8",
    ]


def test_equal_points_are_one():
    assert len(points(nets=[MOBILENET, {**MOBILENET, "width": 0.5}], recipes=["int8"])) == 2


def test_a_recipe_of_its_own_is_in_the_runs_config():
    own = {"gentle": [{"stage": "prune", "sparsity": 0.25}, {"stage": "int8"}]}
    config = check_sweep({"nets": [MOBILENET], "recipes": [own], "targets": ["rpi4"]}, "sweep.yaml")
    run = run_config(config, next(points_of(config)), "rpi4")
    assert [stage.stage for stage in run.compress] == ["prune", "int8"]
    assert run.compress[0].sparsity == 0.25
    assert run.export.target == "rpi4"


@pytest.mark.filterwarnings("error::UserWarning")  # which pydantic would show to the user
def test_a_config_that_is_written_is_read_as_the_same(tmp_path):
    own = {"own": [{"stage": "share", "clusters": 16}, {"stage": "int8"}]}
    with_own = check_sweep({"nets": [MOBILENET], "recipes": [own, "int8"]}, "sweep.yaml")
    for config in (usual_sweep(None, "rpi4"), with_own):
        (tmp_path / "sweep.yaml").write_text(dump_sweep(config))
        assert load_sweep(tmp_path / "sweep.yaml") == config


@pytest.mark.parametrize("data", [None, "photos"])
def test_usual_sweep_has_three_families_and_no_mistake(tmp_path, data):
    if data:
        data = str(tmp_path / data)
        (tmp_path / "photos").mkdir()
    nets = {point.net.partition("_")[0] for point in points_of(usual_sweep(data, None))}
    assert nets == {"mobilenet", "shufflenet", "squeezenet"}


@pytest.mark.parametrize(
    "values, sentence",
    [
        (
            {"nets": [{"net": "mobilnet_v1"}]},
            "unknown model 'mobilnet_v1'; did you mean mobilenet_v1",
        ),
        ({"nets": [{"net": "alexnet"}]}, "alexnet is a baseline"),
        ({"nets": [{"width": 1}]}, "net is missing"),
        ({"nets": [{**MOBILENET, "depth": 2}]}, "unknown argument of mobilenet_v1 'depth'"),
        ({"nets": [{**MOBILENET, "width": [-1]}]}, "width of mobilenet_v1 must be"),
        ({"nets": [{**MOBILENET, "width": {"from": 1, "to": 2}}]}, "a range must be"),
        ({"nets": [{**MOBILENET, "width": {"from": 2, "to": 1, "step": 1}}]}, "a range must be"),
        ({"nets": []}, "nets: "),
        ({"recipes": ["in8"]}, "unknown recipe 'in8'; did you mean int8"),
        ({"targets": ["rpi9"]}, "unknown target 'rpi9'"),
        ({"constraints": ["colour <= 3"]}, "unknown figure 'colour'"),
        ({"minimise": ["price"]}, "unknown figure 'price'"),
        ({"conditions": [{"when": {"resolution": 32}, "then": {"width": 3}}]}, "leave no point"),
        ({"run": {"train": {"epoch": 3}}}, "unknown key 'train.epoch'"),
        ({"run": {"train": {"epochs": 0}}}, "run.train.epochs must be at least 1"),
        ({"run": {"data": {"source": "nowhere"}}}, "no data folder '.*/nowhere'"),
        ({"halvings": 3}, "unknown key 'halvings'; did you mean halving"),
        ({"halving": {"rung": 2}}, r"unknown key 'halving.rung'; .*known: factor, rungs\)"),
        ({"search": "tpf"}, "search: .*got 'tpf'; did you mean tpe"),
        ({"recipes": []}, "recipes: there should be at least one"),
        ({"recipes": [{}]}, "recipes: there should be at least one"),
        ({"recipes": [{"own": [{"stage": "prun"}]}]}, "recipes.own.0: unknown stage 'prun'"),
        (
            {"recipes": [{"own": [{"stage": "prune", "sparsity": 2}]}]},
            "recipes.own.0.sparsity: input should be less than 1, got 2",
        ),
        (
            {"recipes": [{"own": [{"stage": "prune", "sparsty": 0.2}]}]},
            "unknown key 'recipes.own.0.sparsty'; did you mean sparsity",
        ),
        ({"recipes": [{"own": "in8"}]}, "recipes: unknown recipe 'in8'"),
        (
            {"recipes": ["int8", {"int8": [{"stage": "prune"}, {"stage": "int8"}]}]},
            "the recipe 'int8' is there twice; give one another name",
        ),
        ({"targets": ["rpi4", "rpi4"]}, "the target 'rpi4' is there twice; leave one out"),
        ({"nets": [{**MOBILENET, "width": []}]}, "a list of values must have at least one"),
        ({"conditions": [{"when": {"widt": 1}, "then": {}}]}, "unknown key of a condition 'widt'"),
        ({"minimise": ["cycles"]}, "cycles are not known for generic; take another figure"),
        (
            {"minimise": ["cycles"], "targets": ["rpi4", "ethos-u55-128"]},
            "not known for rpi4; take another figure first, by which the front is drawn",
        ),
        ({"minimise": ["top1 drop"]}, "top1 drop is known at a point's end alone"),
        ({"run": {"compress": "int8"}}, "run.compress is what the sweep chooses"),
        ({"run": {"export": {"target": "rpi4"}}}, "run.export.target is what the sweep chooses"),
        ({"run": {"export": None}}, "run.export must be keys and values, got None"),
        ({"run": {"train": {"teacher": "nowhere"}}}, "sweep.yaml: .*nowhere"),
        ({"recipes": ["int8", "fp16"]}, "sweep.yaml: .*fp16 does nothing"),
    ],
)
def test_a_mistake_in_a_space_is_one_sentence(values, sentence):
    with pytest.raises(EdgenetsError, match=sentence):
        check_sweep({"nets": [MOBILENET], **values}, "sweep.yaml")


def test_a_base_is_the_same_from_every_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = str(PRETRAINED / "cifar10_mobilenet_v1")
    (tmp_path / "base").symlink_to(base)
    near = {"near": [{"stage": "near", "base": "base"}]}
    config = check_sweep({"nets": [MOBILENET], "recipes": ["int8", near]}, "sweep.yaml")
    assert config.recipe("near")[0]["base"] == str(tmp_path / "base")
    assert config.recipe_names == ["int8", "near"]


def test_a_sweep_file_that_is_none_is_told(tmp_path):
    path = tmp_path / "sweep.yaml"
    for text, sentence in (("[1]", "must hold keys and values"), ("a: [", "not valid YAML")):
        path.write_text(text)
        with pytest.raises(EdgenetsError, match=sentence):
            load_sweep(path)
    path.write_text(yaml.safe_dump({"nets": [{"net": "resnet"}]}))
    with pytest.raises(EdgenetsError, match="unknown model 'resnet'"):
        load_sweep(path)
