"""What a budget bounds of an int8 file: bytes that travel, or what an NPU takes to run it.

Cycles and flash are estimates of the NPU's compiler, which is run for each file that is considered.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgenets.errors import EdgenetsError
from edgenets.export.formats import INT8
from edgenets.export.inspect.ethos_u.compiler import Outcome, compile_content, find_system
from edgenets.export.lower.lower import lower
from edgenets.export.lower.rewriting import CodedModel
from edgenets.export.metadata import with_description
from edgenets.export.targets import GENERIC, Target, compiled_targets, find_target
from edgenets.export.write import tflite
from edgenets.models.folder import Model, weights_sha256
from edgenets.quantize.budget.choice import MOST_CLUSTERS
from edgenets.quantize.recipe import Recipe
from edgenets.quantize.settings import ShareSettings
from edgenets.quantize.sizes.counts import stored_bytes


class Figure(NamedTuple):
    """A figure of an int8 file that a budget bounds.

    Attributes:
        key: what JSON calls it: "stored_bytes", or of an NPU "cycles" or "flash_bytes".
        target: in whose form the file is written.
    """

    key: str = "stored_bytes"
    target: Target = GENERIC

    @property
    def unit(self) -> str:
        """What it counts in, for sentences."""
        return {
            "stored_bytes": "bytes when it travels",
            "cycles": f"cycles on {self.target.name}",
            "flash_bytes": f"bytes of flash on {self.target.name}",
        }[self.key]

    def may_share(self, clusters: int) -> bool:
        """Tell whether a kernel may be left so many values: all, or what the target codes well."""
        return clusters == MOST_CLUSTERS or clusters <= (self.target.palette or clusters)

    def of_file(self, content: bytes) -> int:
        """Return the figure of a file.

        Raises:
            EdgenetsError: the compiler fails, or leaves operators on the CPU.
        """
        if self.key == "stored_bytes":
            return stored_bytes(content)
        figure: int = compile_net(content, self.target).estimates[self.key]
        return figure

    def of_model(self, model: Model) -> int:
        """Return the figure of the file of a model whose `codes` are complete."""
        return self.of_file(file_for(model, self.target))


STORED = Figure()


def file_for(model: Model, target: Target) -> bytes:
    """Return the int8 file of a model whose `codes` are complete, in a target's form."""
    net = lower(CodedModel(model.net, model.codes), target, INT8)
    file = tflite.to_format(INT8, net.model, model.spec, None, net.codes)
    described = with_description(file, model.spec, weights_sha256(model.net), names=target.names)
    return described.content


def compile_net(content: bytes, target: Target) -> Outcome:
    """Return what an NPU's compiler makes of a file that is not written yet.

    Raises:
        EdgenetsError: the compiler fails, or leaves operators on the CPU.
    """
    return compile_content(content, Path("net.tflite"), target)


def npu_figure(key: str, target: str) -> Figure:
    """Return a figure of the NPU `target`: its "cycles" or "flash_bytes".

    Raises:
        EdgenetsError: there is no such target, it has no compiler that estimates, or that compiler
            is not installed.
    """
    row = find_target(target)
    if row.accelerator != "ethos_u":
        known = ", ".join(compiled_targets("ethos_u"))
        raise EdgenetsError(
            f"what a file takes is estimated for {known}, not for {target}; pass one of them"
        )
    find_system(row)
    return Figure(key, row)


def palette_note(recipe: Recipe, target: Target) -> str | None:
    """Return what there is to say of a recipe that shares more values than a target codes well."""
    kept = [
        clusters
        for stage in recipe
        if isinstance(stage, ShareSettings)
        for clusters in (stage.clusters, *(other.clusters for other in stage.layers.values()))
    ]
    if target.palette is None or max(kept, default=0) <= target.palette:
        return None
    return (
        f"share keeps up to {max(kept)} values in a kernel; {target.name} stores {target.palette} "
        f"well, and one more takes an eighth more; set clusters to {target.palette} or fewer"
    )
