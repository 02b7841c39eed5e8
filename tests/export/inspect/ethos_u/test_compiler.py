"""Vela itself is run: on the tiny net, and on files that it refuses or breaks at."""

from __future__ import annotations

import configparser
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgenets import flatbuffer
from edgenets.cli.export import _print_npu, command
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.ethos_u import compiler
from edgenets.export.inspect.ethos_u.compiler import compile_content, compile_file, find_system
from edgenets.export.inspect.inspection import inspect_file
from edgenets.export.targets import TARGETS
from edgenets.files import read_json
from edgenets.models.weights.sources import PRETRAINED
from edgenets.quantize.sizes.counts import entropy_bytes

U55 = TARGETS["ethos-u55-128"]


@pytest.fixture
def net(tiny_int8_file: Path, tmp_path: Path) -> Path:
    """A copy of the tiny file, alone in its folder."""
    path = tmp_path / "net.tflite"
    path.write_bytes(tiny_int8_file.read_bytes())
    return path


def files_beside(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


@pytest.mark.slow
def test_compiled_file_keeps_labels_and_metadata_and_its_figures_are_estimates(net: Path):
    before = inspect_file(net, U55.name)
    assert before.ethos_u["cpu_ops"] == 0
    outcome = compile_file(net, U55)
    told = outcome.to_json()
    json.dumps(told, allow_nan=False)
    assert (told["mapped_ops"], told["cpu_ops"], told["differences"]) == (len(before.ops), 0, [])
    assert (told["system_config"], told["memory_mode"]) == (U55.system_config, U55.memory_mode)
    estimates = told["estimates"]
    assert estimates["ms"] == pytest.approx(1e3 * estimates["cycles"] / estimates["clock_hz"])
    assert 0 < estimates["weight_stream_bytes"] < estimates["flash_bytes"]
    assert sum(layer["cycles"] for layer in told["layers"]) == estimates["cycles"]
    assert sum(layer["macs"] for layer in told["layers"]) == estimates["macs"]
    assert all(layer["on_npu"] for layer in told["layers"])
    after = inspect_file(outcome.path, U55.name)
    assert after.labels == before.labels and after.labels
    assert after.edgenets == before.edgenets
    kept = flatbuffer.read(outcome.path).metadata
    assert kept.items() >= flatbuffer.read(net).metadata.items()
    assert after.compiled_for == "an Arm Ethos-U" and after.target["note"] == ""
    assert after.ops == {"ethos-u": 1} and after.ethos_u["mapped_ops"] == 1
    assert after.target["limits"] == []
    (limit,) = inspect_file(outcome.path, "ethos-u55-256").target["limits"]
    assert limit.startswith("it was compiled for ethos-u55-128 and runs only there")
    assert files_beside(net) == ["net.tflite", "net_vela.tflite"]


@pytest.mark.slow
def test_a_memory_that_vela_refuses_is_no_fault_of_the_file(net: Path):
    mode = find_system(U55, memory_mode="Dedicated_Sram")
    with pytest.raises(EdgenetsError, match=r"Invalid configuration of .*another --memory-mode"):
        compile_file(net, U55, system=mode)


@pytest.mark.slow
def test_estimates_follow_the_system(net: Path, tmp_path: Path):
    usual = compile_file(net, U55).estimates
    slow = find_system(U55, system_config="Ethos_U55_Deep_Embedded")
    parser = configparser.ConfigParser()
    parser.optionxform = str  # Vela tells small letters from large ones
    parser.read(compiler._own_config())
    section = f"System_Config.{U55.system_config}"
    parser["System_Config.Mine"] = {**parser[section], "core_clock": "250e6"}
    own = tmp_path / "board.ini"
    with own.open("w") as file:
        parser.write(file)
    mine = find_system(U55, system_config="Mine", config=own)
    assert compile_file(net, U55, system=slow).estimates["cycles"] != usual["cycles"]
    halved = compile_file(net, U55, system=mine).estimates
    assert halved["clock_hz"] == usual["clock_hz"] / 2
    assert halved["ms"] > usual["ms"]


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [False, True])
def test_float_file_is_refused_though_vela_ends_well(net: Path, tiny_net, allowed: bool):
    net.write_bytes(tiny_net.float32)
    with pytest.raises(
        EdgenetsError, match=r"3 of 3 operators .* stay on the CPU: 1 CONV_2D \(.*Float32"
    ):
        compile_file(net, U55, allow_cpu_ops=allowed)
    assert files_beside(net) == ["net.tflite"]


@pytest.mark.slow
def test_operators_on_the_cpu_fail_unless_they_are_allowed(net: Path, case_file):
    net.write_bytes(case_file("TANH", "DIV"))
    with pytest.raises(EdgenetsError, match=r"1 of 2 .* 1 DIV \(.*\); multiply by the reciprocal"):
        compile_file(net, U55)
    assert files_beside(net) == ["net.tflite"]
    outcome = compile_file(net, U55, allow_cpu_ops=True)
    assert (outcome.mapped_ops, outcome.on_cpu, outcome.differences) == (1, {"DIV": 1}, [])
    placed = inspect_file(outcome.path, U55.name)
    assert placed.ops == {"ethos-u": 1, "DIV": 1}
    assert (
        "so Vela compiled the file; inspect the one that it was made of"
        in placed.target["limits"][0]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "case, words",
    [
        ("ARG_MAX", r"Non-passthrough operation \(ArgMax\) could not run on NPU"),
        ("HARD_SWISH int16", "HARD_SWISH .* Does not have valid TFLite Semantics"),
    ],
)
def test_what_vela_says_at_its_end_is_the_sentence(net: Path, case_file, case: str, words: str):
    net.write_bytes(case_file(case))
    with pytest.raises(EdgenetsError, match=f"Vela ended with status 1 at .*{words}"):
        compile_file(net, U55)
    assert files_beside(net) == ["net.tflite"]


def test_vela_that_takes_too_long_is_stopped(net: Path):
    with pytest.raises(EdgenetsError, match="Vela was stopped after 0 s"):
        compile_file(net, U55, max_seconds=0.05)
    assert files_beside(net) == ["net.tflite"]


@pytest.mark.parametrize(
    "script, words",
    [
        ("import os; os.abort()", "ended with signal 6 at .*: 'it printed nothing'"),
        ("print('done')", "says that it compiled .* and wrote no _vela.tflite file"),
        (
            "for name in ('net_vela.tflite', 'net_summary_x.csv', 'net_per-layer.csv'):\n"
            "    open(name, 'w').write('core_clock\\n1e9\\n')",
            r"tables of .* lack what those of version 5.2 have \('cycles_total'\); install another",
        ),
    ],
)
def test_vela_that_breaks_is_one_sentence(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "broken_vela.py").write_text(script)
    system = find_system(U55)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(compiler, "MODULE", "broken_vela")
    with pytest.raises(EdgenetsError, match=words):
        compile_file(net, U55, system=system)
    assert files_beside(net) == ["elsewhere", "net.tflite"]


def test_missing_vela_is_told_with_its_extra(net: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EdgenetsError, match=r"ethos-u-vela.*pip install 'edgenets\[ethos-u\]'"):
        compile_file(net, U55)


def test_unknown_systems_are_refused_with_the_known_ones(tmp_path: Path):
    with pytest.raises(EdgenetsError, match="did you mean Ethos_U55_Deep_Embedded"):
        find_system(U55, system_config="Ethos_U55_Deep_Embeded")
    with pytest.raises(EdgenetsError, match="unknown memory mode 'Flash_Only'"):
        find_system(U55, memory_mode="Flash_Only")
    with pytest.raises(EdgenetsError, match=r"known: Ethos_U55_\w+, Ethos_U55_\w+\)"):
        find_system(U55, system_config="mine")
    broken = tmp_path / "board.ini"
    broken.write_text("no section")
    with pytest.raises(EdgenetsError, match=r"board.ini is no file of configurations for Vela"):
        find_system(U55, config=broken)


@pytest.mark.parametrize("name", ["Ethos_U65_High_End", "Ethos_U85_SYS_DRAM_High"])
def test_systems_of_another_npu_are_refused_but_from_a_file_of_one_s_own(name: str):
    with pytest.raises(EdgenetsError, match=rf"{name} is of another NPU than {U55.name}; pass one"):
        find_system(U55, system_config=name)
    assert find_system(U55, system_config=name, config=compiler._own_config()).config


@pytest.mark.slow
def test_export_compiles_and_calls_its_figures_estimates(
    tiny_run: Path, image_folder: Path, tmp_path: Path
):
    folder, out = tiny_run / "stages" / "03-share", tmp_path / "out" / "net.tflite"
    arguments = [str(folder), "--target", U55.name, "--compile", "--out", str(out)]
    arguments += ["--data", str(image_folder)]
    shown = CliRunner().invoke(command, arguments)
    assert shown.exit_code == 0, shown.output
    words = " ".join(shown.stdout.split())
    assert "estimates of Vela, not measured, for Ethos_U55_High_End_Embedded and Shared" in words
    assert "operators on the Ethos-U, 0 on the CPU" in words and "cycles" in words
    assert "--compile" not in words
    options = ["--system-config", "Ethos_U55_Deep_Embedded", "--json"]
    told = json.loads(CliRunner().invoke(command, [*arguments, *options]).stdout)
    assert told["ethos_u"] == {"mapped_ops": told["compiled"]["mapped_ops"], "cpu_ops": 0}
    assert told["compiled"]["estimates"]["clock_hz"] == 200_000_000
    assert {**read_json(out.with_name("net.tflite.json")), "skipped": []} == told
    assert not any("compile" in note for note in told["notes"])
    names = {layer["name"] for layer in told["compiled"]["layers"]}
    assert "block1_pointwise_conv" in names
    assert files_beside(out) == ["net.tflite", "net.tflite.json", "net_vela.tflite"]
    assert inspect_file(out.with_name("net_vela.tflite")).labels == ("dark", "left", "right")
    before = {path: path.read_bytes() for path in out.parent.iterdir()}
    refused = CliRunner().invoke(command, [*arguments, "--float-ends"])
    assert isinstance(refused.exception, EdgenetsError)
    assert "stay on the CPU" in str(refused.exception)
    assert {path: path.read_bytes() for path in out.parent.iterdir()} == before


def test_steps_of_a_compiled_net_stand_in_80_columns(capsys):
    layer = {"name": "block13_pointwise_conv", "step": "Conv2D"}
    cycles = dict.fromkeys(("cycles", "npu_cycles", "flash_cycles", "sram_cycles"), 1_000_000)
    sizes = {"flash_bytes": 1, "dram_bytes": 0, "sram_bytes": 1, "weight_stream_bytes": 1}
    _print_npu(
        {
            **{"path": "net_vela.tflite", "mapped_ops": 1, "cpu_ops": 0},
            **{"system_config": "A", "memory_mode": "B"},
            "estimates": {**sizes, "cycles": 1_000_000, "ms": 2.0, "clock_hz": 500_000_000},
            "layers": [{**layer, **cycles}],
        }
    )
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "1,000,000 │" in line]
    assert layer["name"] in row and len(row) <= 80


@pytest.mark.parametrize(
    "options, words",
    [
        (["--target", "rpi4", "--compile"], "--compile is for --target coral, ethos-u55-128"),
        (["--target", U55.name, "--system-config", "x"], "are for --compile"),
        (["--target", "coral", "--compile", "--memory-mode", "x"], "are for --compile"),
        (["--target", "mcu"], "for target mcu --out is a folder"),
        (["--target", "coral", "--format", "fp32"], "for coral edgenets writes int8, not fp32"),
        (["--ends", "uint8", "--float-ends"], "--ends uint8 came too; pass one of them"),
        (["--labels", "l.txt"], "--resize and --trust-source are for a .keras or .h5 file"),
        (["--fit", "pad"], "--resize and --trust-source are for a .keras or .h5 file"),
        (["--resize", "20"], "--resize and --trust-source are for a .keras or .h5 file"),
        (["--input-range", "0..1"], "are for a .keras or .h5 file"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, words: str):
    model = PRETRAINED / "cifar10_mobilenet_v1"
    result = CliRunner().invoke(command, [str(model), "--out", "net.tflite", *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.parametrize("target", [U55, TARGETS["ethos-u65-256"]], ids=lambda target: target.name)
def test_one_value_more_than_the_palette_is_dear(target, kernel_file):
    random = np.random.default_rng(0)
    stream, entropy = [], []
    for values in (target.palette, target.palette + 1):
        known = random.choice(np.arange(-127, 128), values, replace=False)
        codes = random.choice(known, (64, 3, 3, 32)).astype(np.int8)
        assert len(np.unique(codes)) == values
        outcome = compile_content(kernel_file(codes), Path("kernel.tflite"), target)
        stream.append(outcome.estimates["weight_stream_bytes"])
        entropy.append(entropy_bytes(codes))
    assert stream[0] < 1.02 * entropy[0]
    # 1.13 and 1.17 times were measured, by where the values lie.
    assert stream[1] > 1.1 * stream[0] and entropy[1] < 1.02 * entropy[0]
