"""`edgenets run`: a config's stages in a run folder, each made once, in spite of any interruption.

A stage is worked on in a hidden folder and renamed when it is complete, so that a stage folder that
is there is whole. Its key, a hash of all that it was made from, says whether it still fits.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.export.report.page import write_html
from edgenets.export.targets import Target, find_target
from edgenets.files import (
    locked_folder,
    read_bytes,
    read_sealed,
    rename,
    write_bytes,
    write_json,
    write_sealed,
)
from edgenets.pipeline.config import RunConfig
from edgenets.pipeline.config_file import dump_config, load_config
from edgenets.pipeline.figures import palette_note
from edgenets.pipeline.keys import key_of, next_key
from edgenets.pipeline.model_sizes import account_folder
from edgenets.pipeline.output import check_outputs
from edgenets.pipeline.stages.compress import check_recipe
from edgenets.pipeline.stages.inputs import open_training
from edgenets.pipeline.stages.places import (
    CHECKPOINTS,
    INT8_FILE,
    PACKAGE_FILE,
    Record,
    StageRecord,
)
from edgenets.pipeline.stages.plan import Stage, plan
from edgenets.pipeline.stages.train import initial_model
from edgenets.pipeline.summary import summarize
from edgenets.progress import say
from edgenets.results.benchmark import StoredFile
from edgenets.results.report import Report
from edgenets.training.fit import Paused, first_part
from edgenets.units import (
    format_bytes,
    format_interval,
    format_ms,
    format_percent,
    format_seconds,
)

CONFIG = "config.yaml"
STAGES = "stages"
REPORT = ("report.json", "report.html")
RECORD = "stage.json"
KEY = "key"


def run(
    config: RunConfig, out: Path, log_dir: Path | None = None, *, pause: float | None = None
) -> Report:
    """Do what is missing of a run in the folder `out` and return its report.

    Args:
        config: what to do.
        out: the run folder.
        log_dir: trainings write events for TensorBoard into it; it changes no result.
        pause: part of the first training's epochs after which it pauses; called again, it goes on.

    Raises:
        Paused: with `pause`, the first training has come so far.
        EdgenetsError: the images or settings do not fit, `out` holds another config's run or is in
            use, or a stage failed; finished stages are kept.
    """
    read = (config.train.weights, config.train.labels, config.train.teacher)
    with locked_folder(out):
        check_outputs(out, (CONFIG, INT8_FILE, PACKAGE_FILE, *REPORT), read)
        config = _check_folder(out, config)
        if note := palette_note(config.compress, find_target(config.export.target)):
            say(note)
        images, initial = open_training(config)
        complete = images.config
        first = initial_model(complete, initial, images.dataset.classes)
        check_recipe(first, complete.compress)  # before the folder is this run's
        if not (out / CONFIG).exists():
            recorded = config.model_copy(update={"train": complete.train})
            write_bytes(out / CONFIG, dump_config(recorded).encode())
        stages = plan(complete, images, initial, log_dir, pause)
        if pause is not None:  # and if it was trained to its end before, no further either
            (trained,) = run_stages(out / STAGES, stages[:1], images.dataset.fingerprint)
            raise Paused(first_part(trained.measured["history"] or {}, pause))
        records = run_stages(out / STAGES, stages, images.dataset.fingerprint)
        exported = next(r.folder for r in records if r.name == "export")
        for name in (INT8_FILE, PACKAGE_FILE):
            write_bytes(out / name, read_bytes(out / STAGES / exported / name))
        report = summarize(complete, images, records, _account(out, records), out)
        write_json(out / "report.json", report.to_json())
        write_html(report.to_json(), out)
        target = find_target(complete.export.target)
        if note := what_the_device_takes(target, out / STAGES / _before_export(records)[0].folder):
            say(note)
        return report


def what_the_device_takes(target: Target, model: Path) -> str:
    """Return how that is made of a run's last model, where it is not a `.tflite` itself.

    >>> what_the_device_takes(find_target("mcu"), Path("runs/mine/stages/04-int8"))
    'for the device: edgenets export runs/mine/stages/04-int8 --target mcu --out FOLDER'
    """
    if not (target.micro or target.accelerator):
        return ""
    how = "--out FOLDER" if target.micro else "--compile --out FILE.tflite"
    return f"for the device: edgenets export {model} --target {target.name} {how}"


def _before_export(records: list[StageRecord]) -> tuple[StageRecord, StageRecord]:
    """Return the records of the last model and of the file that was exported of it."""
    position = next(i for i, record in enumerate(records) if record.name == "export")
    return records[position - 1], records[position]


def _account(out: Path, records: list[StageRecord]) -> Record:
    """Return the size accounting of the last model and the file that was exported of it."""
    model, exported = _before_export(records)
    return account_folder(out / STAGES / model.folder, [records[0], exported])


def run_stages(folder: Path, stages: list[Stage], fingerprint: str) -> list[StageRecord]:
    """Do what is missing of `stages` in `folder` and return the record of each.

    Args:
        folder: has a folder for each stage; one that was made from the same, by the same versions
            of packages, and is whole is kept, any other is made again.
        stages: each made from the one before it, the first one from the images alone.
        fingerprint: of the images.

    Raises:
        EdgenetsError: another command has begun in the folder, or a stage failed.
    """
    of_others = [path for path in folder.glob("01-*") if path.name != f"01-{stages[0].name}"]
    if of_others:
        raise EdgenetsError(
            f"{of_others[0]} was made by another command, which is not at its end; repeat that "
            "one, or pass another folder with --out"
        )
    records: list[StageRecord] = []
    key = key_of(fingerprint, runs_files=True)
    previous = folder
    for number, stage in enumerate(stages, start=1):
        key = next_key(key, stage.name, stage.settings)
        own = folder / f"{number:02}-{stage.name}"
        headline = f"[{number}/{len(stages)}] {stage.name}"
        try:
            record = _finished(own, key)
        except EdgenetsError as error:
            say(f"{headline} is made again: {error}")
            record = None
        if record is None:
            say(f"{headline} ...")
            record = _execute(stage, own, previous, key)
        say(f"{headline}: {_result(record)}")
        records.append(record)
        previous = own
    return records


def _finished(folder: Path, key: str) -> StageRecord | None:
    """Return the record of a stage that was made under `key`; None if none was.

    Raises:
        EdgenetsError: it was made from something else, or is not as it was made.
    """
    if not folder.exists():
        return None
    record = StageRecord.from_json(read_sealed(folder / RECORD))
    if record.key != key:
        raise EdgenetsError(
            f"{folder} was made of other images or settings, or by other versions of packages"
        )
    for file in record.files:
        if StoredFile.of(folder / file.name) != file:
            raise EdgenetsError(f"{folder / file.name} is damaged")
    _clean(folder)
    return record


def _execute(stage: Stage, folder: Path, previous: Path, key: str) -> StageRecord:
    start = time.monotonic()
    partial = folder.with_name(f".{folder.name}.partial")
    if not (partial / KEY).is_file() or read_bytes(partial / KEY) != key.encode():
        if any(partial.glob(CHECKPOINTS)):
            say(
                f"{folder.name} is begun again: its training was of other images or settings, or "
                "by other versions of packages"
            )
        shutil.rmtree(partial, ignore_errors=True)
        write_bytes(partial / KEY, key.encode())
    for leftover in partial.iterdir():  # of a process that was killed after the training's end
        if not _is_for_resuming(leftover):
            leftover.unlink()
    measured = stage.work(partial, previous, key)
    files = sorted(file for file in partial.iterdir() if not _is_for_resuming(file))
    record = StageRecord(
        stage.name,
        folder.name,
        key,
        seconds=round(time.monotonic() - start, 3),
        files=tuple(map(StoredFile.of, files)),
        measured=measured,
    )
    write_sealed(partial / RECORD, record.to_json())
    shutil.rmtree(folder, ignore_errors=True)
    rename(partial, folder)
    _clean(folder)  # not before: a process killed in between would have to train again
    return record


def _clean(folder: Path) -> None:
    for file in filter(_is_for_resuming, [*folder.iterdir()]):
        file.unlink(missing_ok=True)


def _is_for_resuming(file: Path) -> bool:
    """Tell whether a stage needs a file of its folder only while it is worked on."""
    return file.name == KEY or file.match(CHECKPOINTS)


def _result(record: StageRecord) -> str:
    measured = record.measured
    if "latency_ms" in measured:
        return f"{format_ms(measured['latency_ms']['median'])} median"
    stored = measured["stored_bytes"]
    return (
        f"top-1 {format_percent(measured['top1'])} ({format_interval(measured['ci95'])}), "
        f"{format_bytes(measured['size_bytes'])}"
        f"{'' if stored is None else f', stored {format_bytes(stored)}'} "
        f"({format_seconds(record.seconds)})"
    )


def _check_folder(out: Path, config: RunConfig) -> RunConfig:
    """Refuse a folder with the run of another config, or with files that are not of a run.

    Returns:
        The config, with the weights that the folder's run began with.
    """
    train = config.train.model_copy(update={"weights": config.weights})
    way_out = f"pass another folder with --out, or remove {out} to start again"
    if not (out / CONFIG).exists():
        for name in (STAGES, INT8_FILE, PACKAGE_FILE, *REPORT):
            if (out / name).exists():
                raise EdgenetsError(f"{out} holds {name} but no {CONFIG} of a run; {way_out}")
        return config
    try:
        stored = load_config(out / CONFIG)
    except EdgenetsError as error:
        raise EdgenetsError(f"{error}; restore that file, {way_out}") from error
    if train.weights_sha256 is None:
        train = train.model_copy(update={"weights_sha256": stored.train.weights_sha256})
    config = config.model_copy(update={"train": train})
    if stored != config:
        old, new = stored.model_dump(mode="json"), config.model_dump(mode="json")
        key = next(key for key in new if old[key] != new[key])
        raise EdgenetsError(
            f"{out} holds a run whose {key!r} differs "
            f"({_difference(old[key], new[key])}); {way_out}"
        )
    return config


def _difference(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
        return f"{key}: {old.get(key)!r} there, {new.get(key)!r} here"
    return f"{old!r} there, {new!r} here"
