"""Instructions per inference on the emulated board, and the latency they are estimated to take.

Times under emulation mean nothing and are never given. One thread; random inputs from a fixed seed;
the method is `runner.instructions_per_inference`. Counts repeat within 0.1 %.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices.device import Emulated
from edgenets.export.devices.local import EmulatedSession
from edgenets.export.measure.estimate import estimate_latency
from edgenets.export.measure.per_op import profile_instructions
from edgenets.files import read_bytes
from edgenets.progress import Advance, progress_bar
from edgenets.results.benchmark import Benchmark, StoredFile


def count_instructions(paths: Sequence[Path], cpu: str) -> list[int]:
    """Return the instructions per inference of each file on the core `cpu`, in order.

    The files are shared out among as many processes as this machine has cores: many files in one
    call cost one start of Python and LiteRT per process, some seconds under emulation.

    Raises:
        EdgenetsError: the board is not set up, or the interpreter refuses a file or dies of it.
    """
    processes = max(1, min(len(paths), os.cpu_count() or 1))
    shares = [paths[i::processes] for i in range(processes)]
    sessions: list[EmulatedSession] = []
    counts = [0] * len(paths)
    with (
        progress_bar(f"count on {cpu}", len(paths)) as advance,
        ThreadPoolExecutor(processes) as pool,
    ):
        try:
            for _ in shares:
                sessions.append(EmulatedSession(Emulated(cpu)))
            answers = [
                pool.submit(_count, session, share, advance)
                for session, share in zip(sessions, shares, strict=True)
            ]
            for i, answer in enumerate(answers):
                counts[i::processes] = answer.result()
        finally:  # after a failure or Ctrl-C, the others end too
            for session in sessions:
                session.close()
    return counts


def count_contents(files: Mapping[str, bytes], cpu: str) -> dict[str, int]:
    """Return `count_instructions` of files given as their contents, by name."""
    with tempfile.TemporaryDirectory(prefix="edgenets-") as folder:
        paths = [Path(folder, f"{i}.tflite") for i in range(len(files))]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(content)
        return dict(zip(files, count_instructions(paths, cpu), strict=True))


def measure(session: EmulatedSession, path: Path, threads: int, per_op: bool = False) -> Benchmark:
    """Count the instructions per inference of a file, and estimate its latency.

    Args:
        session: of the emulated board.
        path: of the file.
        threads: 1.
        per_op: count each operator's instructions, too.

    Returns:
        As `benchmark.benchmark_file`, with `instructions` and nothing timed: `latency_ms` is None
        and `samples_ms` empty. `estimated_latency_ms` is what `estimate.estimate_latency` returns;
        with `per_op`, `ops` is what `per_op.profile_instructions` returns.

    Raises:
        EdgenetsError: the file is damaged, `threads` is not 1, or the interpreter refuses the file
            or dies of it.
    """
    if threads != 1:
        raise EdgenetsError(f"{session.name} counts the instructions of one thread, not {threads}")
    model = flatbuffer.read(path)
    session.put(str(path), path)
    jobs = [{"do": "probe"}, _job(session, str(path))]
    probed, counted = session.ask(jobs)
    cpu = session.device.cpu
    count = partial(count_contents, cpu=cpu)
    of_this_machine = ("cores", "memory_bytes", "free_memory_bytes")
    return Benchmark(
        model=StoredFile.of(path),
        device={"name": session.name, **probed["device"], **dict.fromkeys(of_this_machine)},
        runtime=counted["runtime"],
        threads=threads,
        latency_ms=None,
        samples_ms=(),
        load_ms=None,
        first_ms=None,
        peak_memory_bytes=None,
        warm_up=None,
        stability=None,
        instructions=counted["instructions"],
        energy_mj=None,
        ops=tuple(profile_instructions(read_bytes(path), count)) if per_op else (),
        estimated_latency_ms=estimate_latency(model, cpu, counted["instructions"]),
    )


def _count(session: EmulatedSession, paths: Sequence[Path], advance: Advance) -> list[int]:
    for path in paths:
        session.put(str(path), path)
    jobs = [_job(session, str(path)) for path in paths]
    answers = session.ask(jobs, report=lambda percent: advance())
    return [answer["instructions"] for answer in answers]


def _job(session: EmulatedSession, name: str) -> dict[str, Any]:
    return {"do": "count", "file": name, "counter": str(session.counter)}
