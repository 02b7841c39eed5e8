"""Damaged files and forged answers into all that reads them: each gives a sentence or works.

    python benchmarks/fuzz.py FILE.tflite ...

A package of a part of each file has every bit flipped and is cut off at every byte, both also with
a right check sum. Answers of a device that measures the file, runs it and tells its plan are forged
(`--answers`): bytes, values, keys, numbers and order; what comes of them is printed, too.

Of each file, pieces that are cut off (`--truncations`), copies with one to eight changed bytes,
half of them among the bytes that are no weights (`--mutations`), and whole files with one thing
changed in the graph, such as an input left out (`--graphs`), are read in this process, by the
parser and by all of `inspect` but the interpreter. Of those that the parser lets through, some are
run by the interpreter, each in a fresh process (`--runs`). Some of all go through `inspect`,
`predict`, `benchmark` and `evaluate`, each a process of its own (`--commands`). A traceback, a
status other than 0 and 1, or a process that must be ended counts as a crash; that the interpreter's
process dies does not, nor what memory it takes. More than `MOST_MIB` in this process is a crash.
Printed is how often each outcome was.

Every bit of a tiny checkpoint is flipped, and it is cut off after every byte: training must go on
from the checkpoint before. One that is taken for sound counts as a crash.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgenets import flatbuffer
from edgenets.cli.benchmark import print_benchmarks
from edgenets.errors import EdgenetsError
from edgenets.export.board import machine
from edgenets.export.devices.local import LocalSession
from edgenets.export.inspect import xnnpack
from edgenets.export.inspect.drawing import draw
from edgenets.export.inspect.inspection import contents
from edgenets.export.measure.benchmark import measure
from edgenets.export.measure.remote_classifier import RemoteClassifier
from edgenets.flatbuffer.extract import find_part
from edgenets.quantize.package.epk import pack, unpack
from edgenets.quantize.package.header import CRC_FROM

CHANGES = (
    *("input left out", "no input", "another input", "another output", "another operator"),
    *("other options", "another shape", "another type", "another buffer", "no scale"),
)
MOST_BYTES = 8
"""Changed in a mutant."""
CODED_BYTES = 4096
"""Of a file whose weights are worth coding."""
MOST_MIB = 256
"""Of memory that damage may cost this process, beside what it had."""
FORGERIES = ("bytes", "cut", "value", "no key", "more keys", "request", "left out", "twice")
ODD = (
    *(None, True, False, "", "x", "\x1b[31m\u202e", 0, -1, 1, 0.5, -0.5, 1e308, 2**62, 10**400),
    *(
        [],
        {},
        [[]],
        {"a": {"b": [1]}},
        [None],
        float("nan"),
        float("inf"),
        "x" * 10**6,
        [0] * 10**5,
    ),
)
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


def packages(content: bytes) -> tuple[bytes, Iterator[bytes]]:
    """Return a small part of a file, with weights that are coded, and damaged packages of it.

    Every bit is flipped, and every length cut off: as they are, and with a check sum that is right.
    """
    model = flatbuffer.read(content)
    parts = [
        find_part(model, i, i + 1)
        for i, operator in enumerate(model.operators)
        if operator.name in flatbuffer.WEIGHTED
    ]
    files = list(flatbuffer.split(content, parts))
    part = min(files, key=lambda file: (len(file) < CODED_BYTES, len(file)))
    package = pack(part)

    def damaged() -> Iterator[bytes]:
        for at in range(len(package)):
            yield package[:at]
            yield with_check_sum(package[:at])
            for bit in range(8):
                one = bytearray(package)
                one[at] ^= 1 << bit
                yield bytes(one)
                yield with_check_sum(bytes(one))

    return part, damaged()


def with_check_sum(package: bytes) -> bytes:
    """Return a package with the CRC-32 that belongs to it."""
    crc = struct.pack("<I", zlib.crc32(package[CRC_FROM:]))
    return package[: CRC_FROM - 4] + crc + package[CRC_FROM:]


def package_outcome(packed: bytes, package: bytes) -> str:
    """Return what becomes of a damaged package of `packed`."""
    try:
        return "works" if unpack(package) == packed else "crash: another file"
    except EdgenetsError:
        return "sentence"


class Recorded(LocalSession):
    """A session that notes what is answered to each request."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[list[bytes]] = []

    def _start(self, request: dict[str, Any]) -> None:
        self.answers.append([])
        super()._start(request)

    def _line(self, most_bytes: int, seconds: float | None) -> bytes:
        line = super()._line(most_bytes, seconds)
        self.answers[-1].append(line)
        return line


class Forged(LocalSession):
    """A session that answers what was noted, and then is lost."""

    def __init__(self, answers: list[list[bytes]]) -> None:
        super().__init__()
        self._noted = iter(answers)
        self._lines: Iterator[bytes] = iter(())

    def _start(self, request: dict[str, Any]) -> None:
        self._lines = iter(next(self._noted, []))

    def _line(self, most_bytes: int, seconds: float | None) -> bytes:
        for line in self._lines:
            return line[: most_bytes + 1]
        raise EdgenetsError("the link was lost")


def uses(path: Path) -> dict[str, Callable[[LocalSession], None]]:
    """Return what a device is asked for, by name; the answers are used as a command does."""
    model = flatbuffer.read(path)
    shape = model.inputs[0].shape[1:]
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)

    def benchmark(session: LocalSession) -> None:
        result = measure(session, path, min_seconds=0, min_runs=20)
        json.dumps(result.to_json(), allow_nan=False)
        with redirect_stdout(io.StringIO()) as printed:
            print_benchmarks([result])
        assert printed.getvalue().replace("\n", "").isprintable()

    def classify(session: LocalSession) -> None:
        classifier = RemoteClassifier(path, session)
        assert np.isfinite(classifier.logits(pixels)).all()

    def plan(session: LocalSession) -> None:
        session.put(str(path), path)
        (answer,) = session.ask([{"do": "plan", "file": str(path)}])
        xnnpack.divided(model, answer["steps"])

    return {"benchmark": benchmark, "classify": classify, "plan": plan}


def forged(answers: list[list[bytes]], kind: str, random: np.random.Generator) -> list[list[bytes]]:
    """Return the answers to some requests with one line that is forged."""
    copy = [list(lines) for lines in answers]
    lines = copy[random.integers(len(copy))]
    at = int(random.integers(len(lines)))
    line = bytearray(lines[at])
    match kind:
        case "bytes":
            where = random.integers(0, len(line), random.integers(1, MOST_BYTES + 1))
            for position in where:
                line[position] = random.integers(256)
        case "cut":
            line = line[: random.integers(len(line))]
        case "left out":
            del lines[at]
            return copy
        case "twice":
            lines.insert(at, lines[at])
            return copy
        case _:
            line = bytearray(json.dumps(_forged(json.loads(line), kind, random)).encode())
    lines[at] = bytes(line)
    return copy


def _forged(answer: dict[str, Any], kind: str, random: np.random.Generator) -> dict[str, Any]:
    """Return an answer with one value, at any depth, that it should not have."""
    odd = ODD[random.integers(len(ODD))]
    if kind == "request":
        return answer | {"request": odd}
    holder, key = answer, ""
    while True:  # down to a value, or to a list or object at any depth
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[random.integers(len(keys))]
        inner = holder[key]
        if not (isinstance(inner, dict | list) and inner) or random.random() < 0.2:
            break
        holder = inner
    if kind == "no key":
        del holder[key]
    elif kind == "more keys" and isinstance(holder, dict):
        holder["more"] = odd
    else:
        holder[key] = odd
    return answer


def forgery_outcomes(path: Path, number: int, seed: int = 0) -> Iterator[Callable[[], str]]:
    """Yield so many functions, each of which tells what becomes of a forged answer."""
    random = np.random.default_rng(seed)
    asked = uses(path)
    noted = {}
    for name, use in asked.items():
        with Recorded() as session:
            use(session)
        noted[name] = session.answers

    def forge(name: str, kind: str) -> str:
        with Forged(forged(noted[name], kind, random)) as session:
            try:
                asked[name](session)
            except EdgenetsError as error:
                assert "\n" not in str(error)
                return "sentence"
        return "works"

    names = list(asked)
    for i in range(number):
        yield partial(forge, names[i % len(names)], FORGERIES[i // len(names) % len(FORGERIES)])


def tally(what: str, outcomes: Iterable[Callable[[], str]]) -> int:
    """Count outcomes and print them with the memory that they took; return how many are crashes."""
    machine.forget_peak_memory()
    before, start = machine.kilobytes("/proc/self/status", "VmRSS") or 0, time.perf_counter()
    counts: Counter[str] = Counter()
    for find in outcomes:
        try:
            counts[find()] += 1
        except Exception:  # whatever it is, it is what is looked for
            traceback.print_exc()
            counts["crash"] += 1
    mib = ((machine.kilobytes("/proc/self/status", "VmHWM") or 0) - before) / 2**20
    seconds = time.perf_counter() - start
    print(f"{what} {dict(counts)}, {max(0.0, mib):.0f} MiB, in {seconds:.1f} s", flush=True)
    good = sum(counts[status] for status in STATUSES.values())
    return counts.total() - good + (mib > MOST_MIB)


def outcome(content: bytes) -> str:
    """Return what becomes of a file that is read in this process; other errors are raised."""
    try:
        inspection = contents(content)
        operators = len(inspection.operators)
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
    from edgenets.training.checkpoint import Progress, load_checkpoint, save_checkpoint

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
    labels = (contents(content).labels or ["one", "two"])[:2]
    for label in labels:
        (folder / "test" / label).mkdir(parents=True)
        pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "test" / label / "0.png")
    return folder / "test" / labels[0] / "0.png", folder


def damaged_files(content: bytes, chosen: argparse.Namespace) -> Iterator[bytes]:
    """Yield the damaged copies of a file, always the same: together they would fill the memory."""
    yield from truncations(content, chosen.truncations)
    yield from mutants(content, chosen.mutations, chosen.seed)
    yield from graph_mutants(content, chosen.graphs, chosen.seed)


def fuzz_file(path: Path, chosen: argparse.Namespace) -> int:
    """Damage a file in all ways; print what became of it; return how many crashes there were."""
    content = path.read_bytes()
    packed, damaged_packages = packages(content)
    crashes = tally(
        f"{path.name}: unpack",
        (partial(package_outcome, packed, package) for package in damaged_packages),
    )
    crashes += tally(f"{path.name}: answers", forgery_outcomes(path, chosen.answers, chosen.seed))
    read: list[int] = []

    def reading(i: int, one: bytes) -> str:
        what = outcome(one)
        read.extend([i] * (what == "works"))
        return what

    crashes += tally(
        f"{path.name}: read",
        (partial(reading, i, one) for i, one in enumerate(damaged_files(content, chosen))),
    )
    some = set(read[:: max(1, len(read) // max(1, chosen.runs))][: chosen.runs])
    ran = Counter(
        interpreter_outcome(one)
        for i, one in enumerate(damaged_files(content, chosen))
        if i in some
    )
    print(f"{path.name}: run {dict(ran)}", flush=True)
    return crashes + fuzz_commands(path, content, chosen)


def fuzz_commands(path: Path, content: bytes, chosen: argparse.Namespace) -> int:
    """Put some damaged copies through each command; return how many crashes there were."""
    total = chosen.truncations + chosen.mutations + chosen.graphs
    step = max(1, total // max(1, chosen.commands))
    results: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        image, data = make_images(Path(name) / "data", content)
        for i, one in enumerate(damaged_files(content, chosen), start=1):
            if chosen.commands and i % step == 0:
                file = Path(name) / f"{i}.tflite"
                file.write_bytes(one)
                for command, line in commands(file, image, data).items():
                    results.setdefault(command, Counter())[command_outcome(*line)] += 1
    for command, found in results.items():
        print(f"{path.name}: {command} {dict(found)}", flush=True)
    good = {status + died for status in STATUSES.values() for died in ("", DIED)}
    return sum(n for found in results.values() for what, n in found.items() if what not in good)


def main() -> None:
    """Damage the files and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="none: the checkpoint alone")
    parser.add_argument("--truncations", type=int, default=200)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--graphs", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--commands", type=int, default=20)
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    crashes = 0
    for path in chosen.files:
        crashes += fuzz_file(path, chosen)
    checkpoints = checkpoint_outcomes()
    print(f"checkpoint: {dict(checkpoints)}")
    crashes += checkpoints["taken for sound"]
    print(f"{crashes} crashes")
    sys.exit(bool(crashes))


if __name__ == "__main__":
    main()
