"""The notebooks run from top to bottom, with fewer epochs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
RUN = 'en.run(out="runs/quickstart")'
QUICK = (
    'en.run(out="runs/quickstart", '
    'set={"train.epochs": 8, "compress.0.epochs": 2, "compress.1.epochs": 1})'
)


def read(name: str):
    import nbformat

    return nbformat.read(FOLDER / name, as_version=4)


def outputs(notebook) -> list:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def printed_by(notebook) -> str:
    return "".join(output.get("text", "") for output in outputs(notebook))


def pictures_of(notebook) -> list[str]:
    return [png for output in outputs(notebook) if (png := output.get("data", {}).get("image/png"))]


def tables_of(notebook) -> list[str]:
    return [
        html for output in outputs(notebook) if (html := output.get("data", {}).get("text/html"))
    ]


def run_with(name: str, before: str, after: str, folder: Path):
    """Return a notebook that was run in `folder`, one text in it replaced."""
    from notebook_outputs import execute

    notebook = read(name)
    (cell,) = (cell for cell in notebook.cells if before in cell.source)
    cell.source = cell.source.replace(before, after)
    execute(notebook, folder)
    return notebook


@pytest.mark.slow
def test_quickstart_runs_from_top_to_bottom(tmp_path: Path):
    notebook = run_with("quickstart.ipynb", RUN, QUICK, tmp_path)
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()
    assert "smaller as it travels" in printed_by(notebook)


@pytest.mark.slow
def test_own_photos_shows_curves_wrong_pictures_and_sizes(tmp_path: Path):
    notebook = run_with("own_photos.ipynb", '"train.epochs": 20', '"train.epochs": 16', tmp_path)
    out = tmp_path / "runs" / "photographs"
    assert len(list((tmp_path / "edgenets-digits").rglob("*.jpg"))) == 300
    assert len(pictures_of(notebook)) == 2
    (table,) = tables_of(notebook)
    for file in ("model.tflite", "model.epk"):
        assert f"{(out / file).stat().st_size / 1024:.1f} KiB" in table


def test_quickstart_uses_the_verbs_alone():
    code = "\n".join(cell.source for cell in read("quickstart.ipynb").cells if "outputs" in cell)
    imports = [line for line in code.splitlines() if "import" in line]
    assert imports == ["import edgenets as en"]


@pytest.mark.parametrize(
    "name, pictures, tables", [("quickstart.ipynb", 0, 5), ("own_photos.ipynb", 2, 1)]
)
def test_notebook_is_kept_with_what_its_cells_show_and_no_more(name, pictures, tables):
    """Neither progress nor paths, and pictures of a size that a diff can bear."""
    notebook = read(name)
    assert len(pictures_of(notebook)) == pictures
    assert len(tables_of(notebook)) == tables
    assert all(cell.outputs for cell in notebook.cells if cell.source.endswith("report"))
    assert all(output.get("name") != "stderr" for output in outputs(notebook))
    assert not any(cell.metadata for cell in notebook.cells)
    text = (FOLDER / name).read_text()
    assert len(text) < 100_000
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)
