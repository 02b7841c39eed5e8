"""The verbs of a board's model: `update`, `current`, `confirm`, `rollback`, `update_status`.

All but `update` need neither the network nor the extra `[update]`.
"""

from __future__ import annotations

from pathlib import Path

from edgenets.errors import EdgenetsError
from edgenets.packages import require_package
from edgenets.results.updates import UpdateRecord, UpdateStatus
from edgenets.updates import slots
from edgenets.updates.defaults import MINUTES, STARTS
from edgenets.verbs.arguments import PathOrName, optional_path, speaking_python, whole_number

MOST_MINUTES = 10**6


@speaking_python()
def update(
    source: PathOrName,
    *,
    into: PathOrName,
    model: str | None = None,
    root: PathOrName | None = None,
    device_class: str | None = None,
    device_id: str | None = None,
    starts: int = STARTS,
    minutes: float = MINUTES,
    retry: bool = False,
) -> UpdateRecord:
    """Install the newest release of a model on this board, if it is not there.

    ```python
    en.update("https://example.org/models", into="board", model="photos", root="root.json")
    ```

    Args:
        source: address or folder of a repository, as `Releases` makes one.
        into: the board's folder; `current/model.tflite` in it is the model.
        model: its name; None: of the one that is there.
        root: the repository's first metadata, metadata/1.root.json, from someone you trust; None:
            those of the first update.
        device_class: of this board, where releases are for one.
        device_id: decides on staged releases; None: /etc/machine-id.
        starts: of programs, in which the new model is to be confirmed, else the one before answers.
        minutes: the same, in minutes that the board is on.
        retry: also a release that was left before.

    Raises:
        EdgenetsError: the repository or what it offers is refused, or the new model answers
            otherwise than its release says. The model that answers is the same as before.
    """
    for package in ("tuf", "cryptography"):
        require_package(package)
    from edgenets.files import read_bytes
    from edgenets.updates.client import update as update_folder

    starts = whole_number("starts", starts, 1)
    if not 0 < minutes <= MOST_MINUTES:
        raise EdgenetsError(f"minutes must be more than 0, at most {MOST_MINUTES:,}, got {minutes}")
    folder, root_path = Path(into).absolute(), optional_path(root)
    if model is None and (model := slots.model_name(folder)) is None:
        raise EdgenetsError(f"{folder} holds no model yet; say which one with --model NAME")
    return update_folder(
        folder,
        str(source),
        model,
        None if root_path is None else read_bytes(root_path),
        device_class=device_class,
        device_id=device_id,
        starts=starts,
        minutes=minutes,
        retry=retry,
    )


@speaking_python()
def current(into: PathOrName, *, start: bool = False) -> Path:
    """Return the path of the model that answers on this board.

    ```python
    file = en.File(en.current("/var/lib/models", start=True))
    ```

    The path is that of a slot. Open it once: a file that is open stays as it is, and the second
    update from now puts another one into this slot.

    Args:
        into: the board's folder.
        start: whether a program starts to use it: until the model is confirmed, starts are counted,
            and after too many the one before answers.

    Raises:
        EdgenetsError: no model is installed there, or a start cannot be noted.
    """
    folder = Path(into).absolute()
    _require_installed(folder)
    if start and slots.read_state(folder).pending:
        with slots.locked(folder):
            slots.settle(folder, starting=True)
    path = slots.model_path(folder, _require_installed(folder))
    if not path.is_file():
        raise EdgenetsError(f"{path} is missing; run: edgenets update URL --into {folder}")
    return path


@speaking_python()
def confirm(into: PathOrName, path: PathOrName | None = None) -> UpdateStatus:
    """Keep the model that answers: it works. Nothing happens where it is confirmed already.

    ```python
    en.confirm("/var/lib/models", model)
    ```

    Args:
        into: the board's folder.
        path: of the model that works, as `current` returned it: where an update has put another one
            in its place meanwhile, that one stays on trial. None: whichever answers.

    Raises:
        EdgenetsError: no model is installed there, the one on trial is damaged, or it cannot be
            noted.
    """
    folder = Path(into).absolute()
    _require_installed(folder)
    with slots.locked(folder):
        state = slots.settle(folder)
        slot = _require_installed(folder)
        model = slots.model_path(folder, slot)
        if path is None or Path(path) == model:
            if state.pending and slots.release_in(folder, slot) is None:
                raise EdgenetsError(
                    f"{model} is damaged, and stays on trial; edgenets update URL installs a "
                    "release anew"
                )
            slots.confirm(folder, state)
        return slots.status(folder)


@speaking_python()
def rollback(into: PathOrName) -> UpdateStatus:
    """Let the model before answer again; updates leave the present one out from now on.

    ```python
    en.rollback("/var/lib/models").release.number
    ```

    Raises:
        EdgenetsError: there is no model before, or the folder cannot be written.
    """
    folder = Path(into).absolute()
    _require_installed(folder)
    with slots.locked_download(folder), slots.locked(folder):
        answered = slots.current_slot(folder)
        state = slots.settle(folder)
        if slots.current_slot(folder) == answered:  # else it was due, and has happened
            if slots.status(folder).previous is None:
                raise EdgenetsError(
                    f"{folder} holds no model from before that was not left; edgenets update "
                    "installs another release, with --retry one that was left"
                )
            slots.leave(folder, state, "it was rolled back")
        return slots.status(folder)


@speaking_python()
def update_status(into: PathOrName) -> UpdateStatus:
    """Return which model answers on this board, whether it is confirmed, and what was left.

    ```python
    en.update_status("/var/lib/models").release.number
    ```

    Raises:
        EdgenetsError: its state cannot be read, or it is no folder.
    """
    return slots.status(Path(into).absolute())


def _require_installed(folder: Path) -> str:
    """Return the slot that answers."""
    if (slot := slots.current_slot(folder)) is None:
        raise EdgenetsError(
            f"{folder} holds no model yet; run: edgenets update URL --into {folder}"
        )
    return slot
