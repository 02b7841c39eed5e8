"""What clients do to a picture, and what they answer: the tables of docs/evidence/clients.md.

    python benchmarks/clients.py ../shared/data/flowers --client mediapipe=PYTHON \
        --client task-library=PYTHON --client torchvision=PYTHON

PYTHON is an interpreter that has the client (`benchmarks/client_answers.py` says which packages):
none of them can be installed beside TensorFlow's optimization toolkit. First, a file that returns
its input shows what each client makes of a picture; preparations of Keras and torchvision, which
run no such file, are held against the same candidates. Then MobileNet V1 0.25 at 128 pixels,
trained on DATA with each fit as photographs.py trains it and exported with --client, answers the
test photographs in edgenets and in every client that runs it. Every training that is finished is
kept in --out; a stopped one goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from client_answers import RESIZED, SIDE
from numpy.typing import NDArray
from photographs import SMALL, V1, Row, first_of_each_class, train
from PIL import Image, ImageOps
from PIL.Image import Resampling, Transform

import edgenets as en
from edgenets.data.images import FITS, Fit, Preparation, prepare
from edgenets.data.input_range import TFLITE_METADATA
from edgenets.data.sources import open_dataset
from edgenets.export.metadata import standard_entry, with_labels
from edgenets.flatbuffer import File, set_metadata
from edgenets.flatbuffer.edit import pack

PROBED = SIDE  # pixels of a side of the file that returns its input
PICTURE = (200, 120)  # not square, and larger in both directions
PER_CLASS = 100
TRAINED: tuple[Fit, ...] = ("stretch", "crop")
Resize = Callable[[Image.Image, tuple[int, int]], Image.Image]
PREPARE_ONLY = ("torchvision",)
ANSWERS = Path(__file__).with_name("client_answers.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--client", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--weights", type=Path, help="folder of the .tflite files")
    parser.add_argument("--out", type=Path, default=Path("runs/clients"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    clients = dict(client.split("=", 1) for client in options.client)
    runners = {name: python for name, python in clients.items() if name not in PREPARE_ONLY}
    with tempfile.TemporaryDirectory() as folder:
        print_ways(clients, Path(folder))
    weights = options.weights or options.data.parent / "coral"
    print_answers(runners, options.data, weights, options.out, options.seeds)


def print_ways(clients: dict[str, str], folder: Path) -> None:
    """Print which candidate each client's picture is nearest to."""
    picture = Image.fromarray(marked_picture())
    (folder / "class").mkdir()
    picture.save(folder / "class" / "picture.png")
    (folder / "probe.tflite").write_bytes(returning_file(PROBED))
    seen = keras_ways(folder)
    for name, python in clients.items():
        told = ask(python, name, folder / "probe.tflite", [folder / "class" / "picture.png"])
        (scores,) = told["answers"].values()
        codes = [256 * scores[str(i)] for i in range(len(scores))]
        shown = np.array(codes).reshape(PROBED, PROBED, 3)
        seen[f"{name} {told['version']}"] = shown
    print("| client | nearest | mean difference | next | mean difference |\n|---|---|---|---|---|")
    candidates = ways(picture)
    for name, pixels in seen.items():
        differences = {way: np.abs(pixels - found).mean() for way, found in candidates.items()}
        first, second = sorted(differences, key=differences.__getitem__)[:2]
        cells = (first, f"{differences[first]:.2f}", second, f"{differences[second]:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


def marked_picture() -> NDArray[np.uint8]:
    """Return red that rises to the right, green that rises downwards, and noise in blue."""
    width, height = PICTURE
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).integers(0, 256, (height, width))
    channels = (x * (255 / (width - 1)), y * (255 / (height - 1)), noise)
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def returning_file(side: int) -> bytes:
    """Return a uint8 `.tflite` whose scores are the codes of its input over 256."""
    values = side * side * 3
    uint8, int32 = schema.TensorType.UINT8, schema.TensorType.INT32
    grid = schema.QuantizationParametersT(scale=[1 / 256], zeroPoint=[0])
    tensors = [
        schema.TensorT(name="image", shape=[1, side, side, 3], type=uint8, quantization=grid),
        schema.TensorT(name="shape", shape=[2], type=int32, buffer=1),
        schema.TensorT(name="scores", shape=[1, values], type=uint8, quantization=grid),
    ]
    reshape = schema.OperatorT(inputs=[0, 1], outputs=[2])
    reshape.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    reshape.builtinOptions = schema.ReshapeOptionsT(newShape=[1, values])
    number = schema.BuiltinOperator.RESHAPE
    shape = np.frombuffer(np.int32([1, values]).tobytes(), np.uint8)
    model = schema.ModelT(
        version=3,
        operatorCodes=[
            schema.OperatorCodeT(deprecatedBuiltinCode=number, builtinCode=number, version=1)
        ],
        subgraphs=[schema.SubGraphT(tensors=tensors, operators=[reshape], inputs=[0], outputs=[2])],
        buffers=[schema.BufferT(), schema.BufferT(data=shape)],
        metadata=[],
    )
    file = File(pack(model))
    file.edit(set_metadata, {TFLITE_METADATA: standard_entry("probe")})
    return with_labels(file.content, tuple(map(str, range(values))))


def ways(picture: Image.Image) -> dict[str, NDArray[Any]]:
    """Return the picture as a square by every way that is tried, [side, side, 3]."""
    width, height = picture.size
    parts = {
        "crop": (ImageOps.fit(picture, (height, height)), PROBED),
        "stretch": (picture, PROBED),
        "pad": (picture, round(PROBED * height / width)),
    }
    found = {}
    for fit, (part, rows) in parts.items():
        for name, resize in RESIZINGS.items():
            square = ImageOps.pad(resize(part, (PROBED, rows)), (PROBED, PROBED), color="black")
            found[f"{fit}, {name}"] = np.asarray(square, np.float64)
    for name, resize in RESIZINGS.items():
        found[f"crop with a margin, {name}"] = np.asarray(with_margin(picture, resize), np.float64)
    for fit in FITS:
        preparation = Preparation.default("", PROBED, fit)
        found[f"fit {fit} of edgenets"] = prepare(picture, preparation).astype(np.float64)
    return found


def with_margin(picture: Image.Image, resize: Resize) -> Image.Image:
    """Return the centre of a picture whose short side was resized to `RESIZED`."""
    scale = RESIZED / min(picture.size)
    width, height = (int(side * scale) for side in picture.size)
    left, top = (round((side - PROBED) / 2) for side in (width, height))
    return resize(picture, (width, height)).crop((left, top, left + PROBED, top + PROBED))


def four_pixels(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image resized, each point interpolated between the four pixels about it."""
    width, height = size
    scale = (image.width / width, 0, 0, 0, image.height / height, 0)
    return image.transform(size, Transform.AFFINE, scale, Resampling.BILINEAR)


RESIZINGS: dict[str, Resize] = {
    "bilinear, every pixel (Pillow)": partial(Image.Image.resize, resample=Resampling.BILINEAR),
    "Lanczos, every pixel (Pillow)": partial(Image.Image.resize, resample=Resampling.LANCZOS),
    "bilinear, four pixels about the centre": four_pixels,
    "nearest pixel": partial(Image.Image.resize, resample=Resampling.NEAREST),
}


def keras_ways(folder: Path) -> dict[str, NDArray[Any]]:
    """Return what Keras makes of the one picture below `folder`."""
    import keras

    size, name = (PROBED, PROBED), f"Keras {keras.__version__}"
    shown = {}
    for option in ("", "crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        images = keras.utils.image_dataset_from_directory(
            folder, image_size=size, verbose=False, **({option: True} if option else {})
        )
        shown[f"{name} image_dataset_from_directory {option}"] = next(iter(images))[0].numpy()[0]
    picture = keras.utils.load_img(folder / "class" / "picture.png", target_size=size)
    return {**shown, f"{name} load_img": np.asarray(picture, np.float64)}


def print_answers(
    clients: dict[str, str], data: Path, weights: Path, out: Path, seeds: list[int]
) -> None:
    """Print for each fit how often the clients answer as `evaluate`, and how often rightly."""
    subset = first_of_each_class(open_dataset(str(data)), PER_CLASS)
    paths = sorted((data / "test").rglob("*.jpg"))
    right = np.array([path.parent.name for path in paths])
    print("\n| fit | seed | answers of | same as edgenets' | top-1 |\n|---|---|---|---|---|")
    for fit in TRAINED:
        for seed in seeds:
            row = Row(fit, SMALL, (PER_CLASS,), V1, fit=fit)
            train(row, subset, PER_CLASS, seed, weights, out)
            folder = out / f"{fit}_{PER_CLASS}_{seed}"
            model = en.Model.load(folder)
            file = model.export(folder / "client.tflite", data=data, client="mediapipe")
            own = np.array([each.top[0].label for each in file.predict(*paths)])
            evaluated = file.evaluate(data).top1
            assert np.isclose((own == right).mean(), evaluated)
            print(f"| {fit} | {seed} | edgenets | | {evaluated:.1%} |", flush=True)
            for name, python in clients.items():
                scores = ask(python, name, file.path, paths)["answers"].values()
                theirs = np.array([max(each, key=each.get) for each in scores])
                same, top1 = (theirs == own).mean(), (theirs == right).mean()
                print(f"| {fit} | {seed} | {name} | {same:.1%} | {top1:.1%} |", flush=True)


def ask(python: str, client: str, file: Path, paths: list[Path]) -> dict[str, Any]:
    """Return what `client_answers.py` prints of images."""
    command = [python, str(ANSWERS), client, str(file)]
    lines = "\n".join(map(str, paths))
    result = subprocess.run(command, input=lines, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{client} failed:\n{result.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(result.stdout)
    return told


if __name__ == "__main__":
    main()
