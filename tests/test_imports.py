"""Imports run one way, and what runs on a board needs no TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "edgenets"

# Each part may import the parts of its own row and of the rows above it.
ROWS = (
    {"errors", "units", "intervals", "files", "memory", "progress", "flatbuffer", "settings"},
    {"data", "models", "profile"},
    {"training"},
    {"quantize"},
    {"export"},
    {"pipeline"},
    {"cli"},
)
ON_THE_BOARD = (
    "edgenets",
    "edgenets.flatbuffer",
    "edgenets.intervals",
    "edgenets.memory",
    "edgenets.data.dataset",
    "edgenets.data.images",
    "edgenets.data.input_range",
    "edgenets.export.devices.answers",
    "edgenets.export.inspect.arena",
    "edgenets.export.inspect.associated",
    "edgenets.export.measure.benchmark",
    "edgenets.flatbuffer.extract",
    "edgenets.export.devices.session",
    "edgenets.export.inspect.drawing",
    "edgenets.export.inspect.edge_tpu.prediction",
    "edgenets.export.inspect.edge_tpu.compiler",
    "edgenets.export.inspect.edge_tpu.rules",
    "edgenets.export.measure.accuracy",
    "edgenets.export.formats",
    "edgenets.export.inspect.inspection",
    "edgenets.export.inspect.limits",
    "edgenets.export.measure.per_op",
    "edgenets.export.measure.predict",
    "edgenets.export.measure.remote_classifier",
    "edgenets.export.board.runner",
    "edgenets.export.measure.classifier",
    "edgenets.export.devices.ssh",
    "edgenets.export.measure.stability",
    "edgenets.export.measure.statistics",
    "edgenets.export.board.supervisor",
    "edgenets.export.inspect.xnnpack",
    "edgenets.models.registry",
    "edgenets.models.variants",
    "edgenets.quantize.package.epk",
    "edgenets.cli.main",
    *(
        f"edgenets.cli.{name}"
        for name in ("benchmark", "evaluate", "inspect", "list", "pack", "predict", "unpack")
    ),
)
SLOW_PACKAGES = (
    *("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"),
    *("sklearn", "jinja2", "matplotlib"),
)
TRAINING_PACKAGES = (*SLOW_PACKAGES, "safetensors", "pydantic", "yaml")
# What tells a mistake in a config, at once.
BEFORE_THE_WORK = (
    "edgenets.cli.compress",
    "edgenets.cli.run",
    "edgenets.cli.train",
    "edgenets.models.folder",
    "edgenets.pipeline.config_file",
    "edgenets.quantize.recipe",
)


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports_of(file: Path) -> set[str]:
    nodes = ast.walk(ast.parse(file.read_text()))
    names = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            # `from edgenets import flatbuffer` names a part, `from edgenets.x import y` holds one.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("edgenets.")}


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_a_part_imports_only_parts_above_it(row: int):
    allowed = set[str]().union(*ROWS[: row + 1])
    known = set[str]().union(*ROWS)
    for part in ROWS[row]:
        files = list((PACKAGE / part).glob("**/*.py")) or [PACKAGE / f"{part}.py"]
        for file in files:
            used = {part_of(name) for name in imports_of(file)} & known
            assert used <= allowed, f"{file} imports {used - allowed}"


def test_every_part_of_the_package_has_its_row():
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__init__", "__main__", "__pycache__"} == set[str]().union(*ROWS)


def import_without(packages: tuple[str, ...], module: str) -> None:
    blocked = dict.fromkeys(packages)  # None in sys.modules makes an import fail
    script = f"import sys; sys.modules.update({blocked}); import {module}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("module", ON_THE_BOARD)
def test_board_module_imports_where_tensorflow_cannot_be(module: str):
    import_without(TRAINING_PACKAGES, module)


@pytest.mark.parametrize("module", BEFORE_THE_WORK)
def test_a_config_is_checked_where_tensorflow_cannot_be(module: str):
    import_without(SLOW_PACKAGES, module)


def test_signposts_lead_to_the_rooms():
    for name in ("quantize", "export"):
        signpost = PACKAGE.parent / name
        assert signpost.is_symlink()
        assert signpost.readlink() == Path("edgenets") / name
