"""The runner as one file: a ZIP archive of the modules in `export/board`, which Python starts.

One file is sent and started, whatever the modules are, and none of edgenets is needed beside it.
"""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

NAME = "runner.pyz"
BOARD = Path(__file__).parents[1] / "board"
SUPERVISOR = BOARD / "supervisor.py"
"""The other end of an SSH connection (`ssh.py`), which is sent by itself."""
MAIN = "from board.runner import main\n\nmain()\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's first; the archive is the same every time


@cache
def runner_archive() -> bytes:
    """Return the archive's bytes: stored, so that a Python without zlib reads it too."""
    modules = [path for path in sorted(BOARD.glob("*.py")) if path != SUPERVISOR]
    content = {f"board/{path.name}": path.read_text("utf-8") for path in modules}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, text in {**content, "__main__.py": MAIN}.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)
    return file.getvalue()
