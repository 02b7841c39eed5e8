"""Run MediaPipe Tasks' image classifier on image files, as the programs of its users do.

It is started as a program in MediaPipe's environment (`environments.py`) and imports nothing of
edgenets: `python mediapipe_classifier.py FILE.tflite`, a JSON list of the images' paths on stdin.
On stdout comes a JSON object for each, in order: `index` of the likeliest class, or `error`.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Classify the images, one after the other."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what C++ code prints
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    with open(sys.argv[1], "rb") as file:  # noqa: PTH123
        options = vision.ImageClassifierOptions(
            base_options=BaseOptions(model_asset_buffer=file.read()), max_results=1
        )
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for path in json.load(sys.stdin):
            try:
                image = mediapipe.Image.create_from_file(path)
            except RuntimeError as error:
                answer: dict[str, object] = {"error": " ".join(str(error).split())}
            else:
                found = classifier.classify(image)
                answer = {"index": found.classifications[0].categories[0].index}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
