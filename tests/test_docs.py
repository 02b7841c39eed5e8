"""README, CONTRIBUTING and docs: short, reachable, without dead links, and as the code is."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

import edgenets as en
from edgenets.cli.main import COMMANDS, GROUPS, edgenets_command
from edgenets.data.census import UNEVEN
from edgenets.data.images import Preparation, prepare
from edgenets.export.devices import environments
from edgenets.export.devices.emulator import DISK_MB, DOWNLOAD_MB
from edgenets.export.ends import CLIENTS, ENDS
from edgenets.export.targets import TARGETS
from edgenets.models.sparsity import SPARSE_FROM

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted(DOCS.rglob("*.md"))
GUIDES = sorted((DOCS / "guide").glob("*.md"))
LINKING = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + PAGES


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links_in(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the heading (or "") of every relative link and picture."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(file.read_text())):
        if not re.match(r"[a-z]+:", target):
            path, _, heading = target.partition("#")
            yield (file.parent / path).resolve() if path else file, heading


def headings_of(file: Path) -> set[str]:
    """Return the names under which GitHub finds the headings."""
    titles = re.findall(r"^#+ (.+)$", without_code(file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def blocks(file: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", file.read_text(), re.MULTILINE | re.DOTALL)


# Short, and in one piece


def test_readme_has_at_most_900_words():
    assert len((ROOT / "README.md").read_text().split()) <= 900


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_guide_has_at_most_800_words(page: Path):
    assert len(page.read_text().split()) <= 800


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_links_lead_to_a_file_and_a_heading(page: Path):
    for file, heading in links_in(page):
        assert file.exists(), f"{name_of(page)}: {file}"
        if heading:
            assert heading in headings_of(file), f"{name_of(page)}: {name_of(file)}#{heading}"


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_rows_of_a_table_have_as_many_cells_as_its_heading(page: Path):
    """Hold what GitHub asks for before it shows lines as a table."""
    for table in re.findall(r"(?:^\|.*\n)+", without_code(page.read_text()), re.MULTILINE):
        rows = table.splitlines()
        cells = [len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows]
        assert set(cells) == {cells[0]}, rows[0]


def test_every_file_of_the_docs_is_reached_from_the_readme():
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        if page.suffix == ".md":
            left += {file for file, _ in links_in(page)} - reached
    assert {file for file in DOCS.rglob("*") if file.is_file()} <= reached


def test_pictures_of_the_readme_load_fast():
    pictures = [file for file, _ in links_in(ROOT / "README.md") if file.suffix in (".png", ".svg")]
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 150_000, name_of(picture)


def test_the_readme_quotes_no_accuracy_and_no_latency():
    text = (ROOT / "README.md").read_text()
    assert not re.search(r"\d\s?(%|ms\b|KiB|MiB|points)", text)


# Examples


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name_of)
def test_python_in_the_docs_compiles(page: Path):
    for code in blocks(page, "python"):
        ast.parse(code)


def test_net_of_the_guide_is_built():
    (code,) = blocks(DOCS / "guide" / "choose.md", "python")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["net"].input_shape == (None, 96, 96, 3)
    assert names["net"].output_shape == (None, 2)


def test_stretch_of_the_guide_is_that_of_edgenets():
    (code,) = blocks(DOCS / "guide" / "clients.md", "python")
    names: dict[str, Any] = {}
    exec(code, names)
    random = np.random.default_rng(0)
    for size in ((40, 75), (75, 40), (9, 12)):
        picture = Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8))
        expected = prepare(picture, Preparation(16, 16, "stretch"))
        np.testing.assert_array_equal(names["stretch"](picture, 16), expected)


def test_config_of_the_guide_is_one():
    from edgenets.pipeline.config import RunConfig

    (block,) = blocks(DOCS / "guide" / "run.md", "yaml")
    assert RunConfig.model_validate(yaml.safe_load(block)).model["name"] == "squeezenet"


def test_sweep_of_the_guide_is_one(tmp_path: Path):
    from edgenets.pipeline.sweep.config import check_sweep
    from edgenets.pipeline.sweep.space import points_of

    (block,) = blocks(DOCS / "guide" / "sweep.md", "yaml")
    values = yaml.safe_load(block)
    assert values["run"] == {"data": {"source": "photos"}}
    values["run"]["data"]["source"] = str(tmp_path)
    assert len(list(points_of(check_sweep(values, "sweep.yaml")))) == 18


@pytest.mark.parametrize(
    "page",
    [DOCS / "guide" / "compress.md", REFERENCE / "rate.md", REFERENCE / "recipes.md"],
    ids=name_of,
)
def test_recipes_of_the_docs_are_some(page: Path):
    from edgenets.pipeline.config import RunConfig

    found = blocks(page, "yaml")
    for block in found:
        RunConfig.model_validate({"compress": yaml.safe_load(block)})
    assert found


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield each line of an unnamed code block that begins with `edgenets`, and its words."""
    for page in (ROOT / "README.md", *PAGES):
        for block in blocks(page, ""):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("edgenets "):
                    yield name_of(page), line.partition(" #")[0].split()


def test_commands_of_the_docs_have_the_options_that_are_shown():
    shown = list(command_lines())
    assert {words[1] for _, words in shown} == set(COMMANDS)
    for page, (_, name, *words) in shown:
        command = edgenets_command.get_command(None, name)  # type: ignore[arg-type]
        if isinstance(command, click.Group):
            command = command.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {option for parameter in command.params for option in parameter.secondary_opts}
        given = {word for word in words if word.startswith("--")}
        assert given <= known, f"{page}: edgenets {name} {' '.join(given - known)}"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *GUIDES, *sorted(REFERENCE.glob("*.md"))], ids=name_of
)
def test_settings_of_the_docs_are_keys_of_the_config(page: Path):
    from edgenets.pipeline.config_file import load_config

    for setting in re.findall(r"--set ([a-z][\w.]*=[^\s`]+)", page.read_text()):
        load_config(None, [setting])


def test_inspect_reports_what_its_guide_shows(shared_data: Path):
    (shown,) = (block for block in blocks(DOCS / "guide" / "inspect.md", "") if "XNNPACK" in block)
    file = str(shared_data / "coral" / "mobilenet_v1_0.25_128_quant.tflite")
    result = CliRunner().invoke(edgenets_command, ["inspect", file, "--target", "rpi4"])
    shown, printed = (
        " ".join(re.sub(r"\(ai-edge-litert [\d.]+\)", "", text).split())
        for text in (shown, result.stdout)
    )
    assert printed.endswith(shown)


# As the code is


def test_targets_of_the_docs_are_those_of_the_code():
    table = (REFERENCE / "targets.md").read_text().partition("|---|")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[1:]]
    assert rows == [
        [
            row.name,
            row.device,
            *(", ".join(names) for names in (row.formats, row.rewrites)),
            ", ".join((*(f"{name} (int8)" for name in row.int8_rewrites), *row.integer_rewrites)),
        ]
        for row in TARGETS.values()
    ]


def test_the_guide_to_clients_names_each_with_its_ends_and_fit():
    rows = [
        line for line in (DOCS / "guide" / "clients.md").read_text().splitlines() if "|" in line
    ]
    for client in CLIENTS.values():
        (row,) = (row for row in rows if f"`--client {client.name}`" in row)
        _, _, takes, fit, *_ = (cell.strip() for cell in row.split("|"))
        assert takes == ", ".join(ENDS[end] for end in client.ends) and fit == client.fit


@pytest.mark.parametrize("page", ["guide/export.md", "reference/inspect.md"])
def test_pages_name_every_target(page: str):
    named = re.findall(r"`([a-z0-9-]+)`", (DOCS / page).read_text())
    assert set(TARGETS) <= set(named)


def test_page_states_what_the_emulated_board_takes():
    stated = f"{DOWNLOAD_MB} MB of downloads, {DISK_MB} MB on disk"
    assert stated in (REFERENCE / "emulated_board.md").read_text()


def test_page_states_what_verify_sets_up():
    stated = f"{environments.DOWNLOAD_MB} MB of downloads, {environments.DISK_MB} MB on disk"
    assert stated in (DOCS / "guide" / "verify.md").read_text()


def test_pages_state_when_classes_are_uneven():
    assert UNEVEN == 3
    assert "more than three times as many" in (REFERENCE / "data.md").read_text()
    assert "where one has 3 times another's images" in (REFERENCE / "config.md").read_text()


def test_pages_state_the_zeros_from_which_kernels_are_computed_sparsely():
    assert Fraction(SPARSE_FROM).limit_denominator(100) == Fraction(2, 3)
    for page in (
        *(f"reference/{name}.md" for name in ("inspect", "recipes", "targets")),
        "guide/inspect.md",
    ):
        assert "two thirds" in (REFERENCE.parent / page).read_text()


def test_every_dependency_has_its_reason():
    table = re.findall(r"^\| ([^|]+) \|", (REFERENCE / "dependencies.md").read_text(), re.MULTILINE)
    explained = {name.lower() for row in table for name in row.split(", ")}
    requirements = importlib.metadata.requires("edgenets") or []
    needed = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}
    assert needed - {"edgenets"} <= explained


def test_every_command_is_in_the_reference():
    text = (REFERENCE / "commands.md").read_text()
    for name in COMMANDS:
        assert f"`edgenets {name}" in text


@pytest.mark.parametrize("option", ["--max-bytes", "--patience"])
def test_security_names_the_commands_that_take_another_bound(option: str):
    (sentence,) = re.findall(
        rf"((?:`[a-z]+`(?:, | and )?)+) take another [a-z]+ as `{option}`",
        " ".join((ROOT / "SECURITY.md").read_text().split()),
    )
    taking = set()
    for name in COMMANDS:
        command = edgenets_command.get_command(None, name)  # type: ignore[arg-type]
        if any(option in parameter.opts for parameter in command.params):
            taking.add(name)
    assert set(re.findall(r"`([a-z]+)`", sentence)) == taking


def test_help_lists_every_command_once_under_its_group():
    output = CliRunner().invoke(edgenets_command, ["--help"]).output
    listed: dict[str, list[str]] = {}
    for line in output.partition("Options:")[2].splitlines():
        if heading := re.fullmatch(r"(\S.*):", line):
            listed[heading[1]] = []
        elif listed and line.strip():
            listed[list(listed)[-1]].append(line.split()[0])
    assert listed == {heading: list(names) for heading, names in GROUPS.items()}


def test_bash_completes_commands_and_targets(tmp_path: Path):
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("there is no bash")
    program = tmp_path / "edgenets"
    program.write_text(f"#!{sys.executable}\nfrom edgenets.cli.main import main\nmain()\n")
    program.chmod(0o755)
    (line,) = re.findall(
        r"^(eval .*bash_source.*?) +#", (REFERENCE / "commands.md").read_text(), re.M
    )
    completed = []
    for words in ("edgenets ex", "edgenets export net --target rp"):
        count = words.count(" ")
        script = (
            f"{line}\nCOMP_WORDS=({words}); COMP_CWORD={count}; COMPREPLY=()\n"
            '_edgenets_completion edgenets\necho "${COMPREPLY[@]}"\n'
        )
        environment = os.environ | {
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        result = subprocess.run(
            [bash, "-c", script], env=environment, capture_output=True, text=True
        )
        completed.append(result.stdout.strip())
    assert completed == ["export", "rpi3 rpi4 rpi5"]


def documented_keys() -> dict[str, list[str]]:
    """Return the dotted paths of each section of json.md; `[]` marks the items of a list."""
    sections = re.split(r"^## ", (REFERENCE / "json.md").read_text(), flags=re.MULTILINE)[1:]
    return {
        section.split("\n", 1)[0]: [
            path
            for cell in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
            for path in re.findall(r"`([^`]+)`", cell)
        ]
        for section in sections
    }


def values_at(value: Any, path: str) -> list[Any]:
    """Return what is at `path`; raises KeyError or IndexError where nothing is."""
    if not path:
        return [value]
    head, _, rest = path.partition(".")
    inner = head.removesuffix("[]")
    found = value[inner] if inner else value
    if head.endswith("[]"):
        found[0]  # there must be one to look at
        return [leaf for item in found for leaf in values_at(item, rest)]
    return values_at(found, rest)


@pytest.mark.slow
def test_json_has_the_keys_of_the_docs(
    tiny_run: Path, tiny_sweep: Path, image_folder: Path, tmp_path: Path
):
    file = str(tiny_run / "model.tflite")
    image = str(next((image_folder / "test" / "left").iterdir()))
    shared, out = str(tiny_run / "stages" / "03-share"), str(tmp_path / "net.tflite")
    releases = en.Releases(tmp_path / "releases", tmp_path / "keys")
    first = ["--root", str(releases.init()), "--model", "net"]
    releases.publish(file, model="net", probes=image_folder)
    trained, small = str(tiny_run / "stages" / "01-train"), str(tmp_path / "small")
    compressed = ["--data", str(image_folder), "--max-drop", "100", "--tries", "1"]
    arguments = {
        "list": ["--family", "ShuffleNet"],
        "compress": [trained, *compressed, "--out", small],
        "summary": ["mobilenet_v1", "width=0.25", "resolution=96"],
        "export": [shared, "--data", str(image_folder), "--out", out],
        "inspect": [file],
        "pack": [file, "--out", str(tmp_path / "net.epk")],
        "evaluate": [file, "--data", str(image_folder)],
        "predict": [file, image],
        "benchmark": [file, "--min-seconds", "0.05", "--per-op"],
        "verify": [file, "--images", "2", "--runtime", "reference", "--runtime", "xnnpack"],
        "release": ["list", str(tmp_path / "releases")],
        "update": [str(tmp_path / "releases"), "--into", str(tmp_path / "board"), *first],
        "report": [str(shutil.copytree(tiny_run, tmp_path / "run"))],
        "sweep": ["--out", str(tiny_sweep)],
        "doctor": [],
    }
    keys = documented_keys()
    assert {name for name, paths in keys.items() if paths} == set(arguments)
    for name, given in arguments.items():
        result = CliRunner().invoke(edgenets_command, [name, *given, "--json"])
        printed = json.loads(result.stdout)
        for path in keys[name]:
            assert values_at(printed, path), f"{name}: {path}"


@pytest.mark.skipif(
    not (ROOT / "edgenets" / "training").is_dir(), reason="the files are where they were"
)
def test_every_thing_is_where_the_page_says():
    text = (REFERENCE / "where.md").read_text()
    places = re.findall(r"`([\w/]+\.py)` \|$", text, re.MULTILINE)
    assert len(places) == 24
    for place in places:
        assert (ROOT / "edgenets" / place).exists(), place
