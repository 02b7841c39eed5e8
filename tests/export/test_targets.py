"""The table of targets is the one place where a target stands."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

ADD_A_ROW = """
from edgenets.export import targets

row = targets.RPI4._replace(name="rpi9", device="Raspberry Pi 9", note="take a fan")
targets.TARGETS[row.name] = row
"""


@dataclass
class Answer:
    """What a process printed, and how it ended."""

    out: str
    error: str
    status: int


def with_another_row(script: str, *arguments: str) -> Answer:
    """Run a script in a Python whose table of targets has one row more."""
    command = [sys.executable, "-c", ADD_A_ROW + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return Answer(done.stdout, done.stderr, done.returncode)


def edgenets(*arguments: str) -> Answer:
    return with_another_row("from edgenets.cli.main import main; main()", *arguments)


def test_commands_list_a_target_that_was_added():
    help_text = " ".join(edgenets("export", "--help").out.split())
    assert re.search(r"rpi5\|coral\|[|\w-]*rpi9", help_text) and "rpi9: Raspberry Pi 9" in help_text
    assert "runs faster so (rpi3, rpi4, rpi9)" in help_text
    assert "rpi9" in edgenets("inspect", "--help").out
    refused = edgenets("export", "models", "--target", "rpi10", "--out", "net.tflite")
    assert refused.status == 2 and "'rpi9'" in refused.error


@pytest.mark.parametrize("target, problem", [("rpi9", ""), ("rpi10", "did you mean rpi9?")])
def test_configs_take_a_target_that_was_added(target: str, problem: str):
    script = (
        "import sys\n"
        "from edgenets.errors import EdgenetsError\n"
        "from edgenets.pipeline.config_file import load_config\n"
        "try: print(load_config(None, [f'export.target={sys.argv[1]}']).export.target)\n"
        "except EdgenetsError as error: print(error)\n"
    )
    answer = with_another_row(script, target)
    assert problem in answer.out if problem else answer.out.strip() == target, answer


def test_inspection_of_a_file_takes_a_target_that_was_added(tiny_int8_file):
    shown = edgenets("inspect", str(tiny_int8_file), "--target", "rpi9").out
    assert "rpi9: take a fan" in shown and "(Raspberry Pi 9)" in shown
