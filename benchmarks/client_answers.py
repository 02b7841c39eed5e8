"""What a client's own image classifier answers; run by clients.py in an environment that has it.

    PYTHON benchmarks/client_answers.py mediapipe|task-library|torchvision FILE.tflite < images

Needs nothing but the client: `pip install mediapipe`, or `pip install tflite-support 'numpy<2'`
(Python 3.11), or torchvision (Debian: python3-torchvision). Reads the paths of images, one a line,
and prints one JSON value: the client's version, and of each image the scores, by the labels of the
file. torchvision, which runs no such file, gives what the file of `clients.py` that returns its
input would.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable
from typing import Any

Scores = dict[str, float]
SIDE = 32  # pixels of the file that returns its input
RESIZED = round(SIDE * 256 / 224)
"""To which the short side is resized first, in the proportion of the preset of ImageNet nets."""


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


def torchvision(file: str) -> Callable[[str], Scores]:
    """Return the preset that ImageNet nets are evaluated with, at `SIDE` pixels, undoing its scale.

    Args:
        file: is not read.
    """
    import torch
    from PIL import Image
    from torchvision.transforms._presets import ImageClassification

    prepare = ImageClassification(crop_size=SIDE, resize_size=RESIZED)
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (prepare.mean, prepare.std))

    def answer(path: str) -> Scores:
        pixels = (prepare(Image.open(path).convert("RGB")) * std + mean).permute(1, 2, 0)
        codes = pixels.flatten() * 255 / 256
        return {str(number): float(code) for number, code in enumerate(codes)}

    return answer


CLIENTS = {
    "mediapipe": ("mediapipe", mediapipe),
    "task-library": ("tflite-support", task_library),
    "torchvision": ("torchvision", torchvision),
}


def main() -> None:
    client, file = sys.argv[1:]
    package, open_file = CLIENTS[client]
    answer = open_file(file)
    answers: dict[str, Any] = {path: answer(path) for path in sys.stdin.read().splitlines()}
    json.dump({"version": importlib.metadata.version(package), "answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
