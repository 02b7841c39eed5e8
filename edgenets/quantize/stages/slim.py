"""Slim: remove whole channels, so that fewer instructions are executed, then train the others.

Source: Liu et al. 2021, arXiv:2108.00708 (coupled channels by Fisher information and cost).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.channels import count_channels
from edgenets.models.folder import Model
from edgenets.models.operator_costs import TARGET_CORES
from edgenets.progress import say
from edgenets.quantize.settings import SlimSettings
from edgenets.quantize.slim.choice import slim_net
from edgenets.quantize.slim.cost import estimate_net
from edgenets.training.data import TrainingData
from edgenets.training.fit import fit, make_repeatable


def slim(
    model: Model,
    data: TrainingData,
    settings: SlimSettings,
    *,
    seed: int,
    checkpoint: Path,
    key: str,
    teacher: keras.Model | None = None,
    log_dir: Path | None = None,
) -> Model:
    """Return a copy of `model` with fewer channels, fine-tuned; its spec says how many there are.

    Raises:
        EdgenetsError: it has shared weights, or cannot be made so fast, or its channels cannot be
            followed.
    """
    if model.codes:
        raise EdgenetsError(
            f"{model.net.name} has shared weights, which training fewer channels would make "
            "different ones; slim the model that it was made of"
        )
    make_repeatable(seed)  # gone on from a checkpoint, the same channels are chosen
    core = TARGET_CORES[settings.target]
    before = estimate_net(model.net, core)
    count = min(settings.calibration_images, len(data.images))
    chosen = np.random.default_rng(seed).permutation(len(data.images))[:count]
    net = slim_net(
        model.net,
        core,
        settings.most_instructions(before),
        data.images.take(np.sort(chosen)),
        seed,
    )
    after = estimate_net(net, core)
    say(f"slim: an estimated {after:,} instructions of {before:,} on {settings.target}")
    history = fit(
        net,
        data,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        teacher=teacher,
        description="slim",
        log_dir=log_dir,
    )
    made = model.after(settings.model_dump(mode="json"), net, history)
    channels = {**model.spec.channels, **count_channels(model.net, net)}
    return replace(made, spec=replace(made.spec, channels=channels))
