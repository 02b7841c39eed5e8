"""`edgenets update --device`: boards over SSH that update themselves, in one table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import edgenets as en
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.export.devices.ssh import VENV

pytestmark = pytest.mark.board
ROOT = Path(__file__).parents[2]


def with_edgenets(board):
    """Let the board have this edgenets, and no other."""
    board.add_program("python3", f'PYTHONPATH="{ROOT}" exec {sys.executable} "$@"')
    return board


def test_a_table_has_what_came_of_each_board(board, colour_file: Path, tmp_path: Path):
    with_edgenets(board)
    releases = en.Releases(tmp_path / "releases", tmp_path / "keys")
    root = releases.init()
    releases.publish(colour_file, model="colours")
    nowhere = board.url_at(1)
    into = ("--into", str(tmp_path / "it's the board's"))
    devices = ("--device", board.url, "--device", nowhere)
    update = ("update", str(tmp_path / "releases"), "--model", "colours", "--root", str(root))
    result = CliRunner().invoke(edgenets_command, [*update, *into, *devices, "--json"])
    assert isinstance(result.exception, EdgenetsError)
    assert str(result.exception) == "1 of 2 boards failed; the others are done"
    updated, failed = json.loads(result.stdout)
    assert (updated["action"], updated["model"], updated["number"]) == ("installed", "colours", 1)
    assert updated["downloaded_bytes"] > 0 and updated["error"] is None
    assert failed["device"] == nowhere and "no SSH server answers" in failed["error"]

    status = CliRunner().invoke(edgenets_command, ["update", "--status", *into, *devices[:2]])
    assert board.url in status.stdout and "colours" in status.stdout
    back = CliRunner().invoke(edgenets_command, ["update", "--rollback", *into, *devices[:2]])
    assert "holds no model from before" in back.stdout and back.exit_code == 1


def test_a_board_without_edgenets_says_how_to_get_it(board, tmp_path: Path):
    board.add_program("python3", "exit 1")
    status = ["update", "--status", "--into", str(tmp_path), "--device", board.url, "--json"]
    (row,) = json.loads(CliRunner().invoke(edgenets_command, status).stdout)
    assert row["error"] == (
        f"it has no edgenets; run there, in a clone of edgenets: python3 -m venv {VENV} && "
        f"{VENV}/bin/pip install '.[update]'"
    )


@pytest.mark.parametrize("answer", ["", "[]", '{"release": {"model": 1, "number": 2}}', "{}"])
def test_a_board_that_answers_something_else_is_not_believed(answer: str, board, tmp_path: Path):
    board.add_program("python3", f"echo '{answer}'")
    status = ["update", "--status", "--into", str(tmp_path), "--device", board.url, "--json"]
    (row,) = json.loads(CliRunner().invoke(edgenets_command, status).stdout)
    assert row["error"] == "it answers what edgenets did not ask for; set it up anew"
