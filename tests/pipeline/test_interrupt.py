"""Commands that are killed around an operation on their files, and given again.

A seeded sample, in one process; all of them are gone on from by `benchmarks/interrupt.py`.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from interrupt import Command, commands, differences, do, outcome, record

from edgenets.errors import EdgenetsError
from edgenets.files import TEMPORARY, read_json, sha256_file

SEED = 16


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Command]:
    return commands(tmp_path_factory.mktemp("set"))


def sampled(kept: list[Path], count: int) -> list[Path]:
    return random.Random(SEED).sample(kept, count)


@pytest.mark.slow
@pytest.mark.parametrize("name, count", [("transfer", 2), ("compress-int8", 2)])
def test_killed_command_ends_as_an_undisturbed_one(
    name: str, count: int, known: dict[str, Command], tmp_path: Path
):
    out = tmp_path / name
    tape = record(known[name], out, tmp_path / "states")
    wanted, kept = outcome(out), list(tape.kept.values())
    assert not [file for file in wanted if TEMPORARY in file]
    assert len(kept) >= 20
    for state in sampled(kept, count):
        assert not differences(known[name], state, out, wanted), state


@pytest.mark.slow
def test_exported_file_and_its_report_appear_together(known: dict[str, Command], tmp_path: Path):
    """Around every operation of two exports: a file never is without the report on it."""
    out = tmp_path / "out"
    first = record(known["export"], out, tmp_path / "first")
    wanted = outcome(out)
    file, report = out / "a.tflite", out / "a.tflite.json"
    for state in first.kept.values():
        there = (state / file.name).exists(), (state / report.name).exists()
        assert there in ((False, False), (False, True), (True, True))
        if all(there):
            assert read_json(state / report.name)["sha256"] == sha256_file(state / file.name)
    (state,) = sampled(list(first.kept.values()), 1)
    assert not differences(known["export"], state, out, wanted)


@pytest.mark.slow
def test_failed_export_leaves_neither(known: dict[str, Command], tmp_path: Path):
    (tmp_path / "a.tflite.json").mkdir()
    with pytest.raises(EdgenetsError, match=r"a\.tflite\.json is a folder; pass the name"):
        do(known["export"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tflite.json"]


def test_harness_notices_a_command_that_does_not_resume(tmp_path: Path):
    def careless(out: Path) -> None:
        log = out / "log"
        log.write_text(log.read_text() + "again" if log.exists() else "once")

    out = tmp_path / "out"
    tape = record(careless, out, tmp_path / "states")
    wanted = outcome(out)
    assert wanted == {"log": b"once"}
    found = [differences(careless, state, out, wanted) for state in tape.kept.values()]
    assert found[0] == [] and found[-1] == ["log"]
    assert {path.read_text() for path in tmp_path.glob("states/*/log")} == {"", "on", "once"}
