"""What a point of a sweep costs, before it is trained: its net's figures and its untrained file's.

The file is the recipe's, written with first weights: pruned, shared and rounded as after training,
but without any. Its operators, and so its instructions and memory, are those of the final file; its
package is nearly as large. What `rate`, `near` and `slim` will do is not known before: with them
figures are bounds from above.
"""

from __future__ import annotations

from typing import Any

from edgenets import flatbuffer
from edgenets.export.formats import INT8
from edgenets.export.inspect.arena import arena_bytes
from edgenets.export.inspect.ethos_u.compiler import PACKAGE as VELA
from edgenets.export.lower.lower import lower
from edgenets.export.lower.rewriting import CodedModel
from edgenets.export.measure.instructions import count_contents
from edgenets.export.measure.promises import random_images
from edgenets.export.metadata import with_description
from edgenets.export.targets import Target
from edgenets.export.write import tflite
from edgenets.models.backend import keras
from edgenets.models.codes import Codes
from edgenets.models.fold import fold_batch_norm
from edgenets.models.folder import Model, weights_sha256
from edgenets.packages import installed_version
from edgenets.pipeline.figures import compile_net
from edgenets.pipeline.sweep.constraints import AT_MOST
from edgenets.profile import profile
from edgenets.quantize.budget.choice import MOST_CLUSTERS, Choice, Option
from edgenets.quantize.budget.sensitivity import compress_untrained
from edgenets.quantize.layers import kernel_axes, override_for, prunable_layers
from edgenets.quantize.recipe import Recipe
from edgenets.quantize.settings import PruneSettings, ShareSettings
from edgenets.quantize.sizes.counts import stored_bytes
from edgenets.quantize.stages.prune import sparsity_of

CODED = ("stored_bytes", "cycles")
MADE_SMALLER = {
    "rate": CODED,
    "near": CODED,
    "slim": (*CODED, "size_bytes", "arena_bytes", "params", "macs", "instructions"),
}
"""The figures that a stage makes smaller, by how much only its work says."""


def count_untrained(
    model: Model, recipe: Recipe, target: Target, *, instructions: bool
) -> dict[str, Any]:
    """Return the figures of an untrained model, and of the file that a recipe makes of it.

    Args:
        model: as its training begins.
        recipe: what it goes through.
        target: device that the file is for.
        instructions: whether they are counted, on the emulated board.

    Returns:
        params, macs, what `count_file` returns, and `AT_MOST`.
    """
    cost = profile(model.net)
    return {
        AT_MOST: sorted({key for stage in recipe for key in MADE_SMALLER.get(stage.stage, ())}),
        "params": cost.params,
        "macs": cost.macs,
        **count_file(untrained_file(model, recipe, target), target, instructions=instructions),
    }


def count_file(content: bytes, target: Target, *, instructions: bool) -> dict[str, Any]:
    """Return a file's figures: its sizes and activations, and what a device takes to run it.

    `instructions` are None unless they are asked for and the target has an emulated core, `cycles`
    unless it is an Ethos-U and Vela is installed.
    """
    counted, cycles = None, None
    if instructions and target.cpu is not None:
        counted = count_contents({"net": content}, target.cpu)["net"]
    if target.accelerator == "ethos_u" and installed_version(VELA):
        cycles = int(compile_net(content, target).estimates["cycles"])
    return {
        "stored_bytes": stored_bytes(content),
        "size_bytes": len(content),
        "arena_bytes": arena_bytes(flatbuffer.read(content)),
        "instructions": counted,
        "cycles": cycles,
    }


def untrained_file(model: Model, recipe: Recipe, target: Target) -> bytes:
    """Return the int8 file that a recipe makes of a model if nothing is trained."""
    folded = fold_batch_norm(model.net)
    kernels = compress_untrained(model.net, folded, _choice(model.net, folded, recipe))
    net = lower(CodedModel(folded, Codes(kernels, {})), target, INT8)
    noise = random_images(folded.input_shape[1], tflite.PLACEHOLDERS)
    file = tflite.to_format(INT8, net.model, model.spec, noise, net.codes)
    named = with_description(file, model.spec, weights_sha256(model.net), names=target.names)
    return named.content


def _choice(net: keras.Model, folded: keras.Model, recipe: Recipe) -> Choice:
    """Return how far a recipe prunes and shares each kernel."""
    prune = next((stage for stage in recipe if isinstance(stage, PruneSettings)), None)
    share = next((stage for stage in recipe if isinstance(stage, ShareSettings)), None)
    sparsities = (
        {layer.name: sparsity_of(layer, prune) for layer in prunable_layers(net)} if prune else {}
    )
    clusters = {
        layer.name: (override_for(layer.name, share.layers) or share).clusters
        if share
        else MOST_CLUSTERS
        for layer in folded.layers
        if kernel_axes(layer)
    }
    return {name: Option(sparsities.get(name, 0.0), k, 0, 0) for name, k in clusters.items()}
