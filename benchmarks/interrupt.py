"""Kill commands, give them again, and compare with undisturbed ones.

    python benchmarks/interrupt.py [--stages train,prune,share,qat,export,benchmark] [--out DIR]
        [--config FILE [--undisturbed RUN]]
    python benchmarks/interrupt.py --operations train,transfer,export,compress,run [--sample N]

`--stages`: a run is killed with SIGKILL once in every named stage: in a training stage after its
first checkpoint. It passes when the run then completes, no finished stage was made again, and
report.json equals the other run's in everything but what was timed.

`--operations`: the named commands (or compress-int8, a short one) on a tiny set are killed before,
amid and after every operation on the files that they make: open, write, fsync, rename, remove,
folders made and removed. What a kill leaves is what the disk holds at that moment, so each command
is done once, and what its folder holds is copied around every operation. Then the same command is
given on each of these copies. It passes when every file is in the end as in the undisturbed folder,
bit for bit but for what was timed, and there is no other.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from edgenets.errors import EdgenetsError
from edgenets.files import TEMPORARY

CONFIG = """\
model: {name: mobilenet_v1, width: 0.25, resolution: 32, output_stride: 8}
train: {epochs: 12}
compress:
  - {stage: slim, speedup: 1.2, epochs: 3}
  - {stage: prune, epochs: 3}
  - {stage: qat, epochs: 3}
  - {stage: share, epochs: 3}
benchmark: {min_seconds: 2}
"""
STAGES = ("train", "slim", "prune", "qat", "share", "export", "benchmark")
TRAINING = ("train", "slim", "prune", "qat", "share")
TIMED = ("seconds", "latency_ms", "benchmark")
TIMEOUT_SECONDS = 600
HOOKED = ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir")  # of os, beside open and write
NET = {"name": "squeezenet", "resolution": 32, "output_stride": 8, "base_expand": 16}
NET |= {"expand_increment": 8}
IMAGES = {"train": 10, "test": 3}  # of each class
CLASSES = ("dark", "left", "right")
SHORT = {"epochs": 2, "batch_size": 8, "augment": 0}
RECIPE = (
    {"stage": "prune", "sparsity": 0.5, **SHORT},
    {"stage": "share", "clusters": 16, **SHORT},
    {"stage": "int8", "calibration_images": 8},
)
OVER = "already holds a model"  # what a command says that was killed after its end
Command = Callable[[Path], object]  # writes into the folder that it is given


def start(config: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "edgenets", "run", str(config), "--out", str(out), "--json"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def finish(config: Path, out: Path) -> None:
    if start(config, out).wait(TIMEOUT_SECONDS) != 0:
        sys.exit(f"the run in {out} failed")


def kill_in(stage: str, config: Path, out: Path) -> None:
    """Start the run and kill it, with all it started, in the middle of `stage`."""
    wanted = "checkpoint.safetensors" if stage in TRAINING else "key"
    process = start(config, out)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not list(out.glob(f"stages/.*-{stage}.partial/{wanted}")):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the run in {out} ended before it could be killed in {stage}")
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    print(f"killed in {stage}", flush=True)


def finished_stages(out: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in out.glob("stages/[!.]*/stage.json")}


def without_times(report: dict) -> dict:
    kept = {key: value for key, value in report.items() if key not in TIMED}
    kept["stages"] = [{**stage, "seconds": None} for stage in report["stages"]]
    return kept


class Tape:
    """Copies of a folder as it was around each operation on its files, each state once."""

    def __init__(self, folder: Path, states: Path) -> None:
        self.folder, self.states = folder, states
        self.kept: dict[str, Path] = {}  # by what they hold
        self.operations = 0
        self._is_busy = False

    def note(self) -> None:
        """Keep what the folder holds now, unless it held the same before."""
        if self._is_busy or not self.folder.exists():
            return
        self._is_busy = True
        try:
            if (held := contents_hash(self.folder)) not in self.kept:
                self.kept[held] = self.states / f"{len(self.kept):03}"
                shutil.copytree(self.folder, self.kept[held], symlinks=True)
        finally:
            self._is_busy = False

    def around(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of `os` that notes what was before and after it."""

        @wraps(operation)
        def noted(*arguments: Any, **options: Any) -> Any:
            self.operations += not self._is_busy
            self.note()
            try:
                return operation(*arguments, **options)
            finally:
                self.note()

        return noted

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs."""
        open_file, open_descriptor = io.open, os.open

        def noted_open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if self._is_busy or not set(mode) & set("wax+"):
                return open_file(file, mode, *arguments, **options)
            opened = self.around(open_file)(file, mode, *arguments, **options)
            return _HalfWritten(opened, self)

        def noted_descriptor(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            is_new = flags & os.O_CREAT
            use = self.around(open_descriptor) if is_new else open_descriptor
            return use(path, flags, *arguments, **options)

        with ExitStack() as stack:
            for name in HOOKED:
                stack.enter_context(patch.object(os, name, self.around(getattr(os, name))))
            stack.enter_context(patch.object(os, "open", noted_descriptor))
            stack.enter_context(patch.object(io, "open", noted_open))
            yield


class _HalfWritten:
    """An open file, each write to which is noted before, after its first half and after it."""

    def __init__(self, file: Any, tape: Tape) -> None:
        self._file, self._tape = file, tape

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _HalfWritten:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._tape.note()

    def write(self, content: Any) -> int:
        self._tape.operations += 1
        for half in (content[: len(content) // 2], content[len(content) // 2 :]):
            self._file.write(half)
            self._file.flush()
            self._tape.note()
        return len(content)


def contents_hash(folder: Path) -> str:
    """Return the SHA-256 of all names and contents; temporary names count alike."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = TEMPORARY if path.name.startswith(TEMPORARY) else path.name
        with open(path, "rb") if path.is_file() else io.BytesIO() as file:  # noqa: PTH123 - unhooked
            content = hashlib.sha256(file.read()).hexdigest()
        total.update(f"{path.parent}\0{name}\0{path.is_dir()}\0{content}\0".encode())
    return total.hexdigest()


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a command left, by name, without what was timed."""
    return {
        str(path.relative_to(folder)): _untimed(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _untimed(path: Path) -> Any:
    if "-benchmark" in path.parent.name or path.name == "report.html":
        return None
    if path.suffix != ".json":
        return path.read_bytes()
    value = json.loads(path.read_text())
    if path.name == "stage.json":
        del value["sha256"]  # of the rest, of which its seconds are
    return _without(value)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items() if key not in TIMED}
    return [_without(inner) for inner in value] if isinstance(value, list) else value


def commands(folder: Path) -> dict[str, Command]:
    """Return commands on a tiny set in `folder`; what they need is made there."""
    from edgenets.data.images import Preparation
    from edgenets.models.folder import Model, Spec
    from edgenets.models.registry import complete_arguments, create
    from edgenets.pipeline.compress import compress
    from edgenets.pipeline.config import RunConfig, check_config
    from edgenets.pipeline.one_step import export, train_folder
    from edgenets.pipeline.run import run
    from edgenets.training.fit import make_repeatable

    data, other = folder / "data", folder / "other"
    draw_images(data)

    def config(weights: Path | str = "none", compress: Any = RECIPE[-1:]) -> RunConfig:
        values = {
            "model": NET,
            "data": {"source": str(data), "flip": False},
            "train": {"weights": str(weights), **SHORT},
            "compress": list(compress),
            "export": {"calibration_images": 8},
            "benchmark": {"min_seconds": 0.01, "per_op": False},
        }
        return check_config(values, lambda place: "the tiny config")

    make_repeatable(0)
    given = {key: value for key, value in NET.items() if key != "name"}
    labels = ("one", "two", "three", "four")
    arguments = complete_arguments(NET["name"], {**given, "classes": len(labels)})
    spec = Spec(NET["name"], arguments, labels, Preparation(32, 32), seed=0)
    Model(create(NET["name"], **arguments), spec).save(other)
    trained = folder / "trained"
    train_folder(config(), trained)
    return {
        "train": lambda out: train_folder(config(), out),
        "transfer": lambda out: train_folder(config(other), out),
        "compress": lambda out: compress(Model.load(trained), config(compress=RECIPE), out),
        "compress-int8": lambda out: compress(Model.load(trained), config(), out),
        "export": lambda out: export(
            Model.load(trained), out / "a.tflite", "int8", str(data), 8, 0
        ),
        "run": lambda out: run(config(), out),
    }


def draw_images(folder: Path) -> None:
    """Draw a folder of three classes, told apart by where the images are bright."""
    noise = np.random.default_rng(0)
    for split, count in IMAGES.items():
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = noise.integers(0, 120, (32, 32, 3), dtype=np.uint8)
                pixels[:, {"dark": slice(0), "left": slice(16), "right": slice(16, 32)}[label]] += (
                    99
                )
                Image.fromarray(pixels).save(folder / split / label / f"{i}.png")


def record(command: Command, out: Path, states: Path) -> Tape:
    """Do a command and return what its folder held around every operation."""
    tape = Tape(out, states)
    out.mkdir()
    with tape.recording():
        do(command, out)
    return tape


def do(command: Command, out: Path) -> None:
    """Give a command in a fresh session; it may be over already."""
    from edgenets.models.backend import keras

    keras.backend.clear_session()
    try:
        with redirect_stderr(io.StringIO()):
            command(out)
    except EdgenetsError as error:
        if OVER not in str(error):
            raise


def differences(command: Command, state: Path, out: Path, wanted: dict[str, Any]) -> list[str]:
    """Go on from `state` in the folder `out`; return the files that are not as `wanted`."""
    shutil.rmtree(out)
    shutil.copytree(state, out, symlinks=True)
    do(command, out)
    got = outcome(out)
    return sorted(
        name for name in wanted.keys() | got.keys() if wanted.get(name, 0) != got.get(name, 0)
    )


def kill_around_operations(
    name: str, command: Command, folder: Path, sample: int | None, seed: int
) -> int:
    """Kill a command around every operation on its files, or some; return how often it failed."""
    out, states = folder / name, folder / f"{name}-states"
    tape = record(command, out, states)
    wanted, failed = outcome(out), 0
    kept = list(tape.kept.values())
    chosen = kept if sample is None else random.Random(seed).sample(kept, min(sample, len(kept)))
    for state in chosen:
        if found := differences(command, state, out, wanted):
            failed += 1
            print(f"{name}: after the kill in {state} differ {', '.join(found)}", flush=True)
    print(
        f"{name}: {tape.operations} operations left {len(kept)} different folders; "
        f"{len(chosen)} were gone on from, {failed} ended otherwise than the undisturbed one",
        flush=True,
    )
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--out", type=Path, default=Path("runs/interrupt"))
    parser.add_argument("--config", type=Path, help="another config than the built-in one")
    parser.add_argument("--undisturbed", type=Path, help="a finished run of that config")
    parser.add_argument("--operations", metavar="COMMANDS", help="kill these around operations")
    parser.add_argument("--sample", type=int, metavar="N", help="so many kills of each command")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    arguments = parser.parse_args()
    out = arguments.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if arguments.operations:
        known = commands(out)
        sample, seed = arguments.sample, arguments.seed
        names = arguments.operations.split(",")
        sys.exit(
            sum(kill_around_operations(name, known[name], out, sample, seed) for name in names) > 0
        )
    config = arguments.config or out / "interrupt.yaml"
    if not arguments.config:
        config.write_text(CONFIG)
    undisturbed = arguments.undisturbed
    if not undisturbed:
        undisturbed = out / "undisturbed"
        finish(config, undisturbed)
    before: dict[str, int] = {}
    for stage in arguments.stages.split(","):
        kill_in(stage, config, out / "killed")
        after = finished_stages(out / "killed")
        if any(after.get(file) != made for file, made in before.items()):
            sys.exit(f"a finished stage was made again after the kill in {stage}")
        before = after
    finish(config, out / "killed")
    after = finished_stages(out / "killed")
    if any(after[file] != made for file, made in before.items()):
        sys.exit("a finished stage was made again by the last run")
    reports = [
        without_times(json.loads((folder / "report.json").read_text()))
        for folder in (undisturbed, out / "killed")
    ]
    if reports[0] != reports[1]:
        differing = [key for key in reports[0] if reports[0][key] != reports[1][key]]
        sys.exit(f"the reports differ in {', '.join(differing)}")
    print("the killed run completed, repeated nothing, and its report equals the undisturbed one")


if __name__ == "__main__":
    main()
