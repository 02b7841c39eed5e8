"""Storage that the nodes of a sweep reach but do not mount, such as s3://bucket/sweep, by fsspec.

A folder travels as one archive. That of a trial is left there when a piece of work on it is done,
under a name that says which; those of images are fetched once by each node, which keeps them.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from edgenets.cache import cache_folder
from edgenets.data.opened import listing
from edgenets.errors import EdgenetsError
from edgenets.files import locked_folder, make_folder, rename
from edgenets.packages import missing_package

try:
    import fsspec
except ImportError as error:
    raise missing_package("fsspec") from error

ARCHIVE, PARTIAL = ".tar", ".partial"
IMAGES = "images/"
"""How the names of folders of images begin."""
WAY_OUT = "what is done is kept; mend that, and the same command goes on"


class Storage:
    """A place for archives of folders and for files, by their names.

    ```python
    Storage("s3://bucket/sweep").put_folder(Path("runs/mine/trials/0003"), "trials/0003")
    ```

    Attributes:
        url: of the place.
        moved: the name and size in bytes of each archive that was sent or fetched.

    Raises:
        EdgenetsError: it is no URL, fsspec knows no such kind of storage, or it needs a package
            that is missing.
    """

    def __init__(self, url: str) -> None:
        self.url, self.moved = url, list[tuple[str, int]]()
        if "://" not in url:  # fsspec takes it for a folder, which each node would have its own of
            raise EdgenetsError(
                f"storage must be a URL, such as s3://BUCKET/FOLDER or file:///SHARED/FOLDER, got "
                f"{url!r}"
            )
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise EdgenetsError(
                f"the storage {url} cannot be used: {error}; pass a URL that fsspec knows, such as "
                "s3://BUCKET/FOLDER, and install what it needs on each node"
            ) from error
        self._root = root.rstrip("/")

    def put_folder(self, folder: Path, name: str) -> None:
        """Store a folder's content under a name, in place of what is there.

        Raises:
            EdgenetsError: it cannot be read, or the storage cannot be written.
        """
        with tempfile.TemporaryFile() as file:
            try:
                with tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
                    archive.add(folder, arcname=".")
            except OSError as error:  # such as of a link to nothing
                raise EdgenetsError(f"cannot pack {folder}: {error}; {WAY_OUT}") from error
            size = file.tell()
            file.seek(0)
            partial = name + PARTIAL
            self._write(partial, lambda to: shutil.copyfileobj(file, to))
            with self._named(name):
                self._files.mv(f"{self._root}/{partial}", f"{self._root}/{name}{ARCHIVE}")
        self.moved.append((name, size))

    def fetch_folder(self, name: str, folder: Path) -> None:
        """Make `folder`, which is not there, of what is stored under a name.

        Raises:
            EdgenetsError: it is not stored or cannot be fetched, or is damaged.
        """
        path = f"{self._root}/{name}{ARCHIVE}"
        make_folder(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".edgenets-") as above:
            partial = Path(above) / "fetched"
            try:
                with (
                    self._files.open(path, "rb") as file,
                    tarfile.open(fileobj=file, mode="r|") as archive,
                ):
                    # Python before 3.11.4 has no filter of its own.
                    archive.extraction_filter = getattr(tarfile, "data_filter", None)
                    archive.extractall(partial, members=_plain(archive))
                size = int(self._files.size(path))
            except (OSError, tarfile.TarError, EOFError) as error:
                raise EdgenetsError(
                    f"cannot fetch {name}{ARCHIVE} from {self.url}: {error}; {WAY_OUT}"
                ) from (error if isinstance(error, OSError) else OSError(str(error)))
            rename(partial, folder)
        self.moved.append((name, size))

    def put_file(self, path: Path) -> None:
        """Store a file under its own name, in place of what is there. Errors as above."""
        content = path.read_bytes()
        self._write(path.name, lambda to: to.write(content))

    def read_file(self, name: str) -> bytes | None:
        """Return the content of a file; None if there is none. Errors as above."""
        with self._named(name):
            if not self._files.exists(path := f"{self._root}/{name}"):
                return None
            with self._files.open(path, "rb") as file:
                return bytes(file.read())

    def has_folder(self, name: str) -> bool:
        """Return whether a folder is stored under a name. Errors as above."""
        with self._named(name):
            return bool(self._files.exists(f"{self._root}/{name}{ARCHIVE}"))

    def remove_folder(self, name: str) -> None:
        """Remove what is stored under a name, if there is something. Errors as above."""
        with self._named(name):
            if self._files.exists(path := f"{self._root}/{name}{ARCHIVE}"):
                self._files.rm(path)

    def _write(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        path = f"{self._root}/{name}"
        with self._named(name):
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with self._files.open(path, "wb") as file:
                write(file)

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EdgenetsError(
                f"the storage {self.url} cannot be used for {name}: {error}; {WAY_OUT}"
            ) from error


def _plain(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive, all of which are files and folders of the one in it."""
    for member in archive:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is no file of the folder")
        yield member


def put_images(storage: Storage, source: str) -> str:
    """Store a folder of images, unless it is there; return the name that it has.

    The name is by the files' names, sizes and times, so that a sweep that goes on sends nothing.
    """
    folder = Path(source)
    name = f"{IMAGES}{listing(folder)[:16]}"
    if not storage.has_folder(name):
        storage.put_folder(folder, name)
    return name


def fetch_images(storage: Storage, source: str, name: str) -> Path:
    """Return a node's own copy of the images of `source`; the first task there fetches it."""
    above = cache_folder() / "sweeps" / name
    with locked_folder(above, wait=lambda: None):
        folder = above / Path(source).name  # by which reports call the data
        if not folder.exists():
            storage.fetch_folder(name, folder)
    return folder
