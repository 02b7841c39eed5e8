"""Damaged files into every command that reads `.tflite` files: each gives a sentence or works.

    python benchmarks/fuzz.py FILE.tflite ... [--truncations N] [--mutations N] [--commands N]

Of each file, `--truncations` cut-off pieces and `--mutations` copies with one to eight changed
bytes (half of them among the bytes that are no weights) are read in this process, by the parser and
by all of `inspect` but the interpreter. `--commands` of them, equally spaced, go through `inspect`,
`predict`, `benchmark` and `evaluate`, each a process of its own. A traceback, a status other than 0
and 1, or a process that must be ended counts as a crash. Printed is how often each outcome was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.drawing import draw
from edgenets.export.inspect import contents

MOST_BYTES = 8
"""Changed in a mutant."""
COMMAND_SECONDS = 300
STATUSES = {0: "works", 1: "sentence"}
DEATHS = ("crashed with SIG", "was killed by SIG", "said nothing for", "ended with status")


def truncations(content: bytes, number: int) -> list[bytes]:
    """Return the file cut off at so many places from its first byte to its last."""
    return [content[:length] for length in np.linspace(0, len(content) - 1, number).astype(int)]


def mutants(content: bytes, number: int, seed: int = 0) -> Iterator[bytes]:
    """Yield copies with a few random bytes: anywhere, and in turn only where no weights are."""
    random = np.random.default_rng(seed)
    places = [np.arange(len(content)), structure(content)]
    for i in range(number):
        mutant = np.frombuffer(content, np.uint8).copy()
        where = random.choice(places[i % 2], random.integers(1, MOST_BYTES + 1))
        mutant[where] = random.integers(0, 256, where.size)
        yield mutant.tobytes()


def structure(content: bytes) -> np.ndarray:
    """Return the positions of all bytes that are not the content of a constant."""
    free = np.ones(len(content), bool)
    for tensor in flatbuffer.read(content).tensors:
        if tensor.is_constant:
            free[tensor.offset : tensor.offset + tensor.size_bytes] = False
    return np.flatnonzero(free)


def outcome(content: bytes) -> str:
    """Return what becomes of a file that is read in this process; other errors are raised."""
    try:
        inspection = contents(content)
        operators = len(inspection["operators"])
        draw(inspection, "fuzz", "XNNPACK", [None] * operators, [""] * operators)
    except EdgenetsError:
        return "sentence"
    return "works"


def command_outcome(*arguments: object) -> str:
    """Return what becomes of a command line, in a process of its own."""
    command = [sys.executable, "-m", "edgenets", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return "hang"
    if "Traceback" in done.stderr or done.returncode not in STATUSES:
        return f"crash {done.returncode}: {' '.join(done.stderr.split())[-200:]}"
    if done.returncode == 1 and not done.stderr.strip().splitlines()[-1].startswith("edgenets: "):
        return f"no sentence: {done.stderr}"
    died = any(words in done.stderr + done.stdout for words in DEATHS)
    return STATUSES[done.returncode] + (", the interpreter died" if died else "")


def commands(path: Path, image: Path, data: Path) -> dict[str, tuple[object, ...]]:
    """Return the command lines that a file goes through, by the command's name."""
    return {
        "inspect": ("inspect", path, "--target", "coral", "--svg", path.with_suffix(".svg")),
        "predict": ("predict", path, image),
        "benchmark": ("benchmark", path, "--min-seconds", 0),
        "evaluate": ("evaluate", path, "--data", data),
    }


def make_images(folder: Path, content: bytes) -> tuple[Path, Path]:
    """Write an image, and a dataset of one image of each of two of the file's labels."""
    random = np.random.default_rng(0)
    labels = (contents(content)["labels"] or ["one", "two"])[:2]
    for label in labels:
        (folder / "test" / label).mkdir(parents=True)
        pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "test" / label / "0.png")
    return folder / "test" / labels[0] / "0.png", folder


def main() -> None:
    """Damage the files and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--truncations", type=int, default=200)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--commands", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    crashes = 0
    for path in chosen.files:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            content = path.read_bytes()
            image, data = make_images(folder / "data", content)
            damaged = [
                *truncations(content, chosen.truncations),
                *mutants(content, chosen.mutations, chosen.seed),
            ]
            start = time.perf_counter()
            counts = Counter(map(outcome, damaged))
            seconds = time.perf_counter() - start
            print(f"{path.name}: in process {dict(counts)} in {seconds:.1f} s", flush=True)
            step = max(1, len(damaged) // max(1, chosen.commands))
            results: dict[str, Counter[str]] = {}
            for i, one in enumerate(damaged[step - 1 :: step] if chosen.commands else []):
                file = folder / f"{i}.tflite"
                file.write_bytes(one)
                for command, line in commands(file, image, data).items():
                    results.setdefault(command, Counter())[command_outcome(*line)] += 1
            for command, found in results.items():
                crashes += sum(
                    count for what, count in found.items() if what not in STATUSES.values()
                )
                print(f"{path.name}: {command} {dict(found)}", flush=True)
    print(f"{crashes} crashes")
    sys.exit(bool(crashes))


if __name__ == "__main__":
    main()
