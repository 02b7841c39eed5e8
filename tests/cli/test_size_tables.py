from __future__ import annotations

import re

import numpy as np
import pytest

from edgenets.cli.size_tables import print_accounting
from edgenets.quantize.sizes.accounting import LayerWeights, account

FILES = {"float_file_bytes": 240_000, "file_bytes": 80_000, "stored_bytes": 24_000}


@pytest.fixture
def accounting() -> dict:
    kernel = np.zeros((200, 100), np.int8)
    kernel[:, 0], kernel[0, 1] = 5, -3
    return account([LayerWeights("classifier", kernel, biases=200, scales=200)], **FILES)


def row(output: str, name: str) -> list[str]:
    (line,) = (line for line in output.splitlines() if re.match(rf"\W+{re.escape(name)} +│", line))
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_rows_show_kind_size_and_both_ratios(accounting: dict, capsys: pytest.CaptureFixture):
    print_accounting(accounting, per_layer=False)
    output = capsys.readouterr().out
    assert row(output, "weights and biases, float32")[:3] == ["theoretical", "78.9 KiB", "1.0x"]
    assert row(output, ".tflite as it travels") == ["measured", "23.4 KiB", "10.0x", "10000x"]
    assert "800 B of float32 biases in each" in " ".join(output.split())
    assert "classifier" not in output


def test_layers_are_shown_on_demand_with_their_total(
    accounting: dict, capsys: pytest.CaptureFixture
):
    print_accounting(accounting, per_layer=True)
    output = capsys.readouterr().out
    assert row(output, "classifier") == row(output, "total")
    assert row(output, "classifier")[:6] == ["20,000", "100.00 %", "1.00 %", "3", "2.0", "1.3"]
