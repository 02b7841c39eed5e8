from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgenets.export.devices.program import run_program

# Starts another program, says its number, and waits for it.
PARENT = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "open('child', 'w').write(str(child.pid))\n"
    "child.wait()\n"
)


def test_status_and_both_outputs_are_returned(tmp_path: Path):
    script = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    assert run_program([sys.executable, "-c", script], tmp_path, 60) == (3, "out\nerr\n")


@pytest.mark.parametrize("interrupted", [True, False])
@pytest.mark.usefixtures("heeded_ctrl_c")
def test_what_a_program_started_ends_with_it(tmp_path: Path, interrupted: bool):
    child = tmp_path / "child"

    def interrupt() -> None:
        while not child.exists() or not child.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    if interrupted:
        threading.Thread(target=interrupt, daemon=True).start()
    ended = KeyboardInterrupt if interrupted else subprocess.TimeoutExpired
    with pytest.raises(ended):
        run_program([sys.executable, "-c", PARENT], tmp_path, 60 if interrupted else 5)
    state = Path(f"/proc/{child.read_text()}/stat")
    for _ in range(100):  # killed, it may take a moment to go
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    pytest.fail("the child's child runs on")
