"""A repository of two releases with probes, as it was before, and boards that update from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgenets import flatbuffer
from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.export.metadata import with_labels
from edgenets.updates import client
from edgenets.updates.keys import load_keys
from edgenets.updates.repository import Repository, open_repository, sign

NAME = "colours"
IGNORED = ("trusted", "download", "probes")


class World:
    """Folders of a publisher and of two boards, and how they are used.

    Attributes:
        folder: of it all, with the files 1.tflite, 2.tflite and 3.tflite, which answer the same.
        photographs: an image of each class, which the releases' probes are made of.
        repository: with the first two as releases.
        first: the repository as it was with one release.
        keys: of it.
        board: that release 1 is on.
        empty: a board without a model.
        root: the first root.
        edgenets: a function that gives a command and returns the JSON value that it prints.
    """

    name = NAME

    def __init__(self, folder: Path, edgenets: Callable[..., dict]) -> None:
        self.folder, self.edgenets = folder, edgenets
        self.photographs = folder / "photographs"
        self.repository, self.first = folder / "repository", folder / "first"
        self.keys, self.board, self.empty = folder / "keys", folder / "board", folder / "empty"
        self.root = self.repository / "metadata" / "1.root.json"

    def file(self, number: int) -> Path:
        return self.folder / f"{number}.tflite"

    def update(
        self, *options: object, source: object = None, root: Path | None = None, into: object = None
    ) -> dict:
        where = ("--into", into or self.board, "--root", root or self.root)
        source = source or self.repository
        return self.edgenets("update", source, *where, "--model", NAME, *options)

    def publish(self, number: int, *options: object) -> dict:
        about = ("--model", NAME, "--keys", self.keys)
        return self.edgenets(
            "release", "publish", self.repository, self.file(number), *about, *options
        )

    def on_board(self, option: str) -> dict:
        return self.edgenets("update", option, "--into", self.board)

    def forge(self, change: Callable[[Repository], object], days: int = 30) -> None:
        """Change the repository and sign it rightly."""
        repository = open_repository(self.repository)
        change(repository)
        sign(repository, load_keys(self.keys), days)

    def answers(self) -> bytes:
        return (self.board / "current" / "model.tflite").read_bytes()

    def holds(self) -> dict[str, bytes | str]:
        """All of the board's folder but trusted metadata and what was fetched."""
        return {
            str(path.relative_to(self.board)): str(path.readlink())
            if path.is_symlink()
            else path.read_bytes()
            for path in self.board.rglob("*")
            if path.relative_to(self.board).parts[0] not in IGNORED
            and (path.is_symlink() or path.is_file())
        }

    @contextmanager
    def refused(self, sentence: str) -> Iterator[None]:
        """Check that the block ends in this sentence, and nothing is changed on the board."""
        before = self.holds()
        with pytest.raises(EdgenetsError, match=sentence):
            yield
        assert self.holds() == before


@pytest.fixture
def edgenets(capsys: pytest.CaptureFixture) -> Callable[..., dict]:
    """A function that gives a command and returns the JSON value that it prints."""

    def run(*arguments: object) -> dict:
        edgenets_command.main([*map(str, arguments), "--json"], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="session")
def _filled(make_once: Callable[..., Path], colour_net: Callable[[int], bytes]) -> Path:
    from PIL import Image

    from edgenets.verbs.releasing import Releases
    from edgenets.verbs.updating import update

    def fill(folder: Path) -> None:
        world = World(folder, lambda *arguments: {})
        for number in (1, 2, 3):
            tag = {"tag": f"release {number}".encode()}
            content = flatbuffer.rewrite(colour_net(8), flatbuffer.set_metadata, tag)
            world.file(number).write_bytes(with_labels(content, ("red", "green", "blue")))
        for place, label in enumerate(("red", "green", "blue")):
            colour = [30, 60, 90]
            colour[place] = 200
            (world.photographs / "test" / label).mkdir(parents=True)
            image = Image.new("RGB", (8, 8), tuple(colour))
            image.save(world.photographs / "test" / label / "1.png")
        releases = Releases(world.repository, world.keys)
        releases.init()
        releases.publish(world.file(1), model=NAME, probes=world.photographs)
        shutil.copytree(world.repository, world.first)
        update(world.first, into=world.board, model=NAME, root=world.root)
        releases.publish(world.file(2), model=NAME, probes=world.photographs)

    return make_once("releases", fill)


@pytest.fixture
def world(_filled: Path, tmp_path: Path, edgenets: Callable[..., dict]) -> World:
    """A copy: two releases are in the repository, and the first is on the board."""
    shutil.copytree(_filled, tmp_path / "world", symlinks=True)
    return World(tmp_path / "world", edgenets)


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are not opened: a process each takes half a second."""
    monkeypatch.setattr(client, "check_probes", lambda *_: None)
