"""A repository of releases, on its publisher's machine: `Releases`."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import Any

from edgenets.errors import EdgenetsError
from edgenets.packages import require_package
from edgenets.results.updates import Release, ReleaseListing
from edgenets.updates.defaults import ROLES, TIMESTAMP_DAYS
from edgenets.verbs.arguments import (
    PathOrName,
    optional_path,
    require_one_of,
    source_of,
    speaking_python,
    texts_of,
    whole_number,
)

MOST_ROOT_KEYS = 20


@dataclass(frozen=True)
class Releases:
    """A folder of signed releases, which boards update from.

    ```python
    releases = en.Releases("releases", keys="keys")
    releases.init()
    releases.publish("photos.tflite", model="photos", probes="photos").number
    ```

    Attributes:
        folder: of the repository, which a web server or a USB stick holds.
        keys: folder of its keys, which stays at home; None: they are in EDGENETS_KEYS.
    """

    folder: Path
    keys: Path | None = None

    @speaking_python()
    def __post_init__(self) -> None:
        """Take a `str` as a path, too, and paths that hold in any working directory.

        Keys are not put where everyone may fetch them.
        """
        object.__setattr__(self, "folder", Path(self.folder).absolute())
        object.__setattr__(self, "keys", None if self.keys is None else Path(self.keys).absolute())
        # As `Path.resolve`, which raises a RuntimeError where links lead to themselves.
        if self.keys and Path(realpath(self.keys)).is_relative_to(realpath(self.folder)):
            raise EdgenetsError(
                f"{self.keys} is in {self.folder}, which is for everyone; pass another --keys"
            )

    @speaking_python()
    def init(self, *, root_keys: int = 1, threshold: int = 1) -> Path:
        """Make the repository and its keys; return the root that boards are given.

        Args:
            root_keys: how many keys the root has.
            threshold: how many of them must sign a new root.

        Raises:
            EdgenetsError: it is there already, or cannot be written.
        """
        root_keys = whole_number("root_keys", root_keys, 1, MOST_ROOT_KEYS)
        threshold = whole_number("threshold", threshold, 1, root_keys)
        _require_packages()
        from edgenets.files import locked_folder
        from edgenets.updates.repository import create_repository

        keys = self._folder_of_keys()
        with locked_folder(self.folder, way_out="pass another folder"):
            return create_repository(self.folder, keys, root_keys, threshold)

    @speaking_python()
    def publish(
        self,
        file: PathOrName,
        *,
        model: str,
        probes: PathOrName | None = None,
        device_class: str | None = None,
        runtime: tuple[str, ...] | str = (),
        percent: int = 100,
        evaluation: PathOrName | None = None,
    ) -> Release:
        """Release a `.tflite` file as the newest of a model.

        Of the file that is the newest release already, only the share of devices is changed.

        Args:
            file: the `.tflite`.
            model: the name of the model.
            probes: images as for `evaluate`, of which a few and their answers go with the release:
                a board switches to the file only if it answers the same.
            device_class: of the devices that it is for.
            runtime: what may run it, such as "ai-edge-litert>=2.1".
            percent: of the devices that get it now.
            evaluation: file with what `edgenets evaluate --json` printed.

        Raises:
            EdgenetsError: the file is none, a key is missing, or it cannot be written.
        """
        percent = whole_number("percent", percent, 1, 100)
        _require_packages()
        from edgenets.updates.publish import publish

        return publish(
            self.folder,
            Path(file),
            model,
            self._keys(),
            probes=None if probes is None else source_of(probes),
            device_class=device_class,
            runtimes=tuple(texts_of(runtime)),
            percent=percent,
            evaluation=optional_path(evaluation),
        )

    @speaking_python()
    def yank(self, number: int, *, model: str) -> Release:
        """Take a release back: no board installs it, and those that have it go to the newest other.

        Raises:
            EdgenetsError: there is no such release, or a key is missing.
        """
        _require_packages()
        from edgenets.updates.publish import yank

        return yank(self.folder, model, number, self._keys())

    @speaking_python()
    def rotate(self, role: str, *, revoke: str | None = None) -> tuple[str, str]:
        """Put a new key in the place of one; return the ids of the old and of the new one.

        Args:
            role: "root", "targets", "snapshot" or "timestamp".
            revoke: how the id of the old one begins, where the role has several.

        Raises:
            EdgenetsError: too few of the root's keys are at hand, or there is no such key.
        """
        require_one_of("role", role, ROLES)
        _require_packages()
        from edgenets.files import locked_folder
        from edgenets.updates.repository import open_repository, rotate_key

        folder = self._folder_of_keys()
        with locked_folder(self.folder, way_out="pass another repository"):
            return rotate_key(open_repository(self.folder), role, self._keys(), folder, revoke)

    @speaking_python()
    def renew(self, *, days: int = TIMESTAMP_DAYS) -> ReleaseListing:
        """Sign the metadata anew, so that boards take them for the newest for so many days.

        Raises:
            EdgenetsError: a key is missing.
        """
        days = whole_number("days", days, 1, 3650)
        _require_packages()
        from edgenets.files import locked_folder
        from edgenets.updates.repository import open_repository, sign

        with locked_folder(self.folder, way_out="pass another repository"):
            sign(open_repository(self.folder), self._keys(), days)
        return self.list()

    @speaking_python()
    def list(self) -> ReleaseListing:
        """Return the releases, and when and by which keys the metadata are signed.

        Raises:
            EdgenetsError: it is no repository.
        """
        _require_packages()
        from edgenets.updates.repository import open_repository, time_text

        repository = open_repository(self.folder)
        return ReleaseListing(
            releases=tuple(repository.releases()),
            expires={role: time_text(getattr(repository, role).signed.expires) for role in ROLES},
            keys={role: repository.keys_of(role) for role in ROLES},
            threshold=repository.root.signed.roles["root"].threshold,
        )

    def _keys(self) -> dict[str, Any]:
        from edgenets.updates.keys import load_keys

        return load_keys(self.keys)

    def _folder_of_keys(self) -> Path:
        if self.keys is None:
            raise EdgenetsError("a new key is written to a folder; pass one with --keys")
        return self.keys


def _require_packages() -> None:
    for package in ("tuf", "cryptography"):
        require_package(package)
