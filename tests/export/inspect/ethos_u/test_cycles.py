"""The literal table that `edgenets list --target` orders by, and the benchmark that makes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ethos_u import asked, estimated, fresh, written

from edgenets.export.formats import INT8
from edgenets.export.lower.lower import lower
from edgenets.export.targets import ETHOS_U, ETHOS_U55_128
from edgenets.models.npu_cycles import CYCLES, NPUS
from edgenets.models.variants import VARIANTS


def test_columns_are_the_targets_and_every_row_is_a_variant():
    assert tuple(target.name for target in ETHOS_U) == NPUS
    assert len([variant for variant in VARIANTS if variant.cycles]) == len(CYCLES)
    for *_, cycles in CYCLES:
        assert len(cycles) == len(NPUS) and cycles[1] < cycles[0] and cycles[3] < cycles[2]


@pytest.mark.slow
def test_vela_estimates_the_cycles_of_the_table(tmp_path: Path):
    name, arguments, cycles = min(CYCLES, key=lambda row: row[2])
    net, spec = fresh(name, arguments)
    path = written(tmp_path / "net.tflite", lower(net, ETHOS_U55_128, INT8), spec)
    found = [estimated(path, npu).estimates["cycles"] for npu in NPUS]
    # Another version of TensorFlow may draw and round other weights, whose stream differs a little.
    assert found == pytest.approx(cycles, rel=0.02)


@pytest.mark.parametrize("words", ["NET OTHER --data D", "--data D NET OTHER"])
def test_nets_of_the_benchmark_stand_before_or_behind_the_data(words: str):
    options = asked(["compression", *words.split()])
    assert (options.nets, options.data) == (["NET", "OTHER"], "D")


def test_benchmark_of_trained_nets_needs_data(capsys):
    with pytest.raises(SystemExit):
        asked(["compression", "NET"])
    assert "compression needs --data" in capsys.readouterr().err
