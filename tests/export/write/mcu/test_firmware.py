"""A folder for a microcontroller: whole, as measured, and C++ that a compiler takes."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import edgenets as en
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.export.board.protocol import TFLM, TFLM_PACKAGE
from edgenets.export.devices.tflm import STEP_BYTES, least_arena
from edgenets.export.measure.runtimes import Answers, SessionRuntime
from edgenets.export.write.checked_file import FIRMWARE
from edgenets.export.write.mcu import firmware
from edgenets.export.write.mcu.flash import with_tables
from edgenets.export.write.mcu.sources import HERE, c_string
from edgenets.flatbuffer import File
from edgenets.packages import installed_version

CXX = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
BLACK = np.zeros((2, 32, 32, 3), np.uint8)
STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Werror")
# What main.cc and operators.h call of TensorFlow Lite Micro, as its headers declare it.
API = {
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
#pragma once
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
#define TF_LITE_ENSURE_STATUS(a) do { if ((a) != kTfLiteOk) return kTfLiteError; } while (0)
namespace tflite {
template <unsigned int tOpCount>
struct MicroMutableOpResolver {
  METHODS
};
}
""",
    "tensorflow/lite/micro/micro_interpreter.h": """
#pragma once
#include <cstddef>
#include <cstdint>
namespace tflite {
struct Model { std::uint32_t version() const; };
struct MicroInterpreter {
  template <class R>
  MicroInterpreter(const Model*, const R&, std::uint8_t* arena, std::size_t bytes);
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  template <class T> T* typed_input_tensor(int);
  template <class T> T* typed_output_tensor(int);
};
}
""",
    "tensorflow/lite/micro/system_setup.h": "namespace tflite { void InitializeTarget(); }",
    "tensorflow/lite/schema/schema_generated.h": """
#define TFLITE_SCHEMA_VERSION (3)
namespace tflite { const Model* GetModel(const void*); }
""",
}

pytestmark = pytest.mark.slow
needs_tflm = pytest.mark.skipif(
    not installed_version(TFLM_PACKAGE), reason="tflite-micro is not installed"
)
needs_compiler = pytest.mark.skipif(not CXX, reason="there is no C++ compiler")


@pytest.fixture(scope="module")
def export(tiny_run: Path, image_folder: Path) -> Callable[..., en.File]:
    """A function from a folder to the pruned and shared model in it, for a microcontroller."""
    model = en.Model.load(tiny_run / "stages" / "03-share")
    return partial(model.export, target="mcu", data=image_folder, calibration_images=20)


@pytest.fixture(scope="module")
def exported(export, tmp_path_factory) -> en.File:
    return export(tmp_path_factory.mktemp("firmware") / "board")


def compile_and_run(folder: Path, out: Path) -> str:
    sources = [str(folder / name) for name in ("main.cc", "model.cc")]
    command = [str(CXX), *STRICT, "-DCHECKSUM_ONLY", *sources, "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return subprocess.run([str(out)], check=True, capture_output=True, text=True).stdout


def array_in(folder: Path) -> bytes:
    numbers = re.findall(r"^    ([\d, ]+),$", (folder / "model.cc").read_text(), re.MULTILINE)
    return bytes(int(number) for line in numbers for number in line.split(", "))


def header_of(folder: Path) -> dict[str, str]:
    return dict(re.findall(r"constexpr .* (k\w+) = (.*);", (folder / "model.h").read_text()))


@needs_tflm
def test_folder_holds_the_file_and_what_was_measured(exported: en.File):
    folder = exported.path.parent
    assert sorted(path.name for path in folder.iterdir()) == sorted(FIRMWARE)
    assert [path.name for path in folder.parent.iterdir()] == ["board"]  # and nothing beside it
    told = json.loads((folder / "model.tflite.json").read_text())["mcu"]
    assert exported.record and exported.record.mcu == told
    assert not told["arena_is_estimate"] and told["runtime"]
    assert told["bit_equal"] == told["images"] == firmware.MOST_IMAGES
    assert exported.inspect(target="mcu").labels == ("dark", "left", "right")
    array, header = array_in(folder), header_of(folder)
    assert told["flash_bytes"] == len(array) == int(header["kDataBytes"])
    assert told["arena_bytes"] == int(header["kArenaBytes"])
    (image,), text = exported.record.inputs, (folder / "model.h").read_text()
    assert f"bytes, the least multiple of {STEP_BYTES} that ran" in text
    assert f"int8 = {image['scale']!r} * (code + 1)" in text and image["zero_point"] == -1
    (scores,) = exported.record.outputs
    assert header["kOutputScale"] == f"{scores['scale']!r}f"
    assert int(header["kOutputZeroPoint"]) == scores["zero_point"]
    assert "// Image: RGB, 8 bits; resolution 32, resize 32, " in text
    calls = re.findall(r"operators\.(\w+)\(\)", (folder / "operators.h").read_text())
    assert calls == told["operators"]
    assert f"MicroMutableOpResolver<{len(calls)}>" in (folder / "operators.h").read_text()


@needs_tflm
def test_tables_save_flash_and_change_no_answer(exported: en.File, run_tflm):
    told = exported.record.mcu
    tables = told["tables"]
    assert tables["kernels"] > 10 and "AddDecode" in told["operators"]
    saved = tables["flash_bytes_without"] - told["flash_bytes"]
    assert saved > 0.35 * tables["flash_bytes_without"]
    assert saved > told["arena_bytes"] - tables["arena_bytes_without"] > 0
    plain = firmware.measure(File(exported.content), BLACK, tables=False)
    assert len(plain.flash.content) == tables["flash_bytes_without"]
    assert plain.arena.size_bytes == tables["arena_bytes_without"]
    images = np.random.default_rng(1).integers(-128, 128, (4, 32, 32, 3), np.int8)
    coded, uncoded = (
        run_tflm(content, images)
        for content in (array_in(exported.path.parent), plain.flash.content)
    )
    assert np.array_equal(coded, uncoded)


@needs_tflm
def test_arena_of_the_header_runs_and_one_kib_less_does_not(exported: en.File):
    array, arena_bytes = array_in(exported.path.parent), exported.record.mcu["arena_bytes"]
    assert least_arena(array, 64, most_bytes=arena_bytes) == arena_bytes
    with pytest.raises(EdgenetsError, match="needs an arena of more than"):
        least_arena(array, 64, most_bytes=arena_bytes - 1024)


@needs_compiler
def test_example_compiles_and_prints_the_checksum_of_the_array(exported: en.File, tmp_path: Path):
    folder = exported.path.parent
    array = array_in(folder)
    printed = compile_and_run(folder, tmp_path / "example")
    assert printed == f"model: {len(array)} bytes, crc32 {zlib.crc32(array):08x}\n"


@needs_compiler
def test_example_tells_a_damaged_array(exported: en.File, tmp_path: Path):
    folder = shutil.copytree(exported.path.parent, tmp_path / "board")
    text = (folder / "model.cc").read_text()
    damaged = re.sub(r"^    \d+,", f"    {array_in(folder)[0] ^ 1},", text, count=1, flags=re.M)
    (folder / "model.cc").write_text(damaged)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        compile_and_run(folder, tmp_path / "example")
    assert "not the one that was exported" in caught.value.stdout


@needs_compiler
def test_example_compiles_against_what_the_runtime_declares(exported: en.File, tmp_path: Path):
    methods = "".join(f"TfLiteStatus {each}();" for each in exported.record.mcu["operators"])
    for name, text in API.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("METHODS", methods))
    command = [str(CXX), *STRICT, "-fsyntax-only", f"-I{tmp_path}"]
    subprocess.run([*command, str(exported.path.parent / "main.cc")], check=True)


def test_export_replaces_an_export_and_keeps_an_example_that_was_changed(
    exported: en.File, export, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(firmware, "installed_version", lambda name: None)
    folder = shutil.copytree(exported.path.parent, tmp_path / "board")
    (folder / "main.cc").write_text("// mine")
    (folder / "model.h").write_text("old")
    record = export(folder).record
    assert (folder / "main.cc").read_text() == "// mine"
    # Without TFLM: an estimate, and called so.
    told, header = record.mcu, (folder / "model.h").read_text()
    assert told["arena_is_estimate"] and told["runtime"] is None and told["images"] == 0
    assert "an ESTIMATE" in header and "kArenaIsEstimate = true" in header
    assert any("the arena is an estimate" in note for note in record.notes)
    if CXX:
        (folder / "main.cc").write_text((HERE / "main.cc").read_text())
        compile_and_run(folder, tmp_path / "example")
    # What an export does not write would be lost.
    (folder / "notes.txt").touch()
    with pytest.raises(EdgenetsError, match=r"holds notes\.txt, which would be lost"):
        export(folder)
    with pytest.raises(EdgenetsError, match="is not a folder"):
        export(folder / "notes.txt")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@needs_tflm
def test_tables_that_change_an_answer_are_not_taken(exported: en.File, monkeypatch):
    def damaged(file, kernels):
        index, coded = next(iter(kernels.items()))
        wrong = coded._replace(ancillary=coded.ancillary[:16] + bytes(len(coded.ancillary) - 16))
        return with_tables(file, {**kernels, index: wrong})

    monkeypatch.setattr(firmware, "with_tables", damaged)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    made = firmware.measure(File(exported.content), images)
    assert made.tables == 0 and len(made.flash.content) == made.flash_bytes_without


@needs_tflm
def test_answer_that_differs_from_the_reference_kernels_is_noted(exported: en.File, monkeypatch):
    run = SessionRuntime.run

    def one_more(runtime: SessionRuntime, content: bytes, inputs: np.ndarray) -> Answers:
        answers = run(runtime, content, inputs)
        added = np.int8(runtime.name == TFLM)
        return answers._replace(outputs=[output + added for output in answers.outputs])

    monkeypatch.setattr(SessionRuntime, "run", one_more)
    made = firmware.measure(File(exported.content), BLACK)
    assert made.bit_equal == 0
    assert made.notes == [
        "TFLM answers 2 of 2 images otherwise than LiteRT's reference kernels",
    ]


def test_operators_that_tflm_lacks_are_named_before_anything_is_written(
    exported: en.File, export, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("edgenets.export.inspect.tflm.OPERATORS", frozenset({"CONV_2D"}))
    with pytest.raises(EdgenetsError, match="TFLM has no DEPTHWISE_CONV_2D") as caught:
        export(tmp_path / "board")
    assert "replace such layers" in str(caught.value)
    assert not list(tmp_path.iterdir())
    limits = exported.inspect(target="mcu").target["limits"]
    assert any(limit.startswith("TFLM has no MEAN") for limit in limits)


def test_command_tells_flash_arena_and_operators(
    tiny_run: Path, image_folder: Path, tmp_path: Path
):
    model = str(tiny_run / "stages" / "03-share")
    arguments = ["export", model, "--out", str(tmp_path / "board"), "--data", str(image_folder)]
    arguments += ["--calibration-images", "20"]
    told = CliRunner().invoke(edgenets_command, [*arguments, "--target", "mcu"]).stdout
    assert re.search(r"flash: [\d,]+ bytes; arena: [\d,]+ bytes.*; operators: AddConv2D, ", told)
    if installed_version(TFLM_PACKAGE):
        assert re.search(r"\d+ kernels by lookup tables; without: flash [\d,]+ bytes", told)
        assert "on 16 of 16 images, bit for bit" in told
    wrong = CliRunner().invoke(edgenets_command, [*arguments, "--no-tables"])
    assert wrong.exit_code == 2 and "--no-tables is for --target mcu" in wrong.stderr
    with pytest.raises(EdgenetsError, match="tables=False is for target mcu, not generic"):
        en.Model.load(model).export(tmp_path / "net.tflite", tables=False)


@needs_compiler
def test_examples_of_the_guide_run(
    tiny_run: Path, image_folder: Path, tmp_path: Path, monkeypatch, capsys
):
    guide = (Path(__file__).parents[4] / "docs" / "guide" / "microcontrollers.md").read_text()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small").symlink_to(tiny_run / "stages" / "03-share")
    (tmp_path / "photos").symlink_to(image_folder)
    monkeypatch.chdir(tmp_path)
    (python,) = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    exec(python, {})
    flash_bytes, arena_bytes = map(int, capsys.readouterr().out.split())
    header = header_of(tmp_path / "board")
    assert int(header["kDataBytes"]) == flash_bytes and int(header["kArenaBytes"]) == arena_bytes
    (shell,) = re.findall(r"^```\n(c\+\+ .*?)^```", guide, re.MULTILINE | re.DOTALL)
    done = subprocess.run(["sh", "-ec", shell], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"model: {flash_bytes} bytes, crc32 ")
    named = set(re.findall(r"^\| `([\w.]+)` \|", guide, re.MULTILINE))
    assert named == {path.name for path in (tmp_path / "board").iterdir()} == set(FIRMWARE)


@pytest.mark.parametrize("text", ["", 'a "b" \\ c', "caf\u00e9", "what??/", "two\nlines", "\x7f9"])
def test_text_is_the_same_in_cpp(text: str):
    assert ast.literal_eval(f"b{c_string(text)}") == text.encode()
    assert "??" not in c_string(text)
