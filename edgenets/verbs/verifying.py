"""What `File.verify` is asked for: runtimes, another file, or a client, each checked first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgenets.errors import ArgumentError
from edgenets.export.devices.device import Device
from edgenets.export.measure.client import CLIENTS, verify_client
from edgenets.export.measure.runtimes import RUNTIMES
from edgenets.export.measure.verify import IMAGES, verify_file
from edgenets.results.verification import Verification
from edgenets.verbs.arguments import Size, bounded_memory, require_one_of, whole_number

if TYPE_CHECKING:
    from edgenets.data.input_range import Range


def verify(
    path: Path,
    source: str | None,
    *,
    images: int | None,
    runtimes: Sequence[str],
    devices: Sequence[Device],
    against: Path | None,
    client: str | None,
    labels: Sequence[str] | None,
    input_range: Range | None,
    patience: float | None,
    max_bytes: Size | None,
) -> Verification:
    """Do what `File.verify` says, with its arguments.

    Raises:
        ArgumentError: arguments do not go together.
        EdgenetsError: as there.
    """
    for name in runtimes:
        require_one_of("runtime", name, RUNTIMES)
    if images is not None:
        images = whole_number("images", images, 1)
    if client is not None:
        require_one_of("client", client, CLIENTS)
        if source is None:
            raise ArgumentError("a client is given image files; pass their folder with --data")
        if runtimes or devices or against or labels is not None or input_range is not None:
            raise ArgumentError(
                "a client takes the file as it is; leave --runtime, --device, --against, "
                "--labels and --input-range out"
            )
        with bounded_memory(max_bytes):
            result = verify_client(path, source, images, patience_seconds=patience)
        return Verification.from_json(result)
    if against and (devices or len(runtimes) > 1):
        raise ArgumentError(
            "two files are compared in one runtime; with --against leave --device and a second "
            "--runtime out"
        )
    with bounded_memory(max_bytes):
        result = verify_file(
            path,
            source,
            IMAGES if images is None else images,
            runtimes=runtimes,
            devices=devices,
            against=against,
            labels=labels,
            input_range=input_range,
            patience_seconds=patience,
        )
    return Verification.from_json(result)
