"""Instructions per inference of each family on the emulated Cortex-A53, A72 and A76.

    edgenets doctor --setup-emulator
    python benchmarks/instructions.py [NET ...] [--out runs/instructions]

Exports each net with fresh weights as int8, calibrated on noise; counts are of dense kernels and do
not depend on the weights. The outputs for two images of noise are compared, bit for bit, with those
of the same LiteRT on this machine, which pip installs into the folder --out. The MobileNets are
counted as fp32 too, on the A72, for which there are published latencies. Each row is kept in --out
when it is measured; started again, the command goes on. It prints the table of
docs/evidence/emulated_board.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgenets.data.images import Preparation
from edgenets.export.devices.device import Emulated
from edgenets.export.devices.emulator import CPUS, LITERT, RECIPE
from edgenets.export.devices.emulator_setup import SOURCE
from edgenets.export.devices.local import LocalSession
from edgenets.export.devices.opening import open_device
from edgenets.export.devices.session import Session
from edgenets.export.measure.instructions import count_instructions
from edgenets.export.measure.promises import random_images
from edgenets.export.write import tflite
from edgenets.files import read_json, sha256_file, write_bytes, write_json
from edgenets.models.backend import keras
from edgenets.models.folder import Spec
from edgenets.models.registry import complete_arguments, create
from edgenets.units import format_count

INT8, FP32 = "int8", "fp32"
# Name of the row -> net and its arguments.
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "mobilenet_v1": ("mobilenet_v1", {}),
    "mobilenet_v2": ("mobilenet_v2", {}),
    "mobilenet_v3_small": ("mobilenet_v3_small", {}),
    "mobilenet_v3_large": ("mobilenet_v3_large", {}),
    "shufflenet_v1": ("shufflenet_v1", {}),
    "shufflenet_v2": ("shufflenet_v2", {}),
    "squeezenet 1.1": ("squeezenet", {"version": "1.1"}),
    "squeezenet 1.0": ("squeezenet", {"version": "1.0"}),
    "inception_v1": ("inception_v1", {}),
    # At its own 299 pixels inception_v3 takes 2.2 billion on the A53: long to emulate.
    "inception_v3 96 px": ("inception_v3", {"resolution": 96}),
    "xception 96 px": ("xception", {"resolution": 96}),
}
PUBLISHED_FP32 = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large")
FP32_CPUS = ("cortex-a72",)
CALIBRATION_IMAGES = 2
COMPARED_IMAGES = 2
SEED = 0


def export(row: str, number_format: str, path: Path) -> None:
    name, arguments = NETS[row]
    complete = complete_arguments(name, arguments)
    resolution = complete["resolution"]
    labels = tuple(str(i) for i in range(complete["classes"]))
    spec = Spec(name, complete, labels, Preparation(resolution, resolution), SEED)
    keras.utils.set_random_seed(SEED)
    model = create(name, **complete)
    if number_format == FP32:
        content = tflite.to_float32(model, spec)
    else:
        content = tflite.to_int8(model, spec, random_images(resolution, CALIBRATION_IMAGES))
    write_bytes(path, content)


def noise_file(folder: Path, resolution: int) -> Path:
    """Write images of noise as an int8 file takes them, pixel - 128."""
    pixels = random_images(resolution, COMPARED_IMAGES)
    file = folder / f"noise_{resolution}.npy"
    np.save(file, (pixels.astype(np.int16) - 128).astype(np.int8))
    return file


def run_here(path: Path, inputs: Path, out: Path) -> dict[str, Any]:
    """Run the file in the same LiteRT on this machine; pip installs it into `out` if need be."""
    site = out.absolute() / "site"
    if not site.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", LITERT]
        subprocess.run([*pip, "--target", str(site)], check=True)
    with LocalSession(python=["env", f"PYTHONPATH={site}", sys.executable]) as session:
        return run_in(session, path, inputs)


def run_in(session: Session, path: Path, inputs: Path) -> dict[str, Any]:
    """Return the runtime, and the SHA-256 of the outputs for each of `inputs`."""
    session.put(str(path), path)
    session.put(str(inputs), inputs)
    (ran,) = session.ask([{"do": "run", "file": str(path), "inputs": str(inputs)}])
    return {"runtime": ran["runtime"], "sha256": ran["sha256"]}


def measure(row: str, number_format: str, out: Path) -> dict[str, Any]:
    path = out / f"{row.replace(' ', '_')}_{number_format}.tflite"
    if not path.exists():
        export(row, number_format, path)
    kept = path.with_suffix(".json")
    origin = {"sha256": sha256_file(path), "recipe": RECIPE, "counter": sha256_file(SOURCE)}
    result = read_json(kept) if kept.exists() else {}
    if result.get("origin") != origin:
        result = {"origin": origin}
    inputs = None
    if number_format == INT8:
        name, arguments = NETS[row]
        inputs = noise_file(out, complete_arguments(name, arguments)["resolution"])
        if "here" not in result:
            result["here"] = run_here(path, inputs, out)
    for cpu in CPUS if number_format == INT8 else FP32_CPUS:
        if cpu not in result:
            (count,) = count_instructions([path], cpu)
            result[cpu] = {"instructions": count}
            if inputs:
                with open_device(Emulated(cpu)) as session:
                    result[cpu] |= run_in(session, path, inputs)
            write_json(kept, result)
    return result


def print_row(row: str, number_format: str, result: dict[str, Any]) -> None:
    counts = [format_count(result[cpu]["instructions"]) if cpu in result else "" for cpu in CPUS]
    same = ""
    if number_format == INT8:
        differing = [cpu for cpu in CPUS if result[cpu]["sha256"] != result["here"]["sha256"]]
        same = f"not on {', '.join(differing)}" if differing else "yes"
    print(f"| {row} | {number_format} | {' | '.join(counts)} | {same} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET")
    parser.add_argument("--out", type=Path, default=Path("runs/instructions"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"| net | format | {' | '.join(CPUS)} | outputs as here |")
    print("|---|---|" + "---|" * (len(CPUS) + 1))
    for number_format, nets in ((INT8, NETS), (FP32, PUBLISHED_FP32)):
        for row in (net for net in options.nets if net in nets):
            print_row(row, number_format, measure(row, number_format, options.out))


if __name__ == "__main__":
    main()
