"""Run notebooks/own_photos.ipynb from top to bottom and save it with its outputs.

Progress and messages (stderr) are left out, and so are times.

Usage: python benchmarks/notebook_outputs.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "own_photos.ipynb"


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run the cells of `notebook` in `folder`, also for temporary files; drop their stderr."""
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=600, resources=resources, record_timing=False)
    client.execute(env={**os.environ, "TMPDIR": str(folder)})
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
