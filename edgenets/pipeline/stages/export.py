"""The stages at the end: the file that is shipped, its package, its benchmark."""

from __future__ import annotations

from pathlib import Path

from edgenets.export.formats import INT8
from edgenets.export.measure.accuracy import classify, right_answers
from edgenets.export.measure.benchmark import benchmark_file
from edgenets.export.measure.classifier import Classifier
from edgenets.export.measure.verify import BRIEF_IMAGES, evenly_spread, verify_briefly
from edgenets.export.targets import find_target
from edgenets.export.write.checked_file import export_checked
from edgenets.files import write_bytes, write_json
from edgenets.models.folder import Model
from edgenets.pipeline.config import ExportSettings, RunConfig
from edgenets.pipeline.stages.inputs import RunImages
from edgenets.pipeline.stages.measure import measure_export
from edgenets.pipeline.stages.places import BENCHMARK_FILE, INT8_FILE, PACKAGE_FILE, Record
from edgenets.quantize.package.epk import pack


def export_stage(
    settings: ExportSettings, images: RunImages, folder: Path, previous: Path, key: str
) -> Record:
    """Write the previous stage's model as an int8 `.tflite` that passed its checks, and packed."""
    made = Model.load(previous)
    model, spec, codes = made.net, made.spec, made.codes
    calibration = images.calibration(settings.calibration_images)
    target = find_target(settings.target)
    exported = export_checked(INT8, model, spec, calibration, codes, target)
    write_bytes(folder / INT8_FILE, exported.content)
    package = pack(exported.content)
    write_bytes(folder / PACKAGE_FILE, package)
    logits = classify(Classifier(exported.file), images.test)
    return {
        **measure_export(images, exported, model, len(package), logits),
        "mistakes": images.mistakes(logits),
        "right": right_answers(logits, images.dataset.test.labels),
        "verify": _verify(exported.content, images),
    }


def _verify(content: bytes, images: RunImages) -> Record:
    """Run a few test images through the runtimes at hand."""
    chosen = evenly_spread(len(images.test), BRIEF_IMAGES)
    labels = images.dataset.test.labels[chosen]
    return verify_briefly(content, INT8_FILE, images.test.take(chosen), labels)


def benchmark_stage(config: RunConfig, folder: Path, previous: Path, key: str) -> Record:
    """Measure latency, memory and operators of the exported file on this machine."""
    settings = config.benchmark
    result = benchmark_file(
        previous / INT8_FILE, settings.threads, settings.min_seconds, per_op=settings.per_op
    ).to_json()
    write_json(folder / BENCHMARK_FILE, result)
    return {name: value for name, value in result.items() if name != "samples_ms"}
