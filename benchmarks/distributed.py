"""What several workers send each other in a step, how long it takes, and how that would scale.

    python benchmarks/distributed.py [NET ...] [--out FILE.json] [--sums]

Each net has 1,000 classes and its paper's resolution. A step is of 8 images in all, at 1, 2 and 4
processes of this machine, by `edgenets.training.workers`, as `edgenets train --workers` has it.
Bytes are those that the kernel counted on the loopback interface in all steps, by step and worker,
while nothing else should use it. What is done is kept in FILE, not done again. With `--sums` a step
is its communication alone, the sum of a gradient of zeros: for nets that take long to compute.

The model of scaling takes a step of each worker's own 8 images, computed as fast as by one process
here or 100 times as fast, and then, not meanwhile, 2 (n - 1) / n of the gradient's bytes at the
interface's rate, with 50 microseconds for each of 2 (n - 1) messages on their way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgenets.models import WORKER
from edgenets.pipeline.workers import free_ports

NETS = ("squeezenet", "shufflenet_v2", "mobilenet_v1", "inception_v1", "alexnet", "vgg16")
PROCESSES = (1, 2, 4)
IMAGES = 8
STEPS = 4  # measured, after one that compiles
GBITS = (1, 10)
SCALED_TO = (2, 16, 64, 256)
FASTER = (1, 100)
MESSAGE_SECONDS = 50e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=NETS, metavar="NET")
    parser.add_argument("--out", type=Path, default=Path("distributed.json"))
    parser.add_argument("--sums", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        net, index, *addresses = chosen.worker.split(",")
        print(json.dumps(work(net, int(index), addresses, sums=chosen.sums)))
        return
    done: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    for net in chosen.nets:
        for processes in PROCESSES:
            key = f"{net} {processes}"
            if key not in done:
                done[key] = measure(net, processes, sums=chosen.sums)
                chosen.out.write_text(json.dumps(done, indent=1))
                print(key, done[key], file=sys.stderr, flush=True)
    print(tables(list(chosen.nets), done))


def measure(net: str, processes: int, *, sums: bool) -> dict[str, float]:
    """Return what the first of some workers measured."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(processes)]
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    started = [
        subprocess.Popen(
            [
                *(sys.executable, __file__, "--worker", ",".join([net, str(i), *addresses])),
                *["--sums"] * sums,
            ],
            stdout=subprocess.PIPE,
            env={**os.environ, WORKER: "1", "TF_NUM_INTRAOP_THREADS": threads},
        )
        for i in range(processes)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{net} at {processes} processes failed")
    answer: dict[str, float] = json.loads(outputs[0].splitlines()[-1])
    return answer


def work(net: str, index: int, addresses: list[str], *, sums: bool) -> dict[str, float]:
    """Train a few steps as one worker; return seconds and bytes of a step."""
    from edgenets.models.backend import keras, tf
    from edgenets.models.registry import create
    from edgenets.training.workers import Workers

    workers = Workers(addresses, index)
    model = create(net, classes=1000)
    weights = model.trainable_variables
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    side, own = model.input_shape[1], IMAGES // workers.count
    images, labels = tf.zeros([own, side, side, 3]), tf.zeros([own], tf.int32)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True)) / workers.count
        for weight, gradient in zip(
            weights, workers.sum(tape.gradient(value, weights)), strict=True
        ):
            weight.assign_sub(1e-6 * gradient)

    @tf.function
    def communicate() -> list[tf.Tensor]:
        return workers.sum([tf.zeros_like(weight) for weight in weights])

    if sums:
        step = communicate
    step()
    workers.sum_now([0])  # none begins before all are ready
    before, seconds = loopback_bytes(), []
    for _ in range(STEPS):
        start = time.monotonic()
        step()
        seconds.append(time.monotonic() - start)
    workers.sum_now([0])
    return {
        "seconds": statistics.median(seconds),
        "sent": (loopback_bytes() - before) / STEPS / workers.count,
        "gradient": float(sum(4 * weight.shape.num_elements() for weight in weights)),
    }


def loopback_bytes() -> int:
    """Return how many bytes went over the loopback interface since the machine started."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return int(next(line for line in lines if line.strip().startswith("lo:")).split()[1])


def tables(nets: list[str], done: dict[str, Any]) -> str:
    """Return what was measured and what it would come to, as Markdown."""
    head = "".join(f" sent at {n} | of 2(n-1)/n |" for n in PROCESSES[1:])
    lines = [
        f"| net | gradient |{head} step at 1 | at 2 | at 4 |",
        "|---|" + "---|" * (2 * len(PROCESSES[1:]) + 4),
    ]
    for net in nets:
        rows = [done[f"{net} {n}"] for n in PROCESSES]
        gradient = rows[0]["gradient"]
        cells = [f"{gradient / 1e6:.1f} MB"]
        for n, row in zip(PROCESSES[1:], rows[1:], strict=True):
            least = 2 * (n - 1) / n * gradient
            cells += [f"{row['sent'] / 1e6:.1f} MB", f"{row['sent'] / least:.3f}"]
        cells += [f"{row['seconds']:.2f} s" for row in rows]
        lines.append(f"| {net} | " + " | ".join(cells) + " |")
    for faster in FASTER:
        for gbit in GBITS:
            speed = "as here" if faster == 1 else f"{faster} times as fast"
            lines += [
                "",
                f"Workers {speed}, {gbit} Gbit/s: part of the time that is computing.",
                "",
                "| net |" + "".join(f" {n} workers |" for n in SCALED_TO),
                "|---|" + "---|" * len(SCALED_TO),
            ]
            for net in nets:
                row = done[f"{net} 1"]
                parts = [
                    f"{efficiency(row['seconds'] / faster, row['gradient'], n, gbit):.0%}"
                    for n in SCALED_TO
                ]
                lines.append(f"| {net} | " + " | ".join(parts) + " |")
    return "\n".join(lines)


def efficiency(seconds: float, gradient: float, workers: int, gbit: int) -> float:
    """Return which part of a step is computing, where sending waits for it.

    >>> round(efficiency(1.0, 125e6, workers=2, gbit=1), 3)
    0.5
    """
    sending = 2 * (workers - 1) / workers * gradient * 8 / (gbit * 1e9)
    return seconds / (seconds + sending + 2 * (workers - 1) * MESSAGE_SECONDS)


if __name__ == "__main__":
    main()
