"""How arguments of verbs are taken: a `str` or a `Path`, a size as text, labels or their file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf
from numbers import Real
from operator import index
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, SupportsIndex, TypeAlias

from edgenets.errors import ArgumentError, EdgenetsError, in_python
from edgenets.packages import naming_extras
from edgenets.units import parse_bytes

if TYPE_CHECKING:
    from edgenets.export.devices.device import Device

PathOrName: TypeAlias = str | PathLike[str]
Size: TypeAlias = int | str
"""A number of bytes, or a text such as "300KB"."""


def source_of(data: PathOrName) -> str:
    """Return images as the pipeline names them; as a path, `digits` is a folder like any other.

    >>> source_of("digits"), source_of(Path("photos"))
    ('digits', 'photos')
    """
    if isinstance(data, str):
        return data
    return str(Path(data).absolute() if str(data) == "digits" else Path(data))


def optional_path(path: PathOrName | None) -> Path | None:
    """Return a path, or None."""
    return None if path is None else Path(path)


def shown(path: Path) -> str:
    """Return how a path is shown: from the working directory on, if it is below that.

    >>> shown(Path.cwd() / "photos.tflite"), shown(Path("/models/photos"))
    ('photos.tflite', '/models/photos')
    """
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def size_of(size: Size, name: str) -> int:
    """Return a number of bytes.

    Raises:
        EdgenetsError: it is none; the message names the argument `name`.

    >>> size_of("300KB", "budget"), size_of(4096, "budget")
    (300000, 4096)
    """
    try:
        return parse_bytes(str(size))
    except ValueError as error:
        raise EdgenetsError(
            f"{name} must be a size of at least one byte, such as 300KB or 1.5MiB, got {size!r}"
        ) from error


def labels_of(
    labels: Sequence[str] | PathOrName | None, *, distinct: bool = False
) -> tuple[str, ...] | None:
    """Return labels that are given themselves, or by the name of a file with one a line.

    Args:
        labels: or None.
        distinct: whether one may not be there twice.

    Raises:
        EdgenetsError: the file cannot be read, or one is no text or there twice.
    """
    if labels is None:
        return None
    if isinstance(labels, str | PathLike):
        from edgenets.models.weights.labels import read_labels

        return read_labels(Path(labels), distinct=distinct)
    given = tuple(labels)
    if wrong := [label for label in given if not isinstance(label, str)]:
        raise EdgenetsError(f"labels must be texts, got {wrong[0]!r}; pass str of each")
    if distinct and len(set(given)) < len(given):
        twice = next(label for label in given if given.count(label) > 1)
        raise EdgenetsError(f"labels must differ, got {twice!r} twice; rename one")
    return given


def require_one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Check that an argument is one of a few words.

    Raises:
        EdgenetsError: it is not.
    """
    if value not in known:
        raise EdgenetsError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def whole_number(name: str, value: SupportsIndex, least: int, most: int | None = None) -> int:
    """Return an argument that is a whole number in a range, NumPy's too.

    Raises:
        EdgenetsError: it is not.
    """
    if not isinstance(value, bool) and isinstance(value, SupportsIndex):
        number = index(value)
        if least <= number and (most is None or number <= most):
            return number
    wanted = f"at least {least}" if most is None else f"from {least} to {most}"
    raise EdgenetsError(f"{name} must be a whole number, {wanted}, got {value!r}")


def positive_number(name: str, value: float | None) -> None:
    """Check that an argument is a number above 0 and finite, or None.

    Raises:
        EdgenetsError: it is not.
    """
    if value is not None and not (isinstance(value, Real) and 0 < value < inf):
        raise EdgenetsError(f"{name} must be a number above 0, got {value!r}")


def texts_of(texts: Sequence[str] | str) -> list[str]:
    """Return several texts, of which a single one may be given itself.

    >>> texts_of("fire2*"), texts_of(("fire2*", "fire3*"))
    (['fire2*'], ['fire2*', 'fire3*'])
    """
    return [texts] if isinstance(texts, str) else list(texts)


def devices_of(devices: Sequence[str | Device] | str | Device) -> list[Device]:
    """Return several devices, of which a single one may be given itself.

    Raises:
        EdgenetsError: there is no such device.
    """
    from edgenets.export.devices.device import Device, parse_device  # which few verbs need

    several = [devices] if isinstance(devices, str | Device) else devices
    return [parse_device(device) for device in several]


def measured_devices(
    devices: Sequence[str | Device] | str | Device, *, setup: bool
) -> list[Device]:
    """Return the devices that a file is measured on, of which some may have to be set up first.

    Raises:
        ArgumentError: there is none, one is there twice, or this machine is to be set up.
        EdgenetsError: there is no such device.
    """
    from edgenets.export.devices.device import LOCAL

    found = devices_of(devices)
    if not found:
        raise ArgumentError("there is no device to measure on; pass one, such as 'local'")
    if len(set(found)) < len(found):
        raise ArgumentError("a device is given twice; measuring it twice at once disturbs both")
    if setup and LOCAL in found:
        raise ArgumentError("--setup is for boards; pass --device ssh://[user@]host[:port]")
    return found


@contextmanager
def speaking_python() -> Iterator[None]:
    """Let errors of a verb name its arguments, where no command asked for it.

    Sentences name the options of commands, which are alike; what an extra lacks is named, too.
    """
    try:
        with naming_extras():
            yield
    except EdgenetsError as error:
        import click  # which a verb does without

        if click.get_current_context(silent=True) is None:
            error.args = (in_python(str(error)),)
        raise


@contextmanager
def bounded_memory(max_bytes: Size | None) -> Iterator[None]:
    """Let a file take `max_bytes` of memory while the block runs; None: as is usual."""
    if max_bytes is None:
        yield
        return
    from edgenets.memory import at_most  # and what opens files, which `list` does without

    with at_most(size_of(max_bytes, "max_bytes")):
        yield


@contextmanager
def folder_or_temporary(out: PathOrName | None) -> Iterator[Path]:
    """Yield the model folder to write: `out`, or one that is gone after the block."""
    if out is not None:
        yield Path(out)
        return
    with TemporaryDirectory(prefix="edgenets-") as folder:
        yield Path(folder, "model")
