"""The stage `rate`: an int8 file whose package is small, to a price, a budget or a bound.

Everything that does not depend on the price is measured once: the grids of the activations and what
errors of each kernel cost. A budget or a bound is then met by trying prices. Where codes are also
trained, the price that meets it without is where a training begins, in which the price follows a
budget; a bound on divergence may take a few trainings. What a training leaves above a budget is
coded again without, if that hardly changes the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.data.pixels import to_network
from edgenets.errors import EdgenetsError
from edgenets.export.formats import INT8
from edgenets.export.lower.grids import choose_grids
from edgenets.export.measure.classifier import Classifier
from edgenets.export.targets import GENERIC, Target, find_target
from edgenets.export.write import tflite
from edgenets.files import sha256_bytes, sha256_json
from edgenets.models.backend import keras
from edgenets.models.codes import Codes, Grid
from edgenets.models.folder import History, Model, Spec, weights_sha256
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.models.logits import mean_divergence
from edgenets.pipeline.figures import compile_net, file_for
from edgenets.pipeline.hidden_bits import hidden_bits
from edgenets.pipeline.price_search import (
    OF_CODING,
    OF_TRAINING,
    OF_WAITING,
    Limit,
    search_price,
)
from edgenets.progress import say
from edgenets.quantize.package.epk import pack
from edgenets.quantize.rate.activation_ranges import mse_range
from edgenets.quantize.rate.coders import vela_bits
from edgenets.quantize.rate.curvature import Curvature, measure_curvatures, vary
from edgenets.quantize.rate.equalize import equalize_activations
from edgenets.quantize.rate.layerwise import Coded, code_kernels, round_biases
from edgenets.quantize.rate.priced_training import Goal, Trained
from edgenets.quantize.settings import RateSettings
from edgenets.quantize.stages.int8 import quantize_kernels

USUAL_MAX_KL = 0.03  # nats, where neither price nor budget nor bound is given
USUAL_PRICE = 1e-6  # nats per bit, of a training, where none of them is given
FIRST_PART, LEAST_EPOCHS = 1.15, 8
"""How much of its budget a training begins with that has so many epochs: the first ones take bits
that no price asks for and no lower price gives back."""
MOST_CHANGED = 0.01  # nats, of a trained net's answers, where coding it again meets the budget
MOST_WALKED = 256  # images that layers are coded on: the first ones and crops of them


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
    estimates: dict[str, Any] | None = None  # of an NPU's compiler, of the file in the NPU's form


def _estimate(key: str) -> Callable[[Attempt], float]:
    return lambda attempt: (attempt.estimates or {})[key]


MOST_KL = Limit("max_kl", USUAL_MAX_KL, False, attrgetter("kl"))
LIMITS = (
    Limit("budget_bytes", 0, True, attrgetter("package_bytes")),
    Limit("budget_cycles", 0, True, _estimate("cycles"), floor=_estimate("npu_cycles")),
    Limit("budget_flash", 0, True, _estimate("flash_bytes")),
    MOST_KL,
)

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
    npu = find_target(settings.target) if settings.target else None
    hides = settings.budget_flash is None
    given = _Given(model, calibration, held_out, flip, seed, npu, hides)
    measured = _measure_once(given)
    attempt = partial(_attempt, measured, model.spec)
    price = USUAL_PRICE if train and not settings.goals else settings.price
    if price is not None:
        return attempt(price, train)
    limits = (limit._replace(most=settings.goals.get(limit.key, 0)) for limit in LIMITS)
    limit = next((limit for limit in limits if limit.most), MOST_KL)
    effort = OF_WAITING if settings.budget_cycles else OF_CODING
    if train and settings.budget_bytes and (settings.epochs or 0) >= LEAST_EPOCHS:
        limit = limit._replace(part=FIRST_PART)
    found = search_price(partial(attempt, train=None), limit, effort=effort)
    if not train:
        return found
    trained = partial(attempt, train=train)
    if settings.budget_bytes:
        code_again = partial(_code_again, given, measured, limit._replace(part=1.0))
        return _train_to_budget(trained, code_again, found, settings.budget_bytes)
    return search_price(trained, limit, first_price=found.price, effort=OF_TRAINING)


def prepare(
    model: Model,
    calibration: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    *,
    flip: bool,
    seed: int,
    npu: Target | None = None,
    hides: bool = True,
) -> Callable[..., Attempt]:
    """Return the function that codes the net at a price, and trains the codes if it is told how.

    Args:
        npu: an Ethos-U by whose coder bits are priced; without one, as packages code them.
        hides: whether the bits that it reads while it computes are free.

    Others are those of `code_to_goal`.
    """
    measured = _measure(_Given(model, calibration, held_out, flip, seed, npu, hides))
    return partial(_attempt, measured, model.spec)


class _Given(NamedTuple):
    """What is coded, and for what: arguments of `code_to_goal` and `prepare`."""

    model: Model
    calibration: NDArray[np.uint8]
    held_out: NDArray[np.uint8]
    flip: bool
    seed: int
    npu: Target | None
    hides: bool


@dataclass(frozen=True, eq=False)
class _Measured:
    """What prices do not change."""

    equalized: keras.Model
    held_out: NDArray[np.uint8]
    reference: NDArray[np.float32]  # logits of the held-out images
    measure_grids: Callable[[keras.Model], dict[str, tuple[Grid, ...]]]
    grids: dict[str, tuple[Grid, ...]]  # of the equalized net
    walked: NDArray[np.float32]
    curvatures: dict[str, Curvature]
    pricing: dict[str, Any]  # arguments of `code_kernels`
    npu: Target | None


_last_measured: dict[str, _Measured] = {}
"""By its key; the tries of `compress --max-drop` have it in common."""


def _measure_once(given: _Given) -> _Measured:
    """Return what `_measure` does, the last one again where nothing of it has changed."""
    model, calibration, held_out, flip, seed, npu, hides = given
    net = [weights_sha256(model.net), model.spec.name, model.spec.arguments, model.spec.keep_float]
    images = [sha256_bytes(each.tobytes()) for each in (calibration, held_out)]
    key = sha256_json([*net, *images, flip, seed, npu and npu.name, hides])
    if key not in _last_measured:
        _last_measured.clear()
        _last_measured[key] = _measure(given)
    return _last_measured[key]


def _measure(given: _Given) -> _Measured:
    model, calibration, held_out, flip, seed, npu, hides = given
    images = to_network(calibration)
    spec, equalized = model.spec, equalize_activations(model.net, images)

    def measure_grids(net: keras.Model) -> dict[str, tuple[Grid, ...]]:
        plain = tflite.to_format(INT8, net, spec, calibration)
        return choose_grids(plain, net, images, mse_range)

    grids = measure_grids(equalized)
    pricing: dict[str, Any] = {}
    if npu:
        pricing["code_bits"] = vela_bits
    if npu and hides:
        kernels = quantize_kernels(equalized)
        plain = file_for(Model(equalized, spec, Codes(kernels, grids)), npu)
        layers = compile_net(plain, npu).layers
        pricing["free_bits"] = hidden_bits(equalized, kernels, layers, vela_bits)
    varied = vary(images, flip=flip, seed=seed)
    walked = varied[: min(2 * len(images), max(MOST_WALKED, len(images)))]
    curvatures = measure_curvatures(equalized, varied, len(walked), seed=seed)
    reference = predict_logits(compile_inference(equalized), held_out)
    return _Measured(
        *(equalized, held_out, reference, measure_grids, grids, walked, curvatures, pricing, npu)
    )


def _attempt(
    measured: _Measured,
    spec: Spec,
    price: float,
    train: Train | None = None,
    budget_bits: float | None = None,
) -> Attempt:
    """Code the measured net at a price, train the codes if it is told how, and measure the file."""
    equalized, grids, npu = measured.equalized, measured.grids, measured.npu
    coded = code_kernels(
        equalized, measured.walked, measured.curvatures, grids, price, **measured.pricing
    )
    history = None
    if train:
        coded, history, price = train(coded, grids, Goal(price, budget_bits))
        grids = measured.measure_grids(coded.model)
        round_biases(coded.model, coded.kernels, grids)
    codes = Codes(coded.kernels, grids)
    made, estimates = Model(coded.model, spec, codes), None
    content = file_for(made, GENERIC)
    kl, agreement = _compare(content, measured.held_out, measured.reference)
    if npu:
        estimates = compile_net(file_for(made, npu), npu).estimates
    found = Attempt(
        price,
        equalized,
        made,
        content,
        len(pack(content)),
        coded.bits,
        kl,
        agreement,
        history,
        estimates,
    )
    size = f"the package takes {found.package_bytes:,} bytes"
    if estimates:
        size = f"it takes {estimates['cycles']:,} cycles and {estimates['flash_bytes']:,} bytes"
    say(
        f"at {price:.2g} nats a bit {size}, its answers diverge by {found.kl:.4f} nats and "
        f"{found.agreement:.1%} are the same"
    )
    return found


def _compare(
    content: bytes, held_out: NDArray[np.uint8], reference: NDArray[np.float32]
) -> tuple[float, float]:
    """Return how far a file's answers diverge from reference logits, and how many are the same."""
    logits = Classifier(content).logits(held_out)
    same = float(np.mean(reference.argmax(axis=1) == logits.argmax(axis=1)))
    return mean_divergence(reference, logits), same


def _code_again(
    given: _Given, measured: _Measured, limit: Limit, trained: Attempt
) -> Attempt | None:
    """Code a trained net without training, to a limit; None if that changes its answers.

    Args:
        given, measured: of the net before its training.
    """
    again = _measure(given._replace(model=trained.model))
    try:
        found = search_price(partial(_attempt, again, trained.model.spec), limit)
    except EdgenetsError:
        return None
    if found.kl > MOST_CHANGED:
        return None
    say(f"coded again without training its answers diverge by {found.kl:.4f} nats more")
    kl, agreement = _compare(found.content, measured.held_out, measured.reference)
    return replace(found, kl=kl, agreement=agreement, history=trained.history)


def _train_to_budget(
    train: Callable[..., Attempt],
    code_again: Callable[[Attempt], Attempt | None],
    found: Attempt,
    budget: int,
) -> Attempt:
    """Return a training whose package keeps a budget; the price of `found` is its first one.

    Args:
        train: trains codes at a price, until they take `budget_bits`.
        code_again: codes a trained net to the budget, unless that changes its answers.

    Raises:
        EdgenetsError: none of `OF_TRAINING.most_tries` trainings keeps it.
    """
    packed, beside = budget * (1 - OF_CODING.near / 2), found.package_bytes - found.bits / 8
    for _ in range(OF_TRAINING.most_tries):
        trained = train(found.price, budget_bits=8 * (packed - beside))
        if trained.package_bytes <= budget:
            return trained
        if coded := code_again(trained):
            return coded
        packed -= trained.package_bytes - budget
    raise EdgenetsError(
        f"after {OF_TRAINING.most_tries} trainings the package takes {trained.package_bytes:,} "
        f"bytes where budget_bytes is {budget:,}; pass a larger budget_bytes or more epochs"
    )
