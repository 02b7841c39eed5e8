"""`edgenets inspect` as a user sees it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgenets import flatbuffer
from edgenets.cli.inspect import command
from edgenets.errors import EdgenetsError
from edgenets.export.metadata import ENTRY
from edgenets.quantize.package.epk import pack

SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"
VWW = SHARED_DATA / "mlperf_tiny" / "vww_96_int8.tflite"
CORAL = SHARED_DATA / "coral" / "mobilenet_v1_0.25_128_quant.tflite"

needs_data = pytest.mark.skipif(not VWW.exists(), reason=f"{VWW} is not here")


def shown(*arguments: object) -> str:
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def cells(output: str) -> list[list[str]]:
    lines = [line for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


@needs_data
def test_tables_and_sentences_say_what_the_file_is():
    output = shown(VWW)
    assert output.startswith(f"{VWW}: 325.5 KiB, 7.49M MACs, 213.9 KiB of weights")
    rows = cells(output)
    assert ["input", "input_1_int8", "1 x 96 x 96 x 3", "int8", "0.00392157", "-128"] in rows
    assert ["DEPTHWISE_CONV_2D", "13", "3", "798.3k", "10.66 %", "15.7 KiB"] in rows
    assert "the 10 heaviest of 56 weights" in output
    assert "XNNPACK: 2 partition(s), 2 of 31 operators outside (ai-edge-litert" in output
    assert "what limits it" not in output


def test_preparation_of_images_is_shown_as_the_file_has_it(colour_file: Path, tmp_path: Path):
    assert "images: the short side at 8 pixels and the centre of 8 x 8\n" in shown(colour_file)
    path = tmp_path / "net.tflite"
    entry = {ENTRY: b'{"preparation": [8]}'}
    path.write_bytes(flatbuffer.with_metadata(colour_file.read_bytes(), entry))
    assert "images: not known, an image preparation looks like {" in shown(path)


@needs_data
def test_all_weights_are_shown_when_asked():
    assert len(cells(shown(VWW, "--all"))) == len(cells(shown(VWW))) + 46


@needs_data
def test_labels_and_description_are_shown_wherever_they_are():
    output = shown(CORAL)
    assert "1001 labels (imagenet_labels.txt): background, tench" in output
    assert "ImageClassifier: Identify the most prominent object" in output


@needs_data
def test_labels_that_a_rewritten_file_has_lost_are_said(tmp_path: Path):
    path = tmp_path / "rewritten.tflite"
    path.write_bytes(flatbuffer.rewrite(CORAL.read_bytes(), lambda model: None))
    wanted = "labels: none; its metadata name imagenet_labels.txt, which it does not hold\n"
    assert wanted in shown(path)


@needs_data
def test_target_says_what_limits_the_file_and_the_drawing_shows_it(tmp_path: Path):
    svg = tmp_path / "net.svg"
    output = " ".join(shown(VWW, "--target", "coral", "--svg", svg).split())
    assert "what limits it on coral (" in output
    assert "RESHAPE 28 stays on the CPU: sizes must be constant" in output
    assert str(svg) in output
    assert "Edge TPU" in "".join(ET.parse(svg).getroot().itertext())
    assert "what limits it on rpi4 (Raspberry Pi 4): - 2 of 31 operators run outside XNNPACK" in (
        " ".join(shown(VWW, "--target", "rpi4").split())
    )


@needs_data
def test_json_is_one_value_with_the_promised_keys(tmp_path: Path):
    found = json.loads(shown(VWW, "--json", "--svg", tmp_path / "net.svg"))
    assert found["size_bytes"] == 333_288 and found["macs"] == 7_489_664
    assert found["ops"]["CONV_2D"] == 14
    assert found["xnnpack"]["ops_outside"] == 2
    assert {"mapped_ops", "cpu_ops", "ops"} <= found["edge_tpu"].keys()
    assert {"index", "op", "mapped", "reason"} <= found["edge_tpu"]["ops"][0].keys()
    assert (tmp_path / "net.svg").exists()


@needs_data
def test_a_target_that_is_unknown_is_one_sentence():
    result = CliRunner().invoke(command, [str(VWW), "--target", "corral"])
    assert result.exit_code == 2
    assert "'corral' is not one of 'generic', 'rpi3', 'rpi4', 'rpi5', 'coral'" in result.output


def test_a_file_that_is_no_tflite_is_one_sentence(tmp_path: Path):
    path = tmp_path / "net.tflite"
    path.write_bytes(b"PK\3\4 not a net")
    with pytest.raises(EdgenetsError, match=r"is not a \.tflite file"):
        shown(path)


def test_a_package_is_told_from_a_tflite(tmp_path: Path):
    path = tmp_path / "net.epk"
    path.write_bytes(pack(b"net"))
    with pytest.raises(EdgenetsError, match=r"net\.epk is a package; pass what `edgenets unpack`"):
        shown(path)
