"""The deliberate faults of mutants.md fit the code as it is."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).with_name("mutants.py")))
FAULTS = SCRIPT["read_faults"](Path(__file__).with_name("mutants.md").read_text())


def test_there_are_twenty_five():
    assert len(FAULTS) == 29 == len({fault.name for fault in FAULTS})


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_fits_the_code_and_names_tests_that_are_there(fault: Any):
    assert (SCRIPT["ROOT"] / fault.file).read_text().count(fault.old) == 1
    files = [argument for argument in fault.tests if argument.startswith("tests/")]
    assert files and all((SCRIPT["ROOT"] / file.partition("::")[0]).exists() for file in files)
