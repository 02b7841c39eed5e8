"""What a client's own image classifier answers; run by clients.py in an environment that has it.

    PYTHON benchmarks/client_answers.py mediapipe|task-library FILE.tflite < images

Needs nothing but the client: `pip install mediapipe`, or `pip install tflite-support 'numpy<2'`
(Python 3.11). Reads the paths of images, one a line, and prints one JSON value: the client's
version, and of each image the scores, by the labels of the file.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable
from typing import Any

Scores = dict[str, float]


def mediapipe(file: str) -> Callable[[str], Scores]:
    """Return MediaPipe Tasks' `ImageClassifier` of a file, as a function of an image's path."""
    import mediapipe as mp

    classifier = mp.tasks.vision.ImageClassifier.create_from_model_path(file)

    def answer(path: str) -> Scores:
        (head,) = classifier.classify(mp.Image.create_from_file(path)).classifications
        return {category.category_name: category.score for category in head.categories}

    return answer


def task_library(file: str) -> Callable[[str], Scores]:
    """Return the Task Library's `ImageClassifier` of a file, as a function of an image's path."""
    from tflite_support.task import vision

    classifier = vision.ImageClassifier.create_from_file(file)

    def answer(path: str) -> Scores:
        image = vision.TensorImage.create_from_file(path)
        (head,) = classifier.classify(image).classifications
        return {category.category_name: category.score for category in head.categories}

    return answer


CLIENTS = {
    "mediapipe": ("mediapipe", mediapipe),
    "task-library": ("tflite-support", task_library),
}


def main() -> None:
    client, file = sys.argv[1:]
    package, open_file = CLIENTS[client]
    answer = open_file(file)
    answers: dict[str, Any] = {path: answer(path) for path in sys.stdin.read().splitlines()}
    json.dump({"version": importlib.metadata.version(package), "answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
