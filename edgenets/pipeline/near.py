"""The stage `near`: an int8 file of which few bytes differ from a base's, to a budget if set.

The size that counts is that of the package of changes, made by the packer that makes the update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgenets.errors import EdgenetsError
from edgenets.export.targets import GENERIC
from edgenets.files import read_bytes, sha256_bytes
from edgenets.models.codes import KernelCodes
from edgenets.models.folder import SPEC, Model, Spec
from edgenets.pipeline.figures import file_for
from edgenets.progress import say
from edgenets.quantize.layers import kernel_axes
from edgenets.quantize.package.epk import pack
from edgenets.quantize.rate.near_training import BIAS_PARTS, LEAST_WAY, Moved

MOST_TRIES = 8
NEAR = 0.03  # how much of a budget may be left


@dataclass(frozen=True, eq=False)
class Update:
    """A model near to a base, and what it takes to make the base's file into its own."""

    model: Model
    update_bytes: int  # of the package of changes
    package_bytes: int  # of the whole one
    changed: float  # the share of codes that are not the base's


def identity_of(base: Path) -> str:
    """Return by what a base folder is known, wherever it lies: the hash of its spec.

    Raises:
        EdgenetsError: it is not a model folder.
    """
    return sha256_bytes(read_bytes(base / SPEC))


def load_base(folder: Path, spec: Spec) -> Model:
    """Return a base for a model with such a spec.

    Raises:
        EdgenetsError: its net, labels or preparation are others, or it has no integers of an int8
            file, or float layers in it.
    """
    base = Model.load(folder)
    parts = {
        "net": (base.spec.name, base.spec.arguments) == (spec.name, spec.arguments),
        "labels": base.spec.labels == spec.labels,
        "preparation of images": base.spec.preparation == spec.preparation,
    }
    for part, same in parts.items():
        if not same:
            raise EdgenetsError(
                f"an update needs a base of the same {part}, {base} has another; pass the model "
                "folder of the file that the boards have"
            )
    weighted = {layer.name for layer in base.net.layers if kernel_axes(layer)}
    if base.codes is None or not base.codes.activations or weighted - base.kernels.keys():
        raise EdgenetsError(
            f"an update needs a base with all integers of its int8 file, {base} has not; pass what "
            "`edgenets compress --recipe int8` or another recipe that ends in int8 or rate made"
        )
    if base.spec.keep_float:
        raise EdgenetsError(
            f"an update needs a base without float layers, {base} keeps "
            f"{', '.join(base.spec.keep_float)}; compress a base without keep_float"
        )
    return base


def settle_near(base: Model, spec: Spec, moved: Moved, budget: int | None) -> Update:
    """Return the model after a training from a base, some of its codes returned if they must.

    Args:
        base: of `load_base`.
        spec: of the model.
        moved: by the training.
        budget: of the update, in bytes; None for no limit.

    Raises:
        EdgenetsError: it is larger even with all codes of kernels returned and few biases moved.
    """
    assert base.codes is not None  # `load_base` checked it
    codes, grids = base.codes, base.codes.activations
    old = file_for(base, GENERIC)

    def attempt(least_way: float, bias_part: float = BIAS_PARTS[0]) -> Update:
        net, kernels = moved.settled(grids, least_way, bias_part)
        model = Model(net, spec, codes._replace(kernels=kernels))
        content = file_for(model, GENERIC)
        changed = _changed(kernels, base.kernels)
        update = Update(model, len(pack(content, base=old)), len(pack(content)), changed)
        say(
            f"with {changed:.2%} of the codes changed an update takes {update.update_bytes:,} "
            f"bytes, the whole package {update.package_bytes:,}"
        )
        return update

    found = attempt(LEAST_WAY)
    if budget is None or found.update_bytes <= budget:
        return found
    ways = moved.ways
    for bias_part in BIAS_PARTS:
        within = attempt(np.inf, bias_part)
        if within.update_bytes <= budget:
            break
    else:
        raise EdgenetsError(
            f"an update without a changed code, of few biases and what the file says of itself, "
            f"takes {within.update_bytes:,} bytes, which is over {budget:,}; pass a larger budget"
        )
    beyond, few, many = found, 0, len(ways)
    for _ in range(MOST_TRIES - 2):
        if within.update_bytes >= (1 - NEAR) * budget or many - few < 2:
            break
        room = (1 - NEAR / 2) * budget - within.update_bytes
        part = np.clip(room / (beyond.update_bytes - within.update_bytes), 0.05, 0.95)
        count = int(np.clip(few + part * (many - few), few + 1, many - 1))
        found = attempt(float(ways[count]), bias_part)
        if found.update_bytes <= budget:
            within, few = found, count
        else:
            beyond, many = found, count
    return within


def _changed(kernels: Mapping[str, KernelCodes], base: Mapping[str, KernelCodes]) -> float:
    changed = sum(np.count_nonzero(kernels[n].codes != base[n].codes) for n in base)
    return changed / sum(kernel.codes.size for kernel in base.values())
