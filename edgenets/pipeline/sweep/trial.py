"""One trial of a sweep: a point that is counted, trained for a while, and run to its end.

Each is a run folder for each target, in the trial's folder, and goes on from there however it was
interrupted. Whatever is trained is trained once: the run for another target takes its stages over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgenets.export.targets import find_target
from edgenets.files import read_bytes, read_sealed, write_bytes
from edgenets.folders import copy_folder
from edgenets.models.backend import keras
from edgenets.models.folder import Model
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.config_file import dump_config, load_config
from edgenets.pipeline.run import CONFIG, RECORD, STAGES, run
from edgenets.pipeline.stages.compress import check_recipe
from edgenets.pipeline.stages.inputs import open_training
from edgenets.pipeline.stages.places import INT8_FILE
from edgenets.pipeline.stages.train import initial_model
from edgenets.pipeline.sweep.constraints import FIGURES
from edgenets.pipeline.sweep.counting import count_file, count_untrained
from edgenets.pipeline.sweep.space import Point, SweepConfig, run_config
from edgenets.profile import profile
from edgenets.results.report import Report
from edgenets.training.fit import Paused

Row = dict[str, Any]
"""What is known of a point's file for one target, as JSON."""
TRAINED, TRAINING = "01-train", ".01-train.partial"
"""The first stage, done and while it is done."""
OF_A_TARGET = ("-export", "-benchmark")
"""How the folders of stages end that differ from target to target."""


def count_trial(config: SweepConfig, point: Point) -> list[Row]:
    """Return a point's figures for each target, before it is trained.

    Raises:
        EdgenetsError: the net cannot be built or exported, or something that counts fails.
    """
    images, initial = open_training(run_config(config, point, config.targets[0]))
    model = initial_model(images.config, initial, images.dataset.classes)
    check_recipe(model, images.config.compress)
    rows = [
        {
            "target": name,
            **count_untrained(
                model,
                images.config.compress,
                find_target(name),
                instructions=counts_instructions(config),
            ),
        }
        for name in config.targets
    ]
    keras.backend.clear_session()
    return rows


def train_trial(config: SweepConfig, point: Point, folder: Path, target: str, part: float) -> Row:
    """Train a point's net for a part of its epochs, or go on as far.

    Args:
        config, point, folder: of the sweep, of its trial, and the trial's.
        target: of the run that is begun.
        part: of the epochs.

    Returns:
        score: its best accuracy on held-out images so far, less a thousandth of the loss.
        epochs: how many it was trained for.

    Raises:
        EdgenetsError: the training failed.
    """
    history: dict[str, list[float]] = {}
    try:
        run(run_config(config, point, target), folder / target, pause=part)
    except Paused as paused:
        history = paused.history
    keras.backend.clear_session()
    scores = zip(history["validation_accuracy"], history["validation_loss"], strict=True)
    return {
        "score": max(accuracy - 1e-3 * loss for accuracy, loss in scores),
        "epochs": _epochs(history),
    }


def finish_trial(
    config: SweepConfig, point: Point, folder: Path, targets: Sequence[str]
) -> list[Row]:
    """Run a point to its end for each target; return what was measured.

    Args:
        config, point, folder: of the sweep, of its trial, and the trial's.
        targets: the first is the one that the net was trained for so far.

    Returns:
        For each target what `count_trial` returns, of the final file; `top1`, `ci95`, `samples` and
        `right` of the test images; `top1_drop`, points lost against the float net; `held_out`, the
        accuracy by which its last training chose; `epochs` of all trainings and `train_epochs` of
        the first one; and `run`, the folder in that of the sweep.

    Raises:
        EdgenetsError: a stage failed.
    """
    rows = []
    for target in targets:
        own = folder / target
        if target != targets[0]:
            _take_over(folder / targets[0], target)
        report = run(run_config(config, point, target), own)
        rows.append(_measured(config, report, own, target))
        keras.backend.clear_session()
    return rows


def take_training(other: Path, config: RunConfig, run_folder: Path) -> None:
    """Give a run the training, as far as it has come, of another trial of the same net.

    `run` checks that it is the one that it would do.

    Args:
        other: folder of the other trial, which is ahead and not worked on.
        config: of the run.
        run_folder: whose training is not at its end.
    """
    found = [path for name in (TRAINED, TRAINING) for path in other.glob(f"*/{STAGES}/{name}")]
    if found and not (run_folder / STAGES / TRAINED).exists():
        if not (run_folder / CONFIG).exists():  # first: without one, `run` refuses the stages
            recorded = load_config(found[0].parents[1] / CONFIG).train  # what `auto` stands for
            own = config.model_copy(update={"train": recorded})
            write_bytes(run_folder / CONFIG, dump_config(own).encode())
        copy_folder(found[0], run_folder / STAGES / found[0].name)


def counts_instructions(config: SweepConfig) -> bool:
    """Return whether a sweep asks for instructions, which take seconds of emulation to count."""
    asked = [*(bound.figure for bound in config.bounds), *config.costs]
    return FIGURES["instructions"] in asked


def _measured(config: SweepConfig, report: Report, folder: Path, target: str) -> Row:
    first, last = report.stages[0], report.stages[-1]
    content = read_bytes(folder / INT8_FILE)
    counted = count_file(content, find_target(target), instructions=counts_instructions(config))
    histories = [stage.history for stage in report.stages if stage.history]
    exported = next((folder / STAGES).glob("*-export"))
    net = {key: report.model[key] for key in ("params", "macs")}
    for slimmed in sorted((folder / STAGES).glob("*-slim")):
        cost = profile(Model.load(slimmed).net)
        net = {"params": cost.params, "macs": cost.macs}
    held_out = zip(histories[-1]["validation_accuracy"], histories[-1]["kept"], strict=True)
    return {
        "target": target,
        **net,
        **counted,
        "top1": last.top1,
        "ci95": list(last.ci95),
        "samples": last.samples,
        "top1_drop": round(100 * (first.top1 - last.top1), 6),
        "held_out": max(accuracy for accuracy, kept in held_out if kept),
        "epochs": sum(map(_epochs, histories)),
        "train_epochs": _epochs(histories[0]),
        "right": read_sealed(exported / RECORD)["measured"]["right"],
        "run": folder.relative_to(folder.parents[2]).as_posix(),
    }


def _epochs(history: dict[str, list[float]]) -> int:
    """Return how many epochs a history has, without the one before the first."""
    return sum(epoch > 0 for epoch in history["epoch"])


def _take_over(run_folder: Path, target: str) -> None:
    """Begin the run for another target beside a run, with the stages that both have in common.

    `run` checks that they are those that it would make.
    """
    other = run_folder.with_name(target)
    config = load_config(run_folder / CONFIG)  # as it was recorded, with what `auto` stands for
    export = config.export.model_copy(update={"target": target})
    write_bytes(other / CONFIG, dump_config(config.model_copy(update={"export": export})).encode())
    for stage in sorted((run_folder / STAGES).iterdir()):
        copy = other / STAGES / stage.name
        if not (stage.name.startswith(".") or stage.name.endswith(OF_A_TARGET) or copy.exists()):
            copy_folder(stage, copy)
