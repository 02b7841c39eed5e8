"""Run the notebooks from top to bottom and save them with their outputs.

Progress and messages (stderr) are left out, and so are times.

Usage: python benchmarks/notebook_outputs.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


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
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
