"""Messages and bars, on a terminal and without one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

SCRIPT = """\
from edgenets.progress import progress_bar, say

with progress_bar("train", 2) as advance:
    advance(1)
    say("train 1/2: [loss] 0.812")
    advance(1)
"""


def test_messages_stand_above_the_bar_on_a_terminal():
    terminal, inside = pty.openpty()
    subprocess.run([sys.executable, "-c", SCRIPT], stderr=inside, check=True, timeout=60)
    os.close(inside)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(terminal)
    message = shown.index(b"train 1/2: [loss] 0.812\r\n")
    assert b"2/2" in shown[message:]  # the bar goes on below


def test_messages_alone_are_shown_without_a_terminal():
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"train 1/2: [loss] 0.812\n")


ODD_SCRIPT = """\
from edgenets.progress import progress_bar, say

with progress_bar("[/b]\\x1b[31m.tflite", 2) as advance:
    advance(1, "[/i]\\x9b31m")
    say("[/x]\\x1b[31m")
"""


def test_a_bar_shows_names_as_they_are_and_obeys_none_of_them():
    terminal, inside = pty.openpty()
    subprocess.run([sys.executable, "-c", ODD_SCRIPT], stderr=inside, check=True, timeout=60)
    os.close(inside)
    shown = os.read(terminal, 10_000)
    os.close(terminal)
    assert b"[/x]\\x1b[31m\r\n" in shown and b"\x1b[31m" not in shown


CHATTER_SCRIPT = """\
import os
from edgenets.progress import quiet_stderr

try:
    with quiet_stderr():
        os.write(2, b"node \\x1b[31m\\xff\\n")
        raise ValueError
except ValueError:
    pass
"""


def test_chatter_of_a_block_that_fails_is_shown_and_obeyed_by_no_terminal():
    result = subprocess.run([sys.executable, "-c", CHATTER_SCRIPT], capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"node \\x1b[31m\\xff\n")
