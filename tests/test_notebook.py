"""The notebook runs from top to bottom, on a quick config."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"
QUICK = 'load_config(None, ["train.epochs=8", "compress.0.epochs=2", "compress.1.epochs=1"])'


@pytest.mark.slow
def test_quickstart_runs_from_top_to_bottom(tmp_path: Path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    training = next(cell for cell in notebook.cells if "load_config(None)" in cell.source)
    training.source = training.source.replace("load_config(None)", QUICK)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())
    )
    assert "smaller as it travels" in printed


def test_notebook_is_kept_without_outputs():
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
