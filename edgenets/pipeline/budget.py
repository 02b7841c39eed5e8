"""`edgenets compress --budget`: a recipe that says for each layer how far it goes.

A sensitivity scan gives the choices worth having, from no compression to the most. How many bytes a
choice takes when it travels is measured on its draft, the int8 file that it gives without training.
Then its recipe is trained like any other, and the file that comes out of that is what counts.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from math import ceil
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from edgenets.errors import EdgenetsError
from edgenets.files import locked_folder, read_sealed, write_bytes, write_sealed
from edgenets.folders import copy_folder
from edgenets.models.folder import Model, weights_sha256
from edgenets.pipeline.compress import (
    STAGES,
    keep_result,
    open_images_of,
    require_place,
    run_recipe,
)
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.draft import Drafts
from edgenets.pipeline.figures import STORED, Figure
from edgenets.pipeline.keys import key_of
from edgenets.pipeline.stages.places import StageRecord
from edgenets.progress import say
from edgenets.quantize.budget.choice import Choice, trade_offs
from edgenets.quantize.budget.sensitivity import CLUSTERS, SPARSITIES, Sensitivity, scan
from edgenets.quantize.budget.sensitivity_plot import draw_sensitivity
from edgenets.quantize.recipe import Recipe
from edgenets.training.settings import FitSettings

SENSITIVITY, PLOT = "sensitivity.json", "sensitivity.svg"
SCAN_IMAGES = 256
GROWTH = 1.01  # how much larger than its draft a file is expected to become by training
BUDGET_TRIES = 3
# Figure -> what JSON calls its budget.
BUDGET_KEYS = {
    "stored_bytes": "budget_bytes",
    "cycles": "budget_cycles",
    "flash_bytes": "budget_flash_bytes",
}


def compress_to_budget(
    model: Model,
    config: RunConfig,
    budget: int,
    out: Path,
    log_dir: Path | None = None,
    figure: Figure = STORED,
) -> dict[str, Any]:
    """Compress a model so that a figure of its int8 file is at most `budget`.

    Args:
        model: a trained one without shared weights, left as it is.
        config: images, seed and recipe; the recipe's sparsities and shared values are replaced by
            chosen ones.
        budget: for the figure.
        out: will hold what `compress` leaves there, `sensitivity.json` and
            `sensitivity.svg`.
        log_dir: the trainings of each try write events for TensorBoard into a subfolder.
        figure: what is bounded; by default the bytes of the file as it travels.

    Returns:
        As `compress`, and `choice`: what was chosen for each layer; `tries`: the figure of each
        one; of an NPU's figure, its `target`.

    Raises:
        EdgenetsError: the budget cannot be reached; the message says what can be. As
            `compress` otherwise.
    """
    with locked_folder(out):
        search = _Search(model, config, out, log_dir, figure)
        limit, least = budget / GROWTH, search.draft(-1)
        if least > limit:
            raise EdgenetsError(
                f"{search.spec.name} cannot be compressed to {budget:,} {figure.unit}: with as few "
                f"weights and values as possible, its file takes {least:,}; pass a budget of "
                f"{ceil(GROWTH * least)} or more"
            )
        tries: list[_Try] = []
        while len(tries) < BUDGET_TRIES and least <= limit:
            tries.append(search.attempt(len(tries) + 1, search.largest_within(limit)))
            last = tries[-1]
            if last.figure <= budget:
                described = [{figure.key: each.figure} for each in tries]
                asked = BUDGET_KEYS[figure.key]
                on = {} if figure == STORED else {"target": figure.target.name}
                return search.keep(last, tries=described, **{asked: budget}, **on)
            limit = last.draft * budget / last.figure / GROWTH
        raise EdgenetsError(
            f"{search.spec.name} was trained {len(tries)} times for {budget:,} {figure.unit} and "
            f"still takes {tries[-1].figure:,}; pass a larger budget"
        )


def with_epochs(config: RunConfig, epochs: int) -> RunConfig:
    """Return the config with so many epochs in each stage of its recipe that trains."""
    stages = [
        stage.model_copy(update={"epochs": epochs}) if isinstance(stage, FitSettings) else stage
        for stage in config.compress
    ]
    return config.model_copy(update={"compress": tuple(stages)})


class _Try(NamedTuple):
    """A choice, and what its recipe made of the model."""

    choice: Choice
    recipe: Recipe
    draft: int  # the figure before training
    figure: int  # and after it
    stages: Path
    records: list[StageRecord]

    @property
    def folder(self) -> Path:
        """The model folder that its last stage made."""
        return self.stages / self.records[-1].folder


class _Search:
    """What can be chosen for a model, and the tries, each in a folder below `out`."""

    def __init__(
        self,
        model: Model,
        config: RunConfig,
        out: Path,
        log_dir: Path | None,
        figure: Figure = STORED,
    ) -> None:
        require_place(out, searching=True)
        self.figure = figure
        self.model, self.spec, self.out, self.log_dir = model, model.spec, out, log_dir
        if model.codes:
            raise EdgenetsError(
                f"{model} has shared weights already; pass the model that it was made of"
            )
        self.images = open_images_of(model, config)
        self.drafts = Drafts(model, self.images, config.compress)
        self.sensitivity = self._scan()
        self.choices = trade_offs(
            {
                name: [each for each in layer.options if figure.may_share(each.clusters)]
                for name, layer in self.sensitivity.items()
            }
        )
        self.draft = cache(lambda i: self.drafts.figure(self.choices[i], figure))

    def largest_within(self, limit: float) -> int:
        """Return the number of the largest choice whose draft takes at most `limit`."""
        last = len(self.choices) - 1
        return bisect_left(range(last), True, key=lambda i: self.draft(i) <= limit)

    def attempt(self, number: int, index: int) -> _Try:
        """Train the recipe of a choice; stages that an earlier try has too are taken from there."""
        choice = self.choices[index]
        recipe = self.drafts.recipe(choice)
        stages, earlier = (self.out / STAGES / f"try-{n}" for n in (number, number - 1))
        before = f"{self.draft(index):,} {self.figure.unit} before training"
        say(f"try {number}: {_describe(choice)}, {before}")
        write_bytes(self.out / PLOT, draw_sensitivity(self.sensitivity, choice))
        if earlier.exists() and not stages.exists():
            copy_folder(earlier, stages)
        log_dir = self.log_dir and self.log_dir / stages.name
        records = run_recipe(self.model, self.images, recipe, stages, log_dir)
        if self.figure == STORED:
            made: int = records[-1].measured["stored_bytes"]
        else:
            made = self.figure.of_model(Model.load(stages / records[-1].folder))
            say(f"try {number}: {made:,} {self.figure.unit} after training")
        return _Try(choice, recipe, self.draft(index), made, stages, records)

    def keep(self, kept: _Try, **more: Any) -> dict[str, Any]:
        """Make the model folder of a try and return what was measured."""
        rows = [
            {"layer": name, "weights": self.sensitivity[name].weights, **option._asdict()}
            for name, option in kept.choice.items()
        ]
        write_bytes(self.out / PLOT, draw_sensitivity(self.sensitivity, kept.choice))
        result = keep_result(
            self.out, kept.stages, kept.records, kept.recipe, self.images, choice=rows, **more
        )
        rmtree(self.out / STAGES)
        return result

    def _scan(self) -> dict[str, Sensitivity]:
        """Measure the sensitivity, or read what was measured of the same model and images."""
        config = self.images.config
        key = key_of(
            self.images.dataset.fingerprint,
            weights=weights_sha256(self.model.net),
            validation=[config.data.validation_fraction, config.seed, SCAN_IMAGES],
            options=[self.drafts.prunable, SPARSITIES, CLUSTERS],
        )
        if (found := _read_sensitivity(self.out / SENSITIVITY, key)) is None:
            say("measuring the sensitivity of each layer ...")
            images = self.images.validation(SCAN_IMAGES)
            found = scan(self.model.net, images, self.drafts.prunable)
            layers = {name: layer.model_dump(mode="json") for name, layer in found.items()}
            write_sealed(self.out / SENSITIVITY, {"key": key, "layers": layers})
        return found


def _read_sensitivity(path: Path, key: str) -> dict[str, Sensitivity] | None:
    """Return what an earlier command measured under `key`."""
    try:
        stored = read_sealed(path)
        layers = {n: Sensitivity.model_validate(s) for n, s in stored["layers"].items()}
        return layers if stored["key"] == key else None
    except (EdgenetsError, KeyError, TypeError, AttributeError, ValueError):  # missing or damaged
        return None


def _describe(choice: Choice) -> str:
    """Return the extremes of a choice in words."""
    sparsities = [100 * option.sparsity for option in choice.values()]
    clusters = [option.clusters for option in choice.values()]
    return (
        f"{min(sparsities):.0f} to {max(sparsities):.0f} % zeros, {min(clusters)} to "
        f"{max(clusters)} values by layer"
    )
