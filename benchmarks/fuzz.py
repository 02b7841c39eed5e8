"""Damaged files into every command that reads `.tflite` files: each gives a sentence or works.

    python benchmarks/fuzz.py FILE.tflite ...

Of each file, pieces that are cut off (`--truncations`), copies with one to eight changed bytes,
half of them among the bytes that are no weights (`--mutations`), and whole files with one thing
changed in the graph, such as an input left out (`--graphs`), are read in this process, by the
parser and by all of `inspect` but the interpreter. Of those that the parser lets through, some are
run by the interpreter, each in a fresh process (`--runs`). Some of all go through `inspect`,
`predict`, `benchmark` and `evaluate`, each a process of its own (`--commands`). A traceback, a
status other than 0 and 1, or a process that must be ended counts as a crash; that the interpreter's
process dies does not. Printed is how often each outcome was.

Every bit of a tiny checkpoint is flipped, and it is cut off after every byte: training must go on
from the checkpoint before. One that is taken for sound counts as a crash.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices import LocalSession
from edgenets.export.drawing import draw
from edgenets.export.inspect import contents

CHANGES = (
    *("input left out", "no input", "another input", "another output", "another operator"),
    *("other options", "another shape", "another type", "another buffer", "no scale"),
)
MOST_BYTES = 8
"""Changed in a mutant."""
COMMAND_SECONDS = 300
STATUSES = {0: "works", 1: "sentence"}
DIED = ", the interpreter died"
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


def graph_mutants(content: bytes, number: int, seed: int = 0) -> Iterator[bytes]:
    """Yield files that are whole, with one thing changed that no verifier of positions notices."""
    random = np.random.default_rng(seed)
    for i in range(number):
        yield flatbuffer.rewrite(content, partial(_change_graph, CHANGES[i % len(CHANGES)], random))


def _change_graph(kind: str, random: np.random.Generator, model: Any) -> None:
    graph = model.subgraphs[0]
    operator, other = random.choice(graph.operators, 2)
    tensor = random.choice(graph.tensors)
    operator.inputs, operator.outputs = operator.inputs.copy(), operator.outputs.copy()
    match kind:
        case "input left out":
            operator.inputs = operator.inputs[:-1]
        case "no input":
            operator.inputs[random.integers(len(operator.inputs))] = -1
        case "another input":
            operator.inputs[0] = random.integers(len(graph.tensors))
        case "another output":
            operator.outputs[0] = random.integers(len(graph.tensors))
        case "another operator":
            operator.opcodeIndex = other.opcodeIndex
        case "other options":
            operator.builtinOptions = other.builtinOptions
            operator.builtinOptionsType = other.builtinOptionsType
        case "another shape":
            tensor.shape = random.integers(-1, 2 ** random.integers(2, 31), random.integers(0, 6))
            tensor.shape = tensor.shape.astype(np.int32)
        case "another type":
            tensor.type = random.integers(0, 18)
        case "another buffer":
            tensor.buffer = random.integers(len(model.buffers))
        case "no scale":
            tensor.quantization = None


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


def interpreter_outcome(content: bytes) -> str:
    """Return what becomes of a file in the interpreter's own process."""
    with LocalSession() as session:
        session.put("fuzz", content)
        try:
            session.ask([{"do": "run", "file": "fuzz", "runs": 1}])
        except EdgenetsError as error:
            return "sentence" + DIED * any(words in str(error) for words in DEATHS)
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
    return STATUSES[done.returncode] + DIED * any(
        words in done.stderr + done.stdout for words in DEATHS
    )


def checkpoint_outcomes(bits: Iterable[int] | None = None) -> Counter[str]:
    """Damage a tiny checkpoint; return how often the one before it was gone on from.

    Args:
        bits: to flip, one at a time; by default all of them, and it is cut off after every byte.
    """
    from edgenets.models.backend import tf
    from edgenets.train.checkpoint import Progress, load_checkpoint, save_checkpoint

    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, redirect_stderr(io.StringIO()):
        path, variables = Path(name, "checkpoint"), [tf.Variable([1.0, 2.0])]
        for epoch in (1, 2):
            save_checkpoint(path, "key", Progress(epoch=epoch), variables, [np.ones(2, np.float32)])
        content = path.read_bytes()
        cut = range(len(content)) if bits is None else ()
        for one in chain(
            (flip(content, bit) for bit in bits or range(8 * len(content))),
            (content[:length] for length in cut),
        ):
            path.write_bytes(one)
            state = load_checkpoint(path, "key", variables)
            noticed = state is not None and state[0].epoch == 1
            found["noticed" if noticed else "taken for sound"] += 1
    return found


def flip(content: bytes, bit: int) -> bytes:
    """Return a copy with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


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
    parser.add_argument("--graphs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
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
                *graph_mutants(content, chosen.graphs, chosen.seed),
            ]
            start = time.perf_counter()
            outcomes = [outcome(one) for one in damaged]
            seconds = time.perf_counter() - start
            print(f"{path.name}: read {dict(Counter(outcomes))} in {seconds:.1f} s", flush=True)
            read = [one for one, what in zip(damaged, outcomes, strict=True) if what == "works"]
            some = read[:: max(1, len(read) // max(1, chosen.runs))][: chosen.runs]
            ran = Counter(map(interpreter_outcome, some))
            print(f"{path.name}: run {dict(ran)}", flush=True)
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
    checkpoints = checkpoint_outcomes()
    print(f"checkpoint: {dict(checkpoints)}")
    crashes += checkpoints["taken for sound"]
    print(f"{crashes} crashes")
    sys.exit(bool(crashes))


if __name__ == "__main__":
    main()
