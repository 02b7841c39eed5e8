"""`import edgenets as en`: what it names, what it does not load, what editors and mypy see."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgenets as en
from edgenets.models.registry import complete_arguments
from edgenets.verbs.sweeping import SweepTrials

ROOT = Path(en.__file__).parents[1]
HEAVY = ("tensorflow", "tf_keras", "keras", "numpy", "PIL", "click", "rich")
TRAINING = (
    *("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization", "safetensors"),
    *("pydantic", "yaml", "sklearn", "jinja2", "matplotlib", "h5py"),
)
VERBS = "create variants train load export_model run unpack".split()


def run_without(packages: tuple[str, ...], code: str, folder: Path) -> str:
    blocked = dict.fromkeys(packages)  # None in sys.modules makes an import fail
    script = f"import sys; sys.modules.update({blocked})\n{code}"
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, cwd=folder
    ).stdout


def test_import_and_listing_of_names_load_nothing_heavy(tmp_path: Path):
    code = (
        "before = set(sys.modules); import edgenets as en; names = dir(en)\n"
        "print(sorted(name for name in set(sys.modules) - before if name.startswith('edgenets')))\n"
        "assert en.__all__ and set(names) == set(en.__all__)"
    )
    assert run_without(HEAVY, code, tmp_path).strip() == "['edgenets']"


@pytest.mark.parametrize("name", en.__all__)
def test_every_public_name_is_found_where_tensorflow_cannot_be(name: str, tmp_path: Path):
    run_without(TRAINING, f"import edgenets; edgenets.{name}", tmp_path)


def test_star_import_gives_the_public_names(tmp_path: Path):
    code = "from edgenets import *; assert callable(train) and callable(load) and Model and File"
    run_without(TRAINING, code, tmp_path)


def test_names_for_editors_are_the_names_that_are_found():
    import ast

    tree = ast.parse(Path(en.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    named = {
        alias.name: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert named == en._MODULES
    assert sorted([*named, "__version__"]) == sorted(en.__all__)


def test_unknown_verb_suggests_the_near_name():
    with pytest.raises(AttributeError, match=r"no attribute 'tain'; did you mean train\?"):
        en.tain  # noqa: B018


@pytest.mark.parametrize(
    "call, sentence",
    [
        ("en.load('a' * 5000)", "File name too long"),
        ("en.load('a\\0b')", "cannot read .*: embedded null byte"),
        ("en.variants(max_params=float('nan'))", "max_params must be a number such as"),
        ("en.variants(max_params=-5)", "max_params must be a number such as"),
        ("en.sweep(hours='1')", "hours must be a number above 0, got '1'"),
        ("en.sweep(workers=0)", "workers must be a whole number, at least 1, got 0"),
        ("en.train('mobilenet_v1', 'digits', workers='2')", "workers must be a whole number"),
        ("file.predict(['a.jpg'])", r"images must be paths, got \['a.jpg'\]; of a list pass \*"),
        ("file.predict('a.jpg', top=True)", "top must be a whole number, at least 1, got True"),
        ("file.benchmark(min_seconds='1')", "min_seconds must be 0 or more, and finite, got '1'"),
        ("file.evaluate('digits', patience=0)", "patience must be seconds above 0, got 0"),
        ("file.inspect(target=3)", "unknown target 3"),
        ("file.inspect().predicted_on('ethos_u')", "nothing was predicted of ethos_u; inspect"),
        ("file.inspect().predicted_on('coral')", "unknown accelerator 'coral'"),
    ],
)
def test_what_an_argument_cannot_be_is_a_sentence(call: str, sentence: str, colour_file: Path):
    with pytest.raises(en.EdgenetsError, match=sentence):
        eval(call, {"en": en, "file": en.load(colour_file)})


def test_numbers_of_numpy_are_numbers(colour_file: Path, tmp_path: Path):
    from PIL import Image

    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "green.png")
    (found,) = en.load(colour_file).predict(tmp_path / "green.png", top=np.int64(2))
    assert len(found.top) == 2
    assert en.variants(max_params=np.int64(10**6)) == en.variants(max_params=1e6)
    assert complete_arguments("mobilenet_v1", {"resolution": np.int64(32)})["resolution"] == 32


def test_trials_of_a_sweep_can_be_copied():
    trials = SweepTrials({"trials": [], "front": []}, Path("runs/sweep"))
    copies = copy.copy(trials), pickle.loads(pickle.dumps(trials))
    assert [(each, each.folder) for each in copies] == 2 * [(trials, Path("runs/sweep"))]


@pytest.mark.parametrize(
    "call",
    [
        "en.create('mobilenet_v1')",
        "en.train('mobilenet_v1', 'digits', epochs=1)",
        "en.load(model)",
        "en.Model.load(model)",
        "en.export_model(None, 'a.tflite', ['a'])",
        "en.run()",
    ],
)
def test_a_verb_that_lacks_the_extra_names_it_in_one_sentence(call: str, tmp_path: Path):
    model = ROOT / "edgenets" / "models" / "pretrained" / "cifar10_mobilenet_v1"
    code = (
        f"import edgenets as en; model = {str(model)!r}\n"
        f"try: {call}\nexcept en.EdgenetsError as error: print(error)"
    )
    said = run_without(TRAINING, code, tmp_path)
    assert said.count("\n") == 1
    assert "which is not installed; run: pip install 'edgenets[train]'" in said


def test_a_file_is_used_where_tensorflow_cannot_be(colour_file: Path, tmp_path: Path):
    from PIL import Image

    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "green.png")
    code = (
        "import edgenets as en, json\n"
        f"file = en.load({str(colour_file)!r})\n"
        "file.pack('a.epk')\n"
        "assert en.unpack('a.epk', 'a.tflite').content == file.content\n"
        "assert en.variants(family='MobileNet')\n"
        "print(json.dumps([file.predict('green.png').label, file.inspect().ops]))"
    )
    label, ops = json.loads(run_without(TRAINING, code, tmp_path))
    assert label == "green" and ops == {"MEAN": 1}


CLIENT = """\
from pathlib import Path

import edgenets as en

model = en.train("mobilenet_v1", data=Path("photos"), width=0.25, weights="imagenet")
small = model.compress("photos", budget="300KB")
file = small.export("photos.tflite", target="rpi4")
top1: float = file.evaluate("photos").top1
label: str = file.predict("a.jpg").label
median = file.benchmark().latency_ms
reveal_type(median)
reveal_type(file.benchmark(device=["local", "ssh://a"]))
en.run("config.yaml").reduction.stored_vs_float + 1
reveal_type(en.load("models/photos"))
"""


def test_public_modules_and_a_client_pass_mypy_strict(tmp_path: Path):
    client = tmp_path / "client.py"
    client.write_text(CLIENT)
    public = [ROOT / "edgenets" / name for name in ("__init__.py", "results", "verbs")]
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"),
        *map(str, [*public, client]),
    ]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert checked.returncode == 0, checked.stdout
    for revealed in (
        "edgenets.results.benchmark.Latency | None",
        "list[edgenets.results.benchmark.Benchmark | edgenets.results.benchmark.FailedBenchmark]",
        "edgenets.verbs.model.Model | edgenets.verbs.file.File",
    ):
        assert f'"{revealed}"' in checked.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_a_docstring_shows_a_use_before_its_arguments(verb: str):
    text = getattr(en, verb).__doc__
    use = min(text.find(mark) % len(text) for mark in (f"en.{verb}(", f">>> {verb}("))
    assert 0 < use < len(text) - 1
    assert "Args:" not in text or use < text.index("Args:")


@pytest.mark.parametrize(
    "method",
    [
        *(en.Model.load, en.Model.save, en.Model.compress, en.Model.export, en.Model.evaluate),
        *(en.File.evaluate, en.File.predict, en.File.inspect, en.File.benchmark, en.File.pack),
    ],
)
def test_a_methods_docstring_shows_a_use_before_its_arguments(method):
    text = method.__doc__
    assert f".{method.__name__}(" in text.partition("Args:")[0]
