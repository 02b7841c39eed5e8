"""What an update costs a board: the bytes that it fetches, and the memory that it takes.

    python benchmarks/update_cost.py FILE.tflite [--probes DATA] [--changed 0.005] [--releases 2]

The file is released and installed. Then a share of its codes is changed by one, as a fine-tuning
that is kept near changes them, and that file is released and installed, and so on. Bytes are of the
files of each release, and of the metadata that a board fetches; "probes of format 1" are what the
same probes took in one `.npz` that each release had. Memory is the larger peak of the two
processes of `edgenets update`, the one and its child that tries the model.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import edgenets as en
from edgenets.files import read_bytes, write_bytes
from edgenets.quantize.package.find import find_ranges
from edgenets.quantize.package.ranges import WEIGHTS
from edgenets.results.updates import Release
from edgenets.updates.probe_files import read_probes
from edgenets.updates.repository import Repository, open_repository, target_path

NAME = "model"
# A process's peak begins with that of the one that forked it, which is why a small one starts it.
STARTER = """\
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([status, usage.ru_maxrss * 1024]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--probes", metavar="DATA")
    parser.add_argument("--releases", type=int, default=2)
    parser.add_argument("--changed", type=float, default=0.005, help="share of the codes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above)
        content, path = read_bytes(options.file), folder / "model.tflite"
        releases = en.Releases(folder / "releases", folder / "keys")
        root = releases.init()
        print("| release | fetched | inputs | answers | probes of format 1 | metadata | peak, MB |")
        print(f"|---|{'---:|' * 6}", flush=True)
        for number in range(options.releases):
            if number:
                content = changed(content, options.changed, seed=number - 1)
            write_bytes(path, content)
            release = releases.publish(path, model=NAME, probes=options.probes)
            words = ("--model", NAME, "--root", root)
            peak = peak_of_update(releases.folder, folder / "board", *words)
            en.confirm(folder / "board")
            print_row(open_repository(releases.folder), release, peak)


def changed(content: bytes, share: float, seed: int) -> bytes:
    """Return the file with a share of its codes one higher, modulo 256."""
    data = np.frombuffer(content, np.uint8).copy()
    weights = [each for each in find_ranges(content) if each.kind in WEIGHTS]
    places = np.concatenate([np.arange(each.start, each.end) for each in weights])
    drawn = np.random.default_rng(seed).choice(places, round(share * len(places)), replace=False)
    data[drawn] += 1
    return data.tobytes()


def peak_of_update(repository: Path, board: Path, *options: str | Path) -> int:
    """Update a board in a process of its own; return its peak memory in bytes."""
    words = map(str, ("update", repository, "--into", board, *options))
    line = [sys.executable, "-c", STARTER, sys.executable, "-m", "edgenets", *words]
    status, peak = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
    assert status == 0
    return int(peak)


def print_row(repository: Repository, release: Release, peak: int) -> None:
    files = min((release.package, *release.deltas), key=lambda row: row["size_bytes"])
    probes = release.probes
    sizes = ["-"] * 3
    if probes:
        whole = len(of_format_1(repository, probes))
        inputs = probes["inputs"]["size_bytes"] if release.number == 1 else 0
        sizes = [f"{size:,}" for size in (inputs, probes["answers"]["size_bytes"], whole)]
    signed = {"targets": repository.targets, "snapshot": repository.snapshot}
    names = [*(f"{each.signed.version}.{role}" for role, each in signed.items()), "timestamp"]
    metadata = sum(
        (repository.folder / "metadata" / f"{name}.json").stat().st_size for name in names
    )
    kind = "delta" if release.deltas else "package"
    cells = (f"{kind} {files['size_bytes']:,}", *sizes, f"{metadata:,}", f"{peak / 1e6:.1f}")
    print(f"| {release.number} | {' | '.join(cells)} |", flush=True)


def of_format_1(repository: Repository, probes: dict) -> bytes:
    """Return the file of a release's probes as releases of format 1 had it."""
    files = [probes[key]["target"] for key in ("inputs", "answers")]
    contents = [read_bytes(target_path(repository, file)) for file in files]
    inputs, outputs = read_probes(contents)
    content = io.BytesIO()
    np.savez_compressed(content, inputs=inputs, outputs=outputs)
    return content.getvalue()


if __name__ == "__main__":
    main()
