"""A client is given the image files; what it answers wrongly, or not at all, is a sentence."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.devices import environments
from edgenets.export.measure import client
from edgenets.export.measure.client import ask_mediapipe, verify_client


@pytest.fixture
def mediapipe() -> None:
    """Skips the test where MediaPipe is not set up: it takes 620 MB."""
    try:
        environments.find_environment(environments.MEDIAPIPE)
    except EdgenetsError as error:
        pytest.skip(str(error))


@pytest.fixture
def played(monkeypatch, tmp_path):
    """A function from the code of a program to one that stands in MediaPipe's place."""

    def play(code):
        script = tmp_path / "plays.py"
        script.write_text(f"import json, sys\npaths = json.load(sys.stdin)\n{code}\n")
        monkeypatch.setattr(client, "SCRIPT", script)
        monkeypatch.setattr(environments, "program", lambda environment, name: [sys.executable])

    return play


def test_a_client_that_is_not_set_up_names_the_command(tiny_int8_file, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    with pytest.raises(EdgenetsError, match="MediaPipe Tasks is not set up; run: edgenets doctor"):
        verify_client(tiny_int8_file, str(tmp_path))


def test_answers_are_taken_in_order_and_unreadable_files_are_told(played, tmp_path):
    played("""print('{"index": 2}\\n{"error": "no image"}\\n{"index": 0}')""")
    answers = ask_mediapipe(tmp_path, [tmp_path] * 3, classes=3)
    np.testing.assert_array_equal(answers, [2, -1, 0])


@pytest.mark.parametrize("answer", ['{"index": 3}', "[1]", "hello", '{"index": "1"}'])
def test_an_answer_that_cannot_be_is_one_sentence(played, tmp_path, answer):
    played(f"print({answer!r})")
    with pytest.raises(EdgenetsError, match=r"one of 3 classes was expected; set it up anew"):
        ask_mediapipe(tmp_path, [tmp_path], classes=3)


def test_a_client_that_says_nothing_is_ended(played, tmp_path):
    played("import time; print('{\"index\": 1}', flush=True); time.sleep(60)")
    with pytest.raises(EdgenetsError, match=r"said nothing for 0.5 s, and was ended"):
        ask_mediapipe(tmp_path, [tmp_path] * 2, classes=3, patience_seconds=0.5)


def test_a_client_that_dies_is_one_sentence(played, tmp_path):
    played("""import os, time; print('{"index": 1}', flush=True); os.close(1); time.sleep(0.2)
sys.exit("the input must be uint8")""")
    with pytest.raises(EdgenetsError, match=r"1 of 2 images .* status 1: the input must be uint8"):
        ask_mediapipe(tmp_path, [tmp_path] * 2, classes=3)


@pytest.mark.slow
def test_mediapipe_answers_as_evaluate_counts(mediapipe, tiny_run, image_folder, tmp_path):
    import edgenets as en

    with pytest.raises(EdgenetsError, match=r"takes int8; export it with --client mediapipe"):
        verify_client(tiny_run / "model.tflite", str(image_folder))
    file = en.load(tiny_run / "stages" / "03-share").export(
        tmp_path / "float.tflite", data=image_folder, float_ends=True, softmax=True
    )
    ours, theirs = verify_client(file.path, str(image_folder))["runtimes"]
    assert theirs["name"] == "mediapipe" and theirs["same_answers"] >= 0.97
    assert abs(theirs["top1"] - ours["top1"]) <= 0.03
