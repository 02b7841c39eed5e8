"""The drawing: lanes by hand, and that it is XML whatever a file's names are."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path

import pytest

from edgenets.export.inspect.drawing import Edge, draw, lay_out
from edgenets.export.inspect.inspection import draw_inspection, inspect_file
from edgenets.results.inspection import Inspection

SVG = "{http://www.w3.org/2000/svg}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def an_inspection(**given) -> Inspection:
    """One that holds what is given, and None for the rest."""
    return Inspection(**{**dict.fromkeys(each.name for each in fields(Inspection)), **given})


def operator(index: int, inputs: list[int], outputs: list[int], **changes):
    return {
        **{"index": index, "op": "ADD", "name": f"layer{index}", "prepares": False},
        **{"kernel": None, "inputs": inputs, "outputs": outputs, "shape": [1, 4, 4, 8]},
        **{"dtype": "int8", "macs": 10 * index, "weight_bytes": 8, **changes},
    }


def graph(*operators, last: int):
    end = {"name": "end", "shape": [1, 10], "dtype": "int8"}
    sizes = dict.fromkeys(("size_bytes", "macs", "weight_bytes", "arena_bytes"), 1000)
    return an_inspection(
        **sizes,
        operators=operators,
        inputs=({**end, "tensor": 0},),
        outputs=({**end, "tensor": last},),
    )


# A block of two branches: 0 is read by both, 1 -> 2 is the longer one, 3 the shortcut.
BLOCK = graph(
    operator(0, [0], [1]),
    operator(1, [1], [2]),
    operator(2, [0], [3]),
    operator(3, [2, 3], [4]),
    last=4,
)


def lanes(inspection):
    count = len(inspection.operators)
    rows, edges = lay_out(inspection, [True] * count, [""] * count)
    return [row.lane for row in rows], edges


def test_a_tensor_that_is_waited_for_keeps_its_lane():
    found, edges = lanes(BLOCK)
    # input, the branch beside it, the shortcut in the input's own lane, the sum, the output
    assert found == [0, 1, 1, 0, 0, 0]
    assert edges == [
        Edge(0, 0, 1),
        Edge(1, 1, 2),
        Edge(0, 0, 3),
        Edge(2, 1, 4),
        Edge(3, 0, 4),
        Edge(4, 0, 5),
    ]


def test_a_chain_has_one_lane():
    chain = graph(*(operator(i, [i], [i + 1]) for i in range(5)), last=5)
    assert lanes(chain)[0] == [0] * 7


def test_no_two_tensors_share_a_lane_at_once():
    branches = [operator(i, [0], [i + 1]) for i in range(6)]
    wide = graph(*branches, operator(6, [1, 2, 3, 4, 5, 6], [7]), last=7)
    found, edges = lanes(wide)
    assert found == [0, 1, 2, 3, 4, 5, 0, 0, 0]
    ending = [edge for edge in edges if edge.end == 7]
    assert sorted(edge.lane for edge in ending) == [0, 1, 2, 3, 4, 5]


def test_operators_that_only_unpack_constants_are_left_out():
    unpacking = operator(0, [9], [8], prepares=True)
    rest = [operator(1, [0, 8], [1]), operator(2, [1], [2])]
    rows, edges = lay_out(graph(unpacking, *rest, last=2), [True] * 3, [""] * 3)
    assert [row.number for row in rows] == ["", "1", "2", ""]
    assert edges == [Edge(0, 0, 1), Edge(1, 0, 2), Edge(2, 0, 3)]


def test_what_does_not_run_in_the_accelerator_has_its_own_mark_and_says_why():
    inside, reasons = [True, False, None, True], ["", "no such <rule>", "", ""]
    root = ET.fromstring(draw(BLOCK, "a & b", "XNNPACK", inside, reasons))
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert "no such <rule>" in texts and "a & b" in texts
    for words in ("2 operators in XNNPACK", "1 operator outside XNNPACK", "1 operator not known"):
        assert any(text.startswith(words) for text in texts), words
    assert "1 x 10 int8" in texts and "1 x 4 x 4 x 8 int8" in texts
    assert len([rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "tint"]) == 1


@pytest.mark.parametrize("name", ["\x00\x1b[31m", "</svg><script>", "\ud800", "x" * 5000, '"&'])
def test_any_name_gives_a_file_that_is_xml(name: str, tmp_path: Path):
    wild = graph(operator(0, [0], [1], name=name, op=name), last=1)
    wild.inputs[0]["name"] = name
    text = draw(wild, name, "XNNPACK", [False], [name])
    root = ET.fromstring(text.encode())
    assert not list(root.iter(f"{SVG}script"))


def test_a_graph_of_nothing_is_drawn():
    text = draw(replace(graph(last=0), inputs=(), outputs=()), "", "XNNPACK", [], [])
    assert ET.fromstring(text).tag == f"{SVG}svg"


@pytest.mark.browser
def test_a_browser_shows_it(shared_file, tmp_path: Path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    path = shared_file("coral/deeplabv3_mnv2_dm05_pascal_quant.tflite")
    draw_inspection(inspect_file(path), path.name, tmp_path / "net.svg")
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=400,400"),
            *(f"--screenshot={tmp_path / 'net.png'}", f"file://{tmp_path / 'net.svg'}"),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=True,
    )
    from PIL import Image

    colours = Image.open(tmp_path / "net.png").convert("RGB").getcolors(400 * 400)
    assert colours is not None
    assert {(255, 255, 255), (25, 113, 168)} <= {colour for _, colour in colours}
