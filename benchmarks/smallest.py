"""The stage `rate` with training on the CIFAR-10 nets of the package: a table of docs/evidence.

    python benchmarks/smallest.py --data cifar10 [NET ...] [--epochs N] [--budget SIZE] [--out DIR]

Each net's package is to take at most as many bytes as `NETS` or --budget says. The price of a bit
that does so, and with it everything else, is chosen on training images, held-out ones among them;
--price gives one instead. Accuracy is that of the file in LiteRT on all of DATA/test; the loss is
against the float net, in points, with its paired 95 % interval. Stopped, the command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from deep_compression import compress, exported, format_loss, is_right

from edgenets.files import read_json
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED
from edgenets.quantize.package.epk import pack
from edgenets.units import format_seconds, parse_bytes


class Net(NamedTuple):
    """How small a net's package is to be, and how long it is trained for that."""

    budget_bytes: int
    epochs: int  # at most 90 minutes of two cores


NETS = {
    "mobilenet_v1": Net(48_000, 30),
    "shufflenet_v2": Net(60_000, 30),
    "squeezenet": Net(95_000, 24),
    "xception": Net(110_000, 24),
}
COLUMNS = ("net", "epochs", "price", "top-1", "loss", ".epk", "under float", "time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS), metavar="NET", help=", ".join(NETS))
    parser.add_argument("--data", required=True, help="the folder of CIFAR-10")
    parser.add_argument("--epochs", type=int, help="of each training, instead of those of NETS")
    goals = parser.add_mutually_exclusive_group()
    goals.add_argument("--budget", type=parse_bytes, help="such as 40KB, instead of those of NETS")
    goals.add_argument("--price", type=float, help="of a bit, instead of a budget")
    parser.add_argument("--out", type=Path, default=Path("runs/smallest"))
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n" + "|---" * len(COLUMNS) + "|")
    for name in options.nets:
        net, folder = NETS[name], PRETRAINED / f"cifar10_{name}"
        budget, epochs = options.budget or net.budget_bytes, options.epochs or net.epochs
        goal = {"price": options.price} if options.price else {"budget_bytes": budget}
        stage = {"stage": "rate", "epochs": epochs, **goal}
        out = options.out / f"{name}-{options.price or budget}-{epochs}"
        if not (out / MEASURED).exists():
            compress(folder, [{**stage, "batch_size": 128, "augment": 0.5}], options.data, out)
        first, last = read_json(out / MEASURED)["stages"]
        content = exported(out)
        right = [is_right(folder, options.data, each) for each in (None, content)]
        package_bytes = len(pack(content))
        cells = (
            name,
            str(len(last["history"]["epoch"])),
            f"{last['price']:.2g}",
            f"{100 * right[1].mean():.2f}",
            format_loss(*right),
            f"{package_bytes:,}",
            f"{first['size_bytes'] / package_bytes:.1f}x",
            format_seconds(last["seconds"]),
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
