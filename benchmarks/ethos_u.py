"""What Vela estimates of edgenets' nets on an Ethos-U: the tables of docs/evidence/ethos-u.md.

    python benchmarks/ethos_u.py lowering [--out runs/ethos_u]
    python benchmarks/ethos_u.py compression --data cifar10 [NET ...] [--out runs/ethos_u]
    python benchmarks/ethos_u.py pricing --data cifar10 [NET ...] [--price P ...]
    python benchmarks/ethos_u.py variants [--out runs/ethos_u]

`lowering`: cycles of each family in each form that changes it; fresh weights, calibrated on noise.
`compression`: the four nets in the package, plain int8 and compressed by recipes, with the top-1 of
the files in LiteRT on all of DATA/test, and what they lose to the Keras model with its paired 95 %
interval. `pricing`: the recipe `rate` at some prices of a bit: of bits as packages code them, as
Vela does, and of those alone that the NPU waits for. `variants`: published variants that fit a
microcontroller, fresh weights: the rows of edgenets/models/npu_cycles.py. Stopped, a command goes
on, but for `pricing`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from deep_compression import compress, format_loss, is_right

from edgenets.data.images import Preparation
from edgenets.data.splits import CALIBRATION_IMAGES as CALIBRATED_ON
from edgenets.export.formats import INT8
from edgenets.export.inspect.ethos_u.compiler import Outcome, compile_file
from edgenets.export.lower.lower import REWRITES, lower
from edgenets.export.lower.rewriting import CodedModel
from edgenets.export.measure.promises import random_images
from edgenets.export.targets import ETHOS_U, TARGETS
from edgenets.export.write import tflite
from edgenets.export.write.checked_file import export_checked
from edgenets.files import write_bytes
from edgenets.models.backend import keras
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, Spec
from edgenets.models.npu_cycles import MOST_MACS, MOST_PARAMS
from edgenets.models.registry import complete_arguments, create
from edgenets.models.variants import VARIANTS
from edgenets.models.weights.sources import PRETRAINED
from edgenets.pipeline.compress import MEASURED, open_images_of
from edgenets.pipeline.config import check_config
from edgenets.pipeline.figures import file_for
from edgenets.pipeline.rate_search import prepare
from edgenets.pipeline.stages.compress import DIVERGENCE_IMAGES as HELD_OUT

SEED = 0
CALIBRATION_IMAGES = 2
SMALL = {"resolution": 96, "classes": 10}
FAMILIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("mobilenet_v1", {"width": 0.25}),
    ("mobilenet_v2", {"width": 0.35}),
    ("mobilenet_v3_small", {"width": 0.5}),
    ("mobilenet_v3_small", {"width": 0.5, "minimalistic": True}),
    ("inception_v1", {}),
    ("squeezenet", {}),
    ("squeezenet", {"resolution": 32, "output_stride": 8}),
    ("shufflenet_v1", {"scale": 0.25, "groups": 3}),
    ("shufflenet_v1", {"scale": 0.5, "groups": 3}),
    ("shufflenet_v1", {"scale": 1.0, "groups": 3}),
    ("shufflenet_v2", {"scale": 0.5}),
    ("shufflenet_v2", {"scale": 1.0}),
    ("xception", {"width": 0.18}),
)
MEASURED_ON = (TARGETS["ethos-u55-128"], TARGETS["ethos-u65-256"])
RECIPES: dict[str, list[dict[str, Any]]] = {
    "int8": [{"stage": "int8"}],
    "rate": [{"stage": "rate"}],
    "65 % zeros, 16 values, an epoch each": [
        {"stage": "prune", "sparsity": 0.65, "epochs": 1, "warmup_epochs": 0},
        {"stage": "share", "clusters": 16, "epochs": 1},
        {"stage": "int8"},
    ],
}
# Net -> price of a bit, in nats, at which the cycles on a U55-128 meet a bound (the evidence says
# which).
PRICES = {"cifar10_shufflenet_v2": 5e-8, "cifar10_squeezenet": 4e-8, "cifar10_xception": 3e-7}
# What is priced -> how `prepare` is told so, and the prices of a bit that are measured, in nats.
PRICINGS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "packages' bits": ({}, (1.5e-7, 3e-7, 6e-7)),
    "Vela's bits": ({"npu": MEASURED_ON[0], "hides": False}, (2e-7, 4e-7)),
    "Vela's bits, waited for": ({"npu": MEASURED_ON[0]}, (3e-7, 1e-6, 3e-6)),
}


def fresh(name: str, arguments: dict[str, Any]) -> tuple[CodedModel, Spec]:
    arguments = complete_arguments(name, arguments)
    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    resolution, classes = arguments["resolution"], range(arguments["classes"])
    labels = tuple(map(str, classes))
    spec = Spec(name, arguments, labels, Preparation(resolution, resolution), SEED)
    return CodedModel(create(name, **arguments), None), spec


def written(path: Path, net: CodedModel, spec: Spec) -> Path:
    if not path.exists():
        images = random_images(spec.preparation.resolution, CALIBRATION_IMAGES)
        write_bytes(path, tflite.to_format(INT8, net.model, spec, images).content)
    return path


def estimated(path: Path, target_name: str) -> Outcome:
    outcome = compile_file(path, TARGETS[target_name])
    outcome.path.unlink()
    return outcome


def print_lowerings(out: Path) -> None:
    columns = [f"{target.name} {cell}" for target in MEASURED_ON for cell in ("cycles", "of plain")]
    print_head("net", "form", "operators", "weight stream", *columns)
    for name, arguments in FAMILIES:
        net, spec = fresh(name, {**SMALL, **arguments})
        title = " ".join([name, *(f"{key}={value}" for key, value in arguments.items())])
        plain: list[int] = []
        for form, lowered in forms(net):
            path = written(out / f"{title}_{form}.tflite".replace(" ", "_"), lowered, spec)
            outcomes = [estimated(path, target.name) for target in MEASURED_ON]
            cycles = [outcome.estimates["cycles"] for outcome in outcomes]
            plain = plain or cycles
            cells = [
                cell
                for now, before in zip(cycles, plain, strict=True)
                for cell in (f"{now:,}", f"{now / before:.3f}")
            ]
            stream = outcomes[0].estimates["weight_stream_bytes"]
            print_row(title, form, len(outcomes[0].predicted.ops), f"{stream:,}", *cells)


def forms(net: CodedModel) -> Iterator[tuple[str, CodedModel]]:
    """Yield the net as it is, after each rewrite that changes it, and as the targets have it."""
    yield "plain", net
    for name, rewrite in REWRITES.items():
        # For sparse kernels; and what is the same as another where it changes anything.
        if (
            name not in ("turned", "dense_narrow", "paired_wide")
            and (lowered := rewrite(net)) is not net
        ):
            yield name, lowered
    yield "chosen", lower(net, MEASURED_ON[0], INT8)


def print_compressions(folders: list[Path], data: str, out: Path) -> None:
    columns = ("U55-128 cycles", "of int8", "U65-256 cycles", "weight stream", "flash", "SRAM")
    print_head("net", "recipe", *columns, "top-1", "loss")
    for folder in folders:
        right, plain = is_right(folder, data), 0
        for number, (recipe, stages) in enumerate(recipes_of(folder.name).items()):
            made = out / f"{folder.name}_{number}"
            if not (made / MEASURED).exists():
                compress(folder, stages, data, made)
            model, path = Model.load(made), made.with_suffix(".tflite")
            exported = export_checked(
                INT8, model.net, model.spec, None, model.codes, MEASURED_ON[0]
            )
            write_bytes(path, exported.content)
            small, large = (estimated(path, target.name).estimates for target in MEASURED_ON)
            plain = plain or small["cycles"]
            now = is_right(folder, data, exported.content)
            print_row(
                *(folder.name, recipe, f"{small['cycles']:,}", f"{small['cycles'] / plain:.3f}"),
                f"{large['cycles']:,}",
                *(f"{small[f'{key}_bytes']:,}" for key in ("weight_stream", "flash", "sram")),
                *(f"{100 * now.mean():.2f}", format_loss(right, now)),
            )


def recipes_of(net: str) -> dict[str, list[dict[str, Any]]]:
    if net not in PRICES:
        return RECIPES
    price = PRICES[net]
    return {**RECIPES, f"rate, price {price:g}": [{"stage": "rate", "price": price}]}


def print_pricings(folders: list[Path], data: str, out: Path, asked: list[float] | None) -> None:
    print_head("net", "priced", "price", "U55-128 cycles", "stream", "KL", "top-1", "loss")
    for folder in folders:
        right, model = is_right(folder, data), Model.load(folder)
        values = {"model": model.spec.net, "data": {"source": data}, "compress": "rate"}
        images = open_images_of(model, check_config(values, str))
        folded = replace(model, net=fold_batch_norm(model.net), codes=None)
        sets = (images.calibration(CALIBRATED_ON, unlabelled=True), images.validation(HELD_OUT))
        for priced, (how, prices) in PRICINGS.items():
            options = {"flip": images.training.flip, "seed": images.config.seed, **how}
            attempt = prepare(folded, *sets, **options)
            for price in asked or prices:
                found = attempt(price)
                path = out / f"{folder.name}_{list(PRICINGS).index(priced)}_{price:g}.tflite"
                write_bytes(path, file_for(found.model, MEASURED_ON[0]))
                estimates = estimated(path, MEASURED_ON[0].name).estimates
                now = is_right(folder, data, path.read_bytes())
                print_row(
                    *(folder.name, priced, f"{price:g}", f"{estimates['cycles']:,}"),
                    *(f"{estimates['weight_stream_bytes']:,}", f"{found.kl:.4f}"),
                    *(f"{100 * now.mean():.2f}", format_loss(right, now)),
                )


def print_variants(out: Path) -> None:
    for variant in VARIANTS:
        if variant.params > MOST_PARAMS or variant.macs > MOST_MACS:
            continue
        arguments = {**variant.arguments, "resolution": variant.resolution}
        named = "_".join(f"{key}{value}" for key, value in arguments.items())
        path = out / f"{variant.name}_{named}.tflite"
        net, spec = fresh(variant.name, arguments)
        written(path, lower(net, ETHOS_U[0], INT8), spec)
        cycles = tuple(estimated(path, target.name).estimates["cycles"] for target in ETHOS_U)
        row = ", ".join(f"{number:_}" for number in cycles)
        print(f'    ("{variant.name}", {arguments}, ({row})),', flush=True)


def print_head(*columns: str) -> None:
    print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|", flush=True)


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def asked(words: list[str] | None = None) -> argparse.Namespace:
    """Return what a command line asks for; NET may stand behind options, too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("lowering", "compression", "pricing", "variants"))
    parser.add_argument(
        "nets", nargs="*", metavar="NET", help="of the package, as cifar10_xception"
    )
    parser.add_argument("--data", help="the images that the nets were trained on")
    parser.add_argument(
        "--price", type=float, action="append", help="of a bit, in place of those of `pricing`"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ethos_u"))
    options = parser.parse_intermixed_args(words)
    if options.table in ("compression", "pricing") and options.data is None:
        parser.error(f"{options.table} needs --data")
    return options


def main() -> None:
    options = asked()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.table == "lowering":
        print_lowerings(options.out)
    elif options.table == "variants":
        print_variants(options.out)
    else:
        nets = options.nets or sorted(path.name for path in PRETRAINED.glob("cifar10_*"))
        folders = [PRETRAINED / net for net in nets]
        if options.table == "compression":
            print_compressions(folders, options.data, options.out)
        else:
            print_pricings(folders, options.data, options.out, options.price)


if __name__ == "__main__":
    main()
