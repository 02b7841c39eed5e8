"""The stage `rate`: an int8 file whose package is small, to a price, a budget or a bound.

Everything that does not depend on the price is measured once: the grids of the activations and what
errors of each kernel cost. A budget or a bound is then met by trying prices. Where codes are also
trained, the price that meets it without is where a training begins, in which the price follows a
budget; a bound on divergence may take a few trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError
from edgenets.export.formats import INT8
from edgenets.export.lower.grids import choose_grids
from edgenets.export.measure.classifier import Classifier
from edgenets.export.metadata import with_description
from edgenets.export.write import tflite
from edgenets.models.backend import keras
from edgenets.models.codes import Codes, Grid
from edgenets.models.folder import History, Model, weights_sha256
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.logits import mean_divergence
from edgenets.progress import say
from edgenets.quantize.package.epk import pack
from edgenets.quantize.rate.activation_ranges import mse_range
from edgenets.quantize.rate.curvature import measure_curvatures, vary
from edgenets.quantize.rate.equalize import equalize_activations
from edgenets.quantize.rate.layerwise import Coded, code_kernels, round_biases
from edgenets.quantize.rate.priced_training import Goal, Trained
from edgenets.quantize.settings import RateSettings

USUAL_MAX_KL = 0.03  # nats, where neither price nor budget nor bound is given
USUAL_PRICE = 1e-6  # nats per bit, of a training, where none of them is given
FIRST_PRICE = 3e-7  # nats per bit
MOST_WALKED = 256  # images that layers are coded on: the first ones and crops of them
USUAL_SLOPE_OF_BYTES, USUAL_SLOPE_OF_KL = -0.15, 1.0  # of logarithms, until two attempts tell
LEAST_SLOPE = 0.02  # that is believed
LEAST_VALUE = 1e-12  # whose logarithm is taken
LARGEST_STEP = 3.0  # of the price's logarithm, from one try to the next


class Effort(NamedTuple):
    """How near to a budget or a bound prices are sought."""

    most_tries: int
    near: float  # how much of it may be left


OF_CODING, OF_TRAINING = Effort(7, near=0.02), Effort(3, near=0.05)


@dataclass(frozen=True, eq=False)
class Attempt:
    """A net coded at a price, and what came of it."""

    price: float
    equalized: keras.Model  # what was coded: an equal net to the one given, its channels scaled
    model: Model  # the coded net, with the codes of its file
    content: bytes  # of the `.tflite`
    package_bytes: int
    bits: float  # of the codes in it
    kl: float  # nats, from the float net's answers to the file's, mean over images
    agreement: float  # fraction of images with the float net's answer
    history: History | None = None  # of the training, if there was one


Train = Callable[[Coded, Collection[str], Goal], Trained]
"""Trains a net in codes, given the layers whose outputs are rounded, to a price or a budget."""


def code_to_goal(
    model: Model,
    settings: RateSettings,
    calibration: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    *,
    flip: bool,
    seed: int,
    train: Train | None = None,
) -> Attempt:
    """Code a folded net as `settings` ask; the result's file is measured in LiteRT.

    Args:
        model: its net is folded, and left as it is.
        settings: price, budget or bound; without any, at most `USUAL_MAX_KL`, and of a training
            `USUAL_PRICE`.
        calibration: `[images, resolution, resolution, 3]`; they need no labels.
        held_out: on which divergence is measured, and a bound met.
        flip: whether mirrored images are such as the net sees.
        seed: of crops and probes.
        train: if the codes are also trained.

    Raises:
        EdgenetsError: the goal cannot be reached; the message says what can be.
    """
    attempt = prepare(model, calibration, held_out, flip=flip, seed=seed)
    price = USUAL_PRICE if train and settings.goals == 0 else settings.price
    if price is not None:
        return attempt(price, train)
    falls = settings.budget_bytes is not None
    limit = settings.budget_bytes or settings.max_kl or USUAL_MAX_KL
    search = partial(_search, limit=limit, falls=falls)
    found = search(partial(attempt, train=None))
    if train and settings.budget_bytes:
        return _train_to_budget(partial(attempt, train=train), found, settings.budget_bytes)
    if train:
        trained = partial(attempt, train=train)
        return search(trained, first_price=found.price, effort=OF_TRAINING)
    return found


def prepare(
    model: Model,
    calibration: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    *,
    flip: bool,
    seed: int,
) -> Callable[..., Attempt]:
    """Return the function that codes the net at a price, and trains the codes if it is told how.

    Arguments are those of `code_to_goal`.
    """
    images = to_network(calibration)
    spec, equalized = model.spec, equalize_activations(model.net, images)

    def measure_grids(net: keras.Model) -> dict[str, tuple[Grid, ...]]:
        plain = tflite.to_format(INT8, net, spec, calibration)
        return choose_grids(plain, net, images, mse_range)

    first_grids = measure_grids(equalized)
    varied = vary(images, flip=flip, seed=seed)
    walked = varied[: min(2 * len(images), max(MOST_WALKED, len(images)))]
    curvatures = measure_curvatures(equalized, varied, len(walked), seed=seed)
    reference = predict_logits(compile_inference(equalized), held_out)

    def attempt(
        price: float, train: Train | None = None, budget_bits: float | None = None
    ) -> Attempt:
        coded = code_kernels(equalized, walked, curvatures, first_grids, price)
        history, grids = None, first_grids
        if train:
            coded, history, price = train(coded, grids, Goal(price, budget_bits))
            grids = measure_grids(coded.model)
            round_biases(coded.model, coded.kernels, grids)
        codes = Codes(coded.kernels, grids)
        converted = tflite.to_format(INT8, coded.model, spec, None, codes)
        file = with_description(converted, spec, weights_sha256(coded.model))
        logits = Classifier(file).logits(held_out)
        found = Attempt(
            price,
            equalized,
            Model(coded.model, spec, codes),
            file.content,
            len(pack(file.content)),
            coded.bits,
            mean_divergence(reference, logits),
            float(np.mean(reference.argmax(axis=1) == logits.argmax(axis=1))),
            history,
        )
        say(
            f"at {price:.2g} nats a bit the package takes {found.package_bytes:,} bytes, its "
            f"answers diverge by {found.kl:.4f} nats and {found.agreement:.1%} are the same"
        )
        return found

    return attempt


def _train_to_budget(train: Callable[..., Attempt], found: Attempt, budget: int) -> Attempt:
    """Return a training whose package keeps a budget, which `found` keeps without training.

    Args:
        train: trains codes at a price, until they take `budget_bits`.

    Raises:
        EdgenetsError: none of `OF_TRAINING.most_tries` trainings keeps it.
    """
    packed, beside = budget * (1 - OF_CODING.near / 2), found.package_bytes - found.bits / 8
    for _ in range(OF_TRAINING.most_tries):
        trained = train(found.price, budget_bits=8 * (packed - beside))
        if trained.package_bytes <= budget:
            return trained
        packed -= trained.package_bytes - budget
    raise EdgenetsError(
        f"after {OF_TRAINING.most_tries} trainings the package takes {trained.package_bytes:,} "
        f"bytes where budget_bytes is {budget:,}; pass a larger budget_bytes or more epochs"
    )


class _Point(NamedTuple):
    """Logarithms of a price and of what it gave."""

    price: float
    value: float


def _search(
    attempt: Callable[[float], Attempt],
    limit: float,
    *,
    falls: bool,
    first_price: float = FIRST_PRICE,
    effort: Effort = OF_CODING,
) -> Attempt:
    """Return the attempt nearest below a limit: of its bytes, which fall with the price, or its KL.

    The next price is where the line through the nearest attempts on both sides, or through the last
    two, meets the limit; of the logarithms, since both are near to powers of the price.
    """
    target = np.log((1 - effort.near / 2) * limit)
    price, slope = first_price, USUAL_SLOPE_OF_BYTES if falls else USUAL_SLOPE_OF_KL
    within: tuple[Attempt, _Point] | None = None
    beyond: _Point | None = None
    last: _Point | None = None
    for _ in range(effort.most_tries):
        found = attempt(price)
        value = _value(found, falls)
        point = _Point(float(np.log(price)), float(np.log(max(value, LEAST_VALUE))))
        if value <= limit:
            within = found, point
            if value >= (1 - effort.near) * limit:
                return found
        else:
            beyond = point
        if within and beyond:
            (start, low), width = within[1], beyond.price - within[1].price
            part = (target - low) / (beyond.value - low)
            price = float(np.exp(start + np.clip(part, 0.1, 0.9) * width))
        else:
            if last:
                measured = (point.value - last.value) / (point.price - last.price)
                slope = min(measured, -LEAST_SLOPE) if falls else max(measured, LEAST_SLOPE)
            step = np.clip((target - point.value) / slope, -LARGEST_STEP, LARGEST_STEP)
            price = float(np.exp(point.price + step))
        last = point
    assert last is not None  # there were tries
    goal = "budget_bytes" if falls else "max_kl"
    if within is None:
        raise EdgenetsError(
            f"of {effort.most_tries} tries the nearest has {np.exp(last.value):,.6g} where "
            f"{goal} is {limit:,.6g}; pass a larger {goal}"
        )
    say(
        f"after {effort.most_tries} tries the nearest has {_value(within[0], falls):,.6g}, "
        f"{goal} is {limit:,.6g}; pass `price` to go nearer"
    )
    return within[0]


def _value(attempt: Attempt, falls: bool) -> float:
    return attempt.package_bytes if falls else attempt.kl
