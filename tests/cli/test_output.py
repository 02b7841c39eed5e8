"""What is printed obeys nobody: control characters come out as their numbers."""

from __future__ import annotations

import ast
import json
import unicodedata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgenets.cli import main as main_module
from edgenets.cli.benchmark import print_benchmarks
from edgenets.cli.main import edgenets_command
from edgenets.cli.output import echo, print_table
from edgenets.errors import EdgenetsError
from edgenets.progress import printable, say
from edgenets.results.benchmark import Benchmark, Latency, StoredFile

CLI = Path(main_module.__file__).parent
ODD = "a\x00\x07\x08\t\r\x1b[31m\x7f\x85\x9b\u061c\u200e\u202e\u2028\u2066\nb"
SHOWN = r"a\x00\x07\x08\x09\x0d\x1b[31m\x7f\x85\x9b\u061c\u200e\u202e\u2028\u2066\x0ab"


def test_every_control_and_every_turn_of_direction_is_shown_as_its_number():
    assert printable(ODD) == SHOWN
    assert printable("tench, 中 é 👍 \\x1b") == "tench, 中 é 👍 \\x1b"
    for code in range(0x110000):
        character = chr(code)
        turns = unicodedata.bidirectional(character) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        )
        if turns or unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            assert printable(character).isascii() and len(printable(character)) in (4, 6)


def test_lines_cells_titles_and_messages_are_printable(capsys):
    echo("one", ODD)
    assert capsys.readouterr().out == f"one\n{SHOWN}\n"
    print_table([f">{ODD}", "lines"], [(ODD, ["first", ODD]), ("[/b] :cat: \\", "")], title=ODD)
    shown = capsys.readouterr().out
    assert shown.count(SHOWN) == 4 and "[/b] :cat: \\" in shown
    assert shown.replace("\n", "").isprintable()
    say(ODD)
    assert capsys.readouterr().err == f"{SHOWN}\n"


def test_nothing_is_printed_but_by_what_makes_it_printable():
    for file in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                printer = called in ("print", "click.echo", "click.secho", "sys.stdout.write")
                assert not printer or file.name == "output.py", f"{file}:{node.lineno} {called}"


def test_a_failure_and_wrong_usage_are_printable(monkeypatch, capsys):
    for raised, status in ((EdgenetsError(ODD), 1), (click.UsageError(ODD), 2)):

        def fail(raised: BaseException = raised, **_: object) -> None:
            raise raised

        monkeypatch.setattr(edgenets_command, "main", fail)
        with pytest.raises(SystemExit) as ended:
            main_module.main()
        assert ended.value.code == status
        shown = capsys.readouterr().err
        assert r"a\x00\x07\x08\x09" in shown and shown.replace("\n", "").isprintable()


def test_labels_of_a_file_are_printable_but_as_json(tmp_path: Path, monkeypatch):
    best = {"label": ODD, "name": None, "score": 1.0}
    monkeypatch.setattr(
        "edgenets.export.measure.predict.predict_files",
        lambda *_, **__: [{"path": ODD, "top": [best]}],
    )
    shown = CliRunner().invoke(edgenets_command, ["predict", "net.tflite", "a.jpg"]).output
    assert shown.count(SHOWN) == 2 and shown.replace("\n", "").isprintable()
    told = CliRunner().invoke(edgenets_command, ["predict", "net.tflite", "a.jpg", "--json"]).output
    assert json.loads(told)[0]["top"][0]["label"] == ODD


def test_what_a_board_calls_itself_is_printable(capsys):
    result = Benchmark(
        model=StoredFile(ODD, "0" * 64, 1),
        device={"name": ODD, "cores": 4, "processor": ODD, "machine": ODD},
        runtime={"name": ODD, "version": ODD, "delegate": None},
        threads=1,
        latency_ms=Latency(1.0, 1.0, 1.0, 1.0, (1.0, 1.0)),
        samples_ms=(1.0,),
        load_ms=1.0,
        first_ms=1.0,
        peak_memory_bytes=None,
        warm_up=None,
        stability={"verdict": "stable", "reasons": []},
        instructions=None,
        energy_mj=None,
        ops=(),
    )
    print_benchmarks([result])
    shown = capsys.readouterr().out
    assert shown.count(SHOWN) == 5 and shown.replace("\n", "").isprintable()
