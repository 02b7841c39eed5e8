from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgenets.cli.list import command
from edgenets.models.npu_cycles import MOST_MACS, MOST_PARAMS
from edgenets.models.variants import VARIANTS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def listed(*arguments: str) -> list[dict[str, Any]]:
    return json.loads(run("--json", *arguments).stdout)


def test_every_variant_is_listed_with_the_promised_keys():
    variants = listed()
    assert len(variants) == len(VARIANTS)
    for variant in variants:
        assert set(variant) == set(
            "name family arguments resolution params macs top1_published source cycles".split()
        )


def test_filters_hold_together():
    chosen = listed("--family", "mobilenet", "--max-params", "2M", "--max-macs", "50e6")
    assert chosen == [
        variant
        for variant in listed()
        if variant["family"] == "MobileNet"
        and variant["params"] <= 2_000_000
        and variant["macs"] <= 50_000_000
    ]
    assert chosen


@pytest.mark.parametrize("key", ["name", "params", "macs"])
def test_smallest_comes_first(key: str):
    values = [variant[key] for variant in listed("--sort", key)]
    assert values == sorted(values) and len(values) == len(VARIANTS)


def test_most_accurate_comes_first_and_the_unknown_last():
    values = [variant["top1_published"] for variant in listed("--sort", "top1")]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values == known + [None] * (len(values) - len(known))


def test_fewest_cycles_on_an_npu_come_first_and_the_unknown_last():
    target = "ethos-u55-128"
    values = [variant["cycles"].get(target) for variant in listed("--target", target)]
    known = [value for value in values if value is not None]
    assert known == sorted(known) and known
    assert values == known + [None] * (len(values) - len(known))
    assert run("--target", target).stdout.startswith(f"cycles on {target}, as Vela estimates them")
    assert "cycles" not in run().stdout
    assert "-: no estimate, over 2.70M parameters or" in run("--target", target).stdout
    small = run("--target", target, "--family", "ShuffleNet", "--max-params", "2M").stdout
    assert "no estimate" not in small and "no estimate" not in run().stdout
    by_top1 = listed("--target", target, "--sort", "top1")
    assert by_top1 == listed("--sort", "top1")
    assert "'ethos-u55-128'" in run("--target", "coral").output


def test_variants_without_estimate_are_those_too_large_for_one():
    for variant in VARIANTS:
        is_large = variant.params > MOST_PARAMS or variant.macs > MOST_MACS
        assert is_large is not bool(variant.cycles), variant


@pytest.mark.parametrize("arguments", [(), ("--target", "ethos-u55-128")])
def test_table_fits_80_columns(arguments: tuple[str, ...]):
    assert all(len(line) <= 80 for line in run(*arguments).stdout.splitlines() if "│" in line)


def test_table_names_family_and_source_of_each_net():
    output = run("--family", "ShuffleNet").stdout
    assert "shufflenet_v1 (ShuffleNet): arXiv:1707.01083" in output
    table, _, start = output.partition("Where to start with photographs of your own:")
    assert "width=" not in table
    assert "mobilenet_v1 width=0.25 resolution=128" in start
    assert "teacher" not in start  # on photographs it gave nothing that could be told from chance


def test_limits_that_no_net_is_within_are_said():
    result = run("--max-params", "1000")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("no net is as small as that")
    assert listed("--max-params", "1000") == []


@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf", "", "M"])
def test_limit_that_is_no_number_is_wrong_usage(value: str):
    result = run("--max-macs", value)
    assert result.exit_code == 2
    assert "expected a number such as 2.5M" in result.stderr
