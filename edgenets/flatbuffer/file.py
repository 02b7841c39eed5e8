"""A `.tflite` that is handed on through an export: parsed once, edited in one session, packed once.

Editing goes through the schema classes that come with ai-edge-litert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec

from edgenets.errors import EdgenetsError
from edgenets.flatbuffer.edit import Part, pack, selected, set_metadata, unpack
from edgenets.flatbuffer.read import Model, read
from edgenets.flatbuffer.view import view

P = ParamSpec("P")


class File:
    """A `.tflite`: its bytes, their parse, and one edit session.

    >>> from edgenets.flatbuffer import set_metadata
    >>> from ai_edge_litert.schema_py_generated import BufferT, ModelT, SubGraphT
    >>> content = pack(ModelT(buffers=[BufferT()], subgraphs=[SubGraphT(tensors=[], operators=[])]))
    >>> file = File(content)
    >>> file.edit(set_metadata, {"origin": b"here"})
    >>> file.model.metadata  # as edited, and nothing is packed yet
    {'origin': b'here'}
    >>> kept = file.finish()  # packed, read back and held against the session
    >>> kept.model.metadata
    {'origin': b'here'}

    What is asked for is made then, and once: bytes that nobody edits are only read, bytes that are
    edited first are not read beforehand, and however many edits there are, they are packed once.

    Args:
        content: of the file.
        model: its parse, where it is known already.
    """

    def __init__(self, content: bytes, model: Model | None = None) -> None:
        self._content: bytes | None = content
        self._model = model
        self._schema: Any = None  # ModelT, from the first edit on

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        if self._content is None:
            self._content = pack(self._schema)
        return self._content

    @property
    def model(self) -> Model:
        """What the file holds; from the first edit on, what the session holds (see `view`).

        Raises:
            EdgenetsError: the bytes are no TFLite model, or damaged.
        """
        if self._model is None:
            edited = self._schema is not None
            self._model = view(self._schema) if edited else read(self.content)
        return self._model

    def edit(
        self, change: Callable[Concatenate[Any, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Apply `change` to the file's schema object (`ModelT`).

        Raises:
            EdgenetsError: ai-edge-litert, which brings the schema classes, is not installed.
        """
        change(self._session(), *args, **kwargs)
        self._content = self._model = None

    def select(self, part: Part) -> None:
        """Keep the operators of `part` alone, as `split` does."""
        self._schema = selected(self._session(), part)
        self._content = self._model = None

    def finish(self, add: Callable[[bytes], bytes] = bytes) -> File:
        """Return the file as it is kept: packed, read back, and held against the session.

        So what was checked of the session is true of the bytes.

        Args:
            add: appends to the packed bytes what stands behind the flatbuffer, as an archive.

        Raises:
            EdgenetsError: the bytes hold something else than the session.
        """
        kept = File(add(self.content))
        if not kept.model.holds(self.model):
            raise EdgenetsError(
                "the file as packed differs from what was put into it; it was not kept: "
                "install another version of ai-edge-litert or flatbuffers, which pack it"
            )
        return kept

    def _session(self) -> Any:
        if self._schema is None:
            self._schema = unpack(self.content)
        return self._schema


def model_of(source: File | bytes, name: str = "the model") -> Model:
    """Return the parse of a file: the one that it has, or that of its bytes.

    Raises:
        EdgenetsError: it is no TFLite model, or damaged; `name` is what the message calls it.
    """
    return source.model if isinstance(source, File) else read(source, name)


def content_of(source: File | bytes) -> bytes:
    """Return the bytes of a file."""
    return source.content if isinstance(source, File) else source


def rewrite(
    content: bytes,
    change: Callable[Concatenate[Any, P], None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> bytes:
    """Return the file's bytes after one change of its schema object, as `File.edit` makes it."""
    file = File(content)
    file.edit(change, *args, **kwargs)
    return file.content


def with_metadata(content: bytes, entries: Mapping[str, bytes]) -> bytes:
    """Return the file's bytes with the metadata `entries`, by name; others are kept."""
    return rewrite(content, set_metadata, entries)
