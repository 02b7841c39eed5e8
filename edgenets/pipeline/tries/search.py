"""`edgenets compress --max-drop`: of many recipes the one that is smallest, or fastest.

Candidates are compressed like by any other recipe, but measured on held-out training images: those
by which best epochs are chosen. Only what is chosen is measured on the test images. Each candidate
has a folder of its own, and takes the stages that it has in common with another one from there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from edgenets.errors import DivergedError, EdgenetsError, UnfaithfulError
from edgenets.files import locked_folder, sha256_json
from edgenets.folders import copy_folder
from edgenets.models.folder import Model
from edgenets.models.operator_costs import TARGET_CORES
from edgenets.pipeline.compress import (
    STAGES,
    keep_result,
    open_images_of,
    require_place,
    run_recipe,
)
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.output import check_outputs
from edgenets.pipeline.stages.inputs import HeldOutImages
from edgenets.pipeline.stages.places import StageRecord
from edgenets.pipeline.tries.candidates import (
    BEYOND,
    Row,
    candidates,
    words_of,
)
from edgenets.pipeline.tries.measured import front_of_tries, row_of, with_test_accuracy
from edgenets.pipeline.tries.objectives import OBJECTIVES
from edgenets.pipeline.tries.page import PAGE, write_page
from edgenets.progress import say
from edgenets.quantize.recipe import Recipe
from edgenets.quantize.settings import SlimSettings
from edgenets.quantize.slim.choice import instructions_range
from edgenets.quantize.slim.cost import estimate_net
from edgenets.results.models import CompressTry

USUAL_TARGET = "rpi4"


def compress_within_drop(
    model: Model,
    config: RunConfig,
    max_drop: float,
    out: Path,
    log_dir: Path | None = None,
    *,
    objective: str = "size",
    target: str = USUAL_TARGET,
    most_tries: int | None = None,
    hours: float | None = None,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Compress a model as far as it loses at most `max_drop` points of top-1.

    Args:
        model: a trained one without shared weights, left as it is.
        config: images and seed; its recipe has no part in it.
        max_drop: in points, 1 point being 1 % of the held-out images.
        out: will hold what `compress` leaves there, and `tries.html`.
        log_dir: the trainings of each try write events for TensorBoard into a subfolder.
        objective: of `OBJECTIVES`: the fewest "size" or, for "speed", instructions on the target.
        target: of `operator_costs.TARGET_CORES`.
        most_tries: how many recipes are tried at most; for size quick ones are first.
        hours: after which no more tries are begun.
        epochs: of each training; by default as suits the images.

    Returns:
        As `compress`, and `tries`, as `CompressTry` has them; `front` and `chosen`, indices of
        them; `refused`, sentences on recipes whose files were not kept; `objective`, `target`,
        `max_drop`; `before`: the model as it was, on the same images.

    Raises:
        EdgenetsError: no try lost so little, or the net's speed cannot be estimated. As `compress`
            otherwise.
    """
    with locked_folder(out):
        search = _Search(model, config, max_drop, out, log_dir, objective, target, epochs)
        search.try_all(most_tries, None if hours is None else 3600 * hours)
        return search.keep(search.require_best())


class _Try(NamedTuple):
    """What a recipe made of the model, and its row in the result."""

    recipe: Recipe
    stages: Path
    records: list[StageRecord]
    row: CompressTry


class _Search:
    """What was tried so far, each in a folder below `out`."""

    def __init__(
        self,
        model: Model,
        config: RunConfig,
        max_drop: float,
        out: Path,
        log_dir: Path | None,
        objective: str,
        target: str,
        epochs: int | None,
    ) -> None:
        require_place(out, searching=True)
        check_outputs(out, (PAGE,), ())
        if model.codes:
            raise EdgenetsError(
                f"{model} has shared weights already; pass the model that it was made of"
            )
        self.model, self.max_drop, self.out, self.log_dir = model, max_drop, out, log_dir
        self.word, self.target, self.objective = objective, target, OBJECTIVES[objective]
        self.instructions, most_speedup = self._speeds()
        self.images = open_images_of(model, config)
        self.held_out = HeldOutImages(self.images.dataset, self.images.preparation, config)
        count = len(self.held_out.training.images)
        self.table = candidates(self.objective, count, target, most_speedup, epochs)
        self.found: dict[str, int] = {}  # by row, the strongest step within its loss, or -1
        self.tries: list[_Try] = []
        self.refused: list[str] = []  # why, of recipes whose files came out too unlike the net

    def _speeds(self) -> tuple[int | None, float]:
        """Return the instructions of the model as it is, and how much faster it can become."""
        try:
            now, least = instructions_range(self.model.net, TARGET_CORES[self.target])
        except EdgenetsError as error:
            if self.word == "speed":
                raise
            say(f"no recipe with slim is tried: {error}")
            return None, 1.0
        return round(now), now / least

    def try_all(self, most_tries: int | None, seconds: float | None = None) -> None:
        """Try recipes row by row, in each by bisection, and begin none after so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds

        def may_begin() -> bool:
            begun = len(self.tries) + len(self.refused)
            within = most_tries is None or begun < most_tries
            return within and (end is None or time.monotonic() < end or not begun)

        for name in self.objective.order:
            row = self.table[name]
            recipes = self._recipes(row)
            if not self._may_win(recipes.values()):
                recipes = {}
            steps = list(recipes)
            within, beyond = -1, len(steps)
            while beyond - within > 1 and may_begin():
                middle = (within + beyond) // 2
                made = self.attempt(recipes[steps[middle]])
                if made and _holds(made.row, row.share * self.max_drop):
                    within = middle
                else:
                    beyond = middle
            self.found[name] = steps[within] if within >= 0 else -1

    def _recipes(self, row: Row) -> dict[int, Recipe]:
        """Return the recipes of a row that may be tried, by their steps."""
        steps: Iterable[int] = range(len(row.steps))
        before: Recipe = ()
        if row.beyond:
            last = len(row.steps) - 1
            steps = dict.fromkeys(min(self.found[row.beyond] + more, last) for more in BEYOND)
        if row.after:
            if (found := self.found[row.after]) < 0:
                return {}
            before = self.table[row.after].steps[found][:-1]
        return {i: (*before, *row.steps[i]) for i in steps}

    def _may_win(self, recipes: Iterable[Recipe]) -> bool:
        """Tell whether recipes may be better than the best one: only `slim` makes a net faster."""
        best = self.best()
        if best is None or self.word != "speed" or best.row.instructions == self.instructions:
            return True
        return any(isinstance(stage, SlimSettings) for recipe in recipes for stage in recipe)

    def attempt(self, recipe: Recipe) -> _Try | None:
        """Do what is missing of a recipe, and measure what it made; None: it made nothing."""
        words = words_of(recipe)
        say(f"trying {words}")
        settings = [stage.model_dump(mode="json") for stage in recipe]
        name = re.sub(r"[^0-9a-z.]+", "-", f"{words} {sha256_json(settings)[:8]}")
        stages = self.out / STAGES / name
        shared = self._take_over(recipe, stages)
        log_dir = self.log_dir and self.log_dir / name
        try:
            records = run_recipe(self.model, self.held_out, recipe, stages, log_dir)
        except (UnfaithfulError, DivergedError) as error:
            say(f"{words} counts as a recipe that loses too much: {error}")
            self.refused.append(f"{words}: {error}")
            return None
        row = row_of(
            recipe,
            records,
            instructions=self._instructions_of(stages / records[-1].folder),
            seconds=sum(record.seconds for record in records[shared:]),
        )
        made = _Try(recipe, stages, records, row)
        self.tries.append(made)
        say(
            f"try {len(self.tries)}: {row.stored_bytes:,} bytes when it travels; it loses "
            f"{row.drop:.2f} points on the held-out images, {self.max_drop:g} may be lost"
        )
        return made

    def _take_over(self, recipe: Recipe, stages: Path) -> int:
        """Copy the stages that an earlier try has, too, and return how many these are."""

        def common(made: _Try) -> int:
            pairs = list(zip(recipe, made.recipe, strict=False))
            return next((i for i, (own, its) in enumerate(pairs) if own != its), len(pairs))

        if not self.tries:
            return 0
        nearest = max(self.tries, key=common)
        shared = nearest.records[: 1 + common(nearest)]  # the first stage is the model as it was
        for record in shared:
            if not (stages / record.folder).exists():
                copy_folder(nearest.stages / record.folder, stages / record.folder)
        return len(shared)

    def _instructions_of(self, folder: Path) -> int | None:
        if self.instructions is None:
            return None
        return estimate_net(Model.load(folder).net, TARGET_CORES[self.target])

    def best(self) -> _Try | None:
        """Return the best try so far of those that lose little enough."""
        return min(
            (made for made in self.tries if _holds(made.row, self.max_drop)),
            key=lambda made: tuple(getattr(made.row, key) or 0 for key in self.objective.figures),
            default=None,
        )

    def require_best(self) -> _Try:
        """Return the best try.

        Raises:
            EdgenetsError: there is none; the message names the nearest.
        """
        if (best := self.best()) is not None:
            return best
        if not self.tries:
            raise EdgenetsError(
                f"none of the recipes that were tried makes a file that answers as the net does "
                f"({self.refused[0]}); try more of them, or train the net longer"
            )
        nearest = min((made.row for made in self.tries), key=lambda row: row.drop)
        tried = "the one recipe" if len(self.tries) == 1 else f"the {len(self.tries)} recipes"
        raise EdgenetsError(
            f"{tried} that may be tried lose more than {self.max_drop:g} points on the held-out "
            f"images, least of all {nearest.recipe}, which loses {nearest.drop:.2f}; pass "
            f"--max-drop {ceil(100 * nearest.drop) / 100:g}, or more --epochs"
        )

    def keep(self, best: _Try) -> dict[str, Any]:
        """Make the model folder of a try, and return what was measured."""
        rows = [made.row.to_json() for made in self.tries]
        before = self.tries[0].records[0].measured
        more = {
            "tries": rows,
            "refused": self.refused,
            "front": front_of_tries(rows),
            "chosen": self.tries.index(best),
            "objective": self.word,
            "target": self.target,
            "max_drop": self.max_drop,
            "before": {
                **{key: before[key] for key in ("top1", "ci95", "samples")},
                "instructions": self.instructions,
            },
        }
        records = [with_test_accuracy(self.images, best.stages, record) for record in best.records]
        write_page(more, records[-1].measured, self.out)
        result = keep_result(self.out, best.stages, records, best.recipe, self.images, **more)
        rmtree(self.out / STAGES)
        return result


def _holds(row: CompressTry, max_drop: float) -> bool:
    return row.drop <= max_drop + 1e-9
