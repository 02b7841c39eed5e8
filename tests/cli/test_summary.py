from __future__ import annotations

import functools
import json

import pytest
from click.testing import CliRunner, Result

from edgenets.cli import summary
from edgenets.cli.summary import command
from edgenets.errors import EdgenetsError
from edgenets.models import registry
from edgenets.profile import profile

SMALL = ("mobilenet_v1", "width=0.5", "resolution=128")


def create(name: str, **given: object):
    return build_once(name, tuple(registry.complete_arguments(name, given).items()))


@functools.cache
def build_once(name: str, arguments: tuple[tuple[str, object], ...]):
    return registry.create(name, **dict(arguments))


@pytest.fixture(autouse=True)
def nets_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command have nets that it, or a test, had before: it counts them only."""
    monkeypatch.setattr(summary, "create", create)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_json_has_the_cost_and_its_layers_and_what_a_step_aside_would_cost():
    shown = json.loads(run(*SMALL, "--json").stdout)
    cost = profile(create("mobilenet_v1", width=0.5, resolution=128))
    assert (shown["params"], shown["macs"]) == (1_342_536, 49_160_192)
    assert shown["weight_bytes"] == 4 * shown["params"]
    assert shown["int8_energy"] == cost.int8_energy._asdict()
    assert [layer["name"] for layer in shown["layers"]] == [x.name for x in cost.layers]
    assert shown["top1_published"] == 0.563
    assert len(shown["assumptions"]) == 3
    assert shown["alternatives"] == [
        {
            "arguments": {"width": 0.25},
            "params": 475_544,
            "macs": 13_570_048,
            "top1_published": 0.415,
        },
        {
            "arguments": {"resolution": 96},
            "params": 1_342_536,
            "macs": profile(create("mobilenet_v1", width=0.5, resolution=96)).macs,
            "top1_published": None,
        },
    ]


def test_hint_says_what_width_and_resolution_would_change():
    output = run(*SMALL).stdout
    width, resolution = output.splitlines()[-3:-1], output.splitlines()[-1]
    assert (
        " ".join(width).split()
        == (
            "width=0.25: 475.5k parameters (-65 %), 13.57M MACs (-72 %), published top-1 41.50 %"
        ).split()
    )
    # Of 49,160,192 MACs the classifier's 512,000 stay, and (96 / 128) ** 2 of the others.
    assert resolution == "resolution=96: 1.34M parameters (same), 27.88M MACs (-43 %)"
    assert "a MAC takes 4.6 pJ in float32" in output
    assert all(len(line) <= 80 for line in output.splitlines())


def test_step_that_the_net_has_no_room_for_is_no_hint():
    shown = json.loads(run("squeezenet", "resolution=48", "squeeze_ratio=0.25", "--json").stdout)
    changed = [alternative["arguments"] for alternative in shown["alternatives"]]
    assert changed == [{"squeeze_ratio": 0.125}, {"pct_3x3": 0.25}]


def test_layers_are_shown_with_their_int8_weights_and_energy():
    output = run("mobilenet_v1", "width=0.25", "resolution=32", "output_stride=8", "--per-layer")
    (logits,) = (line for line in output.stdout.splitlines() if line.startswith("│ logits"))
    cells = [cell.strip() for cell in logits.strip("│").split("│")]
    assert cells[:5] == ["logits", "Dense", "1000", "257,000", "256,000"]
    assert cells[5:] == ["3.9 KiB", "1003.9 KiB", "253.9 KiB", "41.7 uJ"]


def test_unknown_argument_gets_a_sentence():
    with pytest.raises(EdgenetsError, match="did you mean width"):
        run("mobilenet_v1", "widht=1")
