"""Imports run one way, and what runs on a board needs no TensorFlow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "edgenets"
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"

# The rooms of each folder from the top down: each may import those above it, and a file that stands
# in no room of its folder is in the room that names it. CONTRIBUTING.md says what is in each.
ROOMS = {
    "edgenets": (
        *("errors packages units intervals files folders progress memory".split()),
        *("settings", "cache", "results"),
        *("flatbuffer", "data", "models", "profile", "training", "quantize", "export"),
        *("updates", "pipeline", "verbs", "cli"),
    ),
    "edgenets.quantize": (
        *("settings", "recipe", "layers"),
        *("package", "sizes", "slim", "stages", "rate", "budget"),
    ),
    "edgenets.export": (
        *("formats", "targets", "ends", "associated", "metadata"),
        *("board", "devices", "inspect", "measure", "lower", "write", "report"),
    ),
}
ALONE = ("edgenets.export.board",)
"""Rooms that import nothing of edgenets but their own files."""

TRAINING_PACKAGES = (
    *("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"),
    *("sklearn", "jinja2", "matplotlib", "safetensors", "pydantic", "yaml"),
)
SLOW_PACKAGES = TRAINING_PACKAGES[:7]
WITHOUT_TENSORFLOW = (
    *("flatbuffer", "quantize/package"),
    *(f"export/{room}" for room in ("board", "devices", "inspect", "measure")),
    "updates",
)
COMMANDS_OF_A_BOARD = (
    "benchmark doctor evaluate inspect list main pack predict unpack update".split()
)
# What tells a mistake in a config, at once.
BEFORE_THE_WORK = (
    "edgenets.cli.compress",
    "edgenets.cli.run",
    "edgenets.cli.train",
    "edgenets.models.folder",
    "edgenets.pipeline.config_file",
    "edgenets.quantize.recipe",
)


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


FILES = {module_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of edgenets that a module names in an import, in a function or not.

    `edgenets` itself names its verbs for editors (`if TYPE_CHECKING`), and imports none of them.
    """
    names = set()
    tree = ast.parse(FILES[module].read_text())
    if module == "edgenets":
        tree.body = [node for node in tree.body if not isinstance(node, ast.If)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = module.rpartition(".")[0]  # of `from .x import y`
            source = f"{package}.{node.module}" if node.level else str(node.module)
            for alias in node.names:  # `from edgenets import flatbuffer` names a module, too
                submodule = f"{source}.{alias.name}"
                names.add(submodule if submodule in FILES else source)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name in FILES)


def room_of(module: str, folder: str) -> str | None:
    """The room of `folder` that a module is in; None: in none, or it is the folder itself."""
    inside = module.removeprefix(f"{folder}.")
    return None if inside == module else inside.partition(".")[0]


@pytest.mark.parametrize("folder", ROOMS)
def test_a_room_imports_only_rooms_above_it(folder: str):
    order = ROOMS[folder]
    for module in FILES:
        room = room_of(module, folder)
        if room is None or room == "__main__":
            continue
        allowed = set(order[: order.index(room) + 1])
        used = {room_of(name, folder) for name in imports_of(module)} - {None}
        assert used <= allowed, f"{module} imports {sorted(used - allowed)}"


@pytest.mark.parametrize("folder", ROOMS)
def test_every_room_has_its_place(folder: str):
    rooms = {room_of(module, folder) for module in FILES} - {None, "__main__"}
    assert rooms == set(ROOMS[folder])


def test_the_map_in_contributing_is_the_tree():
    rows = re.findall(r"^\| `([^|]+)` \|", CONTRIBUTING.read_text(), re.MULTILINE)
    rooms = [name.rstrip("/") for row in rows for name in row.split()]
    below = {name for name in rooms if "/" in name}
    assert set(rooms) - below == set(ROOMS["edgenets"])
    for folder in ("quantize", "export"):
        inside = {
            name for name in ROOMS[f"edgenets.{folder}"] if (PACKAGE / folder / name).is_dir()
        }
        assert inside == {name.partition("/")[2] for name in below if name.startswith(f"{folder}/")}


def test_no_module_imports_itself_by_way_of_others():
    def circle_from(module: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if module in path:
            return (*path[path.index(module) :], module)
        if module in done:
            return None
        for name in sorted(imports_of(module)):
            if circle := circle_from(name, (*path, module)):
                return circle
        done.add(module)
        return None

    done = set[str]()
    for module in FILES:
        circle = circle_from(module, ())
        assert circle is None, " -> ".join(circle or ())


@pytest.mark.parametrize("room", ALONE)
def test_what_is_sent_to_a_board_imports_nothing_of_edgenets(room: str):
    for module in FILES:
        if module.startswith(f"{room}."):
            outside = {name for name in imports_of(module) if not name.startswith(f"{room}.")}
            assert not outside, module


def import_without(packages: tuple[str, ...], *modules: str) -> None:
    blocked = dict.fromkeys(packages)  # None in sys.modules makes an import fail
    script = f"import sys; sys.modules.update({blocked}); import {', '.join(modules)}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("folder", WITHOUT_TENSORFLOW)
def test_room_imports_where_tensorflow_cannot_be(folder: str):
    top = module_of(PACKAGE / folder / "__init__.py")
    modules = [name for name in FILES if name == top or name.startswith(f"{top}.")]
    assert len(modules) > 1
    import_without(TRAINING_PACKAGES, *modules)


def test_commands_of_a_board_import_where_tensorflow_cannot_be():
    import_without(TRAINING_PACKAGES, *(f"edgenets.cli.{name}" for name in COMMANDS_OF_A_BOARD))


@pytest.mark.parametrize("module", BEFORE_THE_WORK)
def test_a_config_is_checked_where_tensorflow_cannot_be(module: str):
    import_without(SLOW_PACKAGES, module)


def test_signposts_lead_to_the_rooms():
    for name in ("quantize", "export"):
        signpost = PACKAGE.parent / name
        assert signpost.is_symlink()
        assert signpost.readlink() == Path("edgenets") / name


def test_no_file_is_over_450_lines():
    long = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.glob("**/*.py")
        if file.read_text().count("\n") > 450
    }
    assert not long
