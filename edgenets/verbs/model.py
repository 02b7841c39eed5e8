"""Trained models and what is done with them: `load` and `Model`.

The class `Model` here is the public one: a thin object around what a model folder holds
(`edgenets.models.folder.Model`), with the verbs. That one stands below the rooms whose work the
verbs are, and cannot call them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenets.data.splits import CALIBRATION_IMAGES
from edgenets.errors import EdgenetsError
from edgenets.results.accuracy import Evaluation
from edgenets.results.models import CompressRecord, ImportRecord, TrainRecord
from edgenets.results.result import html_table
from edgenets.verbs.arguments import (
    PathOrName,
    Size,
    bounded_memory,
    folder_or_temporary,
    optional_path,
    require_one_of,
    shown,
    source_of,
    speaking_python,
    texts_of,
)
from edgenets.verbs.compressing import bounds_of, near_stages, slim_stage, with_budget
from edgenets.verbs.exporting import write_file
from edgenets.verbs.file import SPLITS, File, load_file

if TYPE_CHECKING:
    from edgenets.export.targets import Target
    from edgenets.export.write.checked_file import Compile
    from edgenets.models import folder as folders
    from edgenets.models.codes import Codes
    from edgenets.models.folder import Spec


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A net with its weights and what is known of it: what a model folder holds.

    ```python
    model = en.load("models/photos")
    small = model.compress("photos")
    file = small.export("photos.tflite", target="rpi4")
    ```

    `spec` is read at once, the net when it is first asked for: that loads TensorFlow.

    Attributes:
        spec: name, arguments, labels, image preparation and origin.
        folder: the model folder that it was loaded from or written to; None for none.
        record: what the training or compression that made it measured; None if it was loaded.
    """

    spec: Spec
    folder: Path | None = None
    record: TrainRecord | ImportRecord | CompressRecord | None = None

    def __post_init__(self) -> None:
        """Let the folder hold in any working directory."""
        if self.folder is not None:
            object.__setattr__(self, "folder", self.folder.absolute())

    @classmethod
    @speaking_python()
    def load(cls, folder: PathOrName) -> Model:
        """Return the model of a model folder.

        ```python
        en.Model.load("models/photos").spec.labels
        ```

        Raises:
            EdgenetsError: it is not a model folder, or its spec does not describe a known net.
        """
        from edgenets.models.folder import load_spec

        return cls(load_spec(Path(folder))[0], Path(folder))

    @property
    def net(self) -> Any:
        """The `tf_keras.Model`: RGB images in [-1, 1] to logits.

        Raises:
            EdgenetsError: the model folder was changed or damaged.
        """
        return self._content.net

    @property
    def codes(self) -> Codes | None:
        """The integers of its int8 file, after a compression; errors are those of `net`."""
        return self._content.codes

    @cached_property
    def _content(self) -> folders.Model:
        from edgenets.models import folder as folders

        if self.folder is None:
            raise EdgenetsError("this model has no folder to load its net from")
        content = folders.Model.load(self.folder)
        if content.spec != self.spec:
            raise EdgenetsError(f"{self.folder} holds another model than when it was loaded")
        return content

    @speaking_python()
    def save(self, out: PathOrName) -> Path:
        """Write a new model folder and return its path.

        ```python
        model.save("models/photos")
        ```

        Raises:
            EdgenetsError: it already holds a model, or cannot be written.
        """
        from edgenets.files import locked_folder

        folder = Path(out)
        with locked_folder(folder):
            self._content.save(folder)
        return folder

    @speaking_python()
    def compress(
        self,
        data: PathOrName,
        *,
        recipe: PathOrName | None = None,
        budget: Size | None = None,
        budget_cycles: int | None = None,
        budget_flash: Size | None = None,
        target: str | None = None,
        max_drop: float | None = None,
        objective: str | None = None,
        tries: int | None = None,
        hours: float | None = None,
        speedup: float | None = None,
        max_instructions: int | None = None,
        near: PathOrName | None = None,
        update_budget: Size | None = None,
        epochs: int | None = None,
        out: PathOrName | None = None,
        unlabelled: PathOrName | None = None,
        flip: bool | None = None,
        strict: bool = False,
        seed: int | None = None,
        log_dir: PathOrName | None = None,
    ) -> Model:
        """Slim, prune, share weights and quantize; the model itself stays as it is.

        ```python
        small = model.compress("photos")
        small = model.compress("photos", budget="300KB")
        small = model.compress("photos", max_drop=0.5, objective="speed", target="rpi4")
        small.record.stages[-1]["top1"]
        ```

        Args:
            data: the images that the model was trained on.
            recipe: a name ("deep-compression", "prune", "int8", ...) or a .yaml file with a list of
                stages; "deep-compression" if neither it nor one of the others is given.
            budget: choose zeros and values of each layer so that the file, packed, takes at most so
                much, such as "300KB"; with the recipe "rate" or "smallest", its price of a bit.
            budget_cycles, budget_flash: choose them so that the file, compiled by Vela for the
                Ethos-U `target`, takes at most so many cycles, or so much flash, by Vela's
                estimate; with the recipe "rate", its price of a bit.
            target: of these, such as "ethos-u55-128"; of `speedup`, `max_instructions` and
                `max_drop` rpi3, rpi4 or rpi5.
            max_drop: try recipes and take the best that loses at most so many points of top-1 on
                held-out images.
            objective: of `max_drop`: "size", the default, for the smallest file; "speed" for the
                fewest instructions on the `target`, then the smallest.
            tries: of `max_drop`: how many recipes at most; for size quick ones are first.
            hours: of `max_drop`: after which no more tries are begun.
            speedup: first remove channels until an inference is estimated to execute so many times
                fewer instructions on the `target`; then do the `recipe`, "int8" by default.
            max_instructions: the same, by the number of instructions.
            near: fine-tune from the codes of this model folder, so that the package of the changes
                to its file is small; the model says what the new one is to answer.
            update_budget: let that package take at most so much, such as "10KB".
            epochs: of each training, without a recipe.
            out: new model folder, in which an interrupted compression is kept and goes on.
            unlabelled: folder with more images to learn from.
            flip: whether images are mirrored; by default as suits them.
            strict: fail on a file that is not a readable image.
            seed: decides splits and the order of the images; by default the model's.
            log_dir: folder for TensorBoard's events.

        Returns:
            The smaller model, with the integers of its int8 file.

        Raises:
            EdgenetsError: the images do not fit, a budget or largest loss cannot be kept, or `out`
                holds a model.
        """
        bounds = bounds_of(
            recipe=recipe,
            budget=budget,
            budget_cycles=budget_cycles,
            budget_flash=budget_flash,
            target=target,
            max_drop=max_drop,
            objective=objective,
            tries=tries,
            hours=hours,
            speedup=speedup,
            max_instructions=max_instructions,
            near=near,
            update_budget=update_budget,
            epochs=epochs,
        )
        faster = slim_stage(speedup, max_instructions, target)
        from edgenets.pipeline.config import check_config, require_sources
        from edgenets.pipeline.config_file import load_recipe
        from edgenets.quantize.recipe import DEFAULT_RECIPE

        usual = "int8" if faster else DEFAULT_RECIPE
        named = usual if recipe is None else str(recipe)
        images: dict[str, Any] = {
            "source": source_of(data),
            "strict": strict,
            "flip": flip,
            "unlabelled": None if unlabelled is None else str(unlabelled),
        }
        split = self.spec.seeded_split
        if split:  # the images that it was tested on stay apart
            images["test_fraction"] = split.test_fraction
        usual_seed = split.seed if split else self.spec.seed
        values = {
            "model": self.spec.net,
            "data": images,
            "seed": usual_seed if seed is None else seed,
        }
        if near is None:
            config = load_recipe(named, values, faster)
            if bounds and recipe is not None:
                config, bounds = with_budget(config, bounds, target), {}
        else:
            values["compress"] = near_stages(near, update_budget, epochs)
            config = check_config(values, lambda place: f"--near {near}")
        require_sources(config)
        from edgenets.files import check_output
        from edgenets.pipeline.budget import compress_to_budget, with_epochs
        from edgenets.pipeline.compress import RECIPE, compress
        from edgenets.pipeline.figures import STORED, npu_figure
        from edgenets.pipeline.tries.search import USUAL_TARGET, compress_within_drop

        if epochs is not None and near is None:
            config = with_epochs(config, epochs)
        logs = optional_path(log_dir)
        with folder_or_temporary(out) as folder:
            check_output(folder / RECIPE, [Path(named)])
            if bounds:
                ((key, bound),) = bounds.items()
                figure = STORED if target is None else npu_figure(key, target)
                result = compress_to_budget(self._content, config, bound, folder, logs, figure)
            elif max_drop is not None:
                result = compress_within_drop(
                    *(self._content, config, max_drop, folder, logs),
                    objective=objective or "size",
                    target=target or USUAL_TARGET,
                    most_tries=tries,
                    hours=hours,
                    epochs=epochs,
                )
            else:
                result = compress(self._content, config, folder, logs)
            return written(folder, CompressRecord.from_json(result), keep=out is not None)

    @speaking_python()
    def export(
        self,
        out: PathOrName,
        *,
        target: str = "generic",
        format: str | None = None,
        data: PathOrName | None = None,
        calibration_images: int = CALIBRATION_IMAGES,
        seed: int = 0,
        keep_float: Sequence[str] | str = (),
        ends: str | None = None,
        float_ends: bool = False,
        softmax: bool = False,
        client: str | None = None,
        names: bool | None = None,
        compile: bool = False,
        allow_cpu_ops: bool = False,
        system_config: str | None = None,
        memory_mode: str | None = None,
        vela_config: PathOrName | None = None,
        tables: bool = True,
        max_bytes: Size | None = None,
    ) -> File:
        """Write the model as a checked `.tflite` file.

        ```python
        file = small.export("photos.tflite", target="rpi4")
        file.record.notes
        ```

        Args:
            out: the file, replaced if it exists; beside it stands what was verified, as JSON. For
                mcu a folder, in which they stand with C++ sources.
            target: device that the file is for, such as "rpi4" or "coral".
            format: "int8", "int16x8", "fp16", "dynamic" or "fp32"; by default int8, or fp32 where a
                pruned net runs faster so.
            data: images to calibrate integers with, which a compressed model needs none of.
            calibration_images: how many.
            seed: chooses them.
            keep_float: patterns of layers that an int8 file computes in float32.
            ends: what the file takes and gives: "float", "int8" or "uint8", the camera's bytes; by
                default as its format says.
            float_ends: the same as ends="float".
            softmax: give probabilities instead of logits.
            client: program that the file is for, such as "mediapipe": its ends, and probabilities.
            names: whether tensors keep their names; by default as target and format say.
            compile: for coral, run Google's edgetpu_compiler, too; for an Ethos-U Arm's Vela.
            allow_cpu_ops: keep a compiled file of which a part runs on the CPU.
            system_config, memory_mode: of an Ethos-U, names of what Vela's estimates are of; by
                default as the target says.
            vela_config: file with these, such as the board's maker gives; by default Vela's own.
            tables: for mcu, store kernels by lookup tables where that saves flash.
            max_bytes: memory that a file may take, such as "2GiB".

        Raises:
            EdgenetsError: target, format or images do not fit, or the file failed its checks.
        """
        from edgenets.export.ends import choose_ends

        path = Path(out)
        chosen = choose_ends(ends, float_ends=float_ends, softmax=softmax, client=client)

        def write(row: Target, compile_for: Compile | None) -> dict[str, Any]:
            from edgenets.pipeline.one_step import export

            return export(
                self._content,
                path,
                format,
                None if data is None else source_of(data),
                calibration_images,
                seed,
                tuple(texts_of(keep_float)),
                row,
                chosen,
                names,
                tables,
                compile_for=compile_for,
            )

        return write_file(
            write,
            path,
            target,
            format=format,
            calibration_images=calibration_images,
            compile=compile,
            allow_cpu_ops=allow_cpu_ops,
            system_config=system_config,
            memory_mode=memory_mode,
            vela_config=vela_config,
            tables=tables,
            client=chosen.client,
            max_bytes=max_bytes,
        )

    @speaking_python()
    def evaluate(
        self, data: PathOrName, *, split: str = "test", max_bytes: Size | None = None
    ) -> Evaluation:
        """Measure the accuracy on a dataset's test images, in Keras.

        ```python
        model.evaluate("photos").top1
        ```

        Args:
            data: folder with test/CLASS/*.jpg or CLASS/*.jpg, or the word "digits".
            split: "test", or "all" for every image, those to train with too.
            max_bytes: memory that a file may take, such as "2GiB".

        Raises:
            EdgenetsError: the images cannot be used, or are of other classes.
        """
        require_one_of("split", split, SPLITS)
        from edgenets.pipeline.one_step import evaluate

        with bounded_memory(max_bytes):
            result = evaluate(self._content, source_of(data), everything=split == "all")
        return Evaluation.from_json(result)

    def __repr__(self) -> str:
        place = f", folder={shown(self.folder)!r}" if self.folder else ""
        return f"<Model {self.spec.name}, {len(self.spec.labels)} labels{place}>"

    def _repr_html_(self) -> str:
        spec = self.spec
        origin = "train" if spec.is_trained else "random weights"
        lists = {
            "arguments": [f"{key}={value}" for key, value in spec.arguments.items()],
            "labels": spec.labels,
            "made by": [origin, *(str(stage["stage"]) for stage in spec.recipe)],
        }
        rows = [("net", spec.name), *((name, ", ".join(texts)) for name, texts in lists.items())]
        table = html_table(("", ""), rows)
        return table + (self.record._repr_html_() if self.record else "")


@speaking_python()
def load(path: PathOrName) -> Model | File:
    """Return the model of a model folder, or a `.tflite` file.

    ```python
    model = en.load("models/photos")
    file = en.load("photos.tflite")
    ```

    Type checkers, which cannot tell the two apart, are helped by `en.Model.load` and `en.File`.

    Raises:
        EdgenetsError: it is neither.
    """
    place = Path(path)
    try:
        is_folder = place.is_dir()
    except OSError:  # such as a name that is too long, which reading says
        is_folder = False
    return Model.load(place) if is_folder else load_file(place)


def written(
    folder: Path, record: TrainRecord | ImportRecord | CompressRecord, *, keep: bool
) -> Model:
    """Return the model that was written to `folder`, loaded now if that will not stay."""
    model = Model.load(folder)
    if keep:
        return Model(model.spec, folder, record)
    made = Model(model.spec, None, record)
    made.__dict__["_content"] = replace(model._content, folder=None)  # which cannot be loaded later
    return made
