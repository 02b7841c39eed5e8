"""What a `.tflite` takes and gives, and the programs that it is written for, one row each.

A program that is not edgenets, a client, prepares the pictures its own way. Adding one is adding a
row to `CLIENTS`. Needs no TensorFlow.

Source: docs/guide/clients.md says what was run to find each row.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from edgenets.data.images import Fit, Preparation
from edgenets.errors import ArgumentError, EdgenetsError, unknown_name
from edgenets.export.formats import Format

End = Literal["float", "int8", "uint8"]
ENDS: dict[End, str] = {"float": "float32", "int8": "int8", "uint8": "uint8"}
"""What `--ends` names, and its type in the file."""


class Client(NamedTuple):
    """A program that runs image classifiers of others."""

    name: str
    program: str  # in words
    ends: tuple[End, ...]  # that it takes; the first that a format has is chosen
    fit: Fit  # what it does to a picture that is not square


MEDIAPIPE = Client("mediapipe", "MediaPipe Tasks", ends=("uint8", "float"), fit="stretch")
TASK_LIBRARY = Client("task-library", "the TFLite Task Library", ("uint8", "float"), "stretch")
CLIENTS = {row.name: row for row in (MEDIAPIPE, TASK_LIBRARY)}


class Ends(NamedTuple):
    """What a file takes and gives; by default what its format says, and logits."""

    asked: End | None = None  # in place of what the client or the format says
    softmax: bool = False  # probabilities instead of logits
    client: Client | None = None  # that will run it, and shows what the file gives as it is

    def dtype(self, number_format: Format) -> str:
        """Return the type of input and output in a file of the format.

        Raises:
            EdgenetsError: one is asked for that the format cannot have.
        """
        own = number_format.activation
        possible = {"float32", own} | ({"uint8"} if own == "int8" else set())
        if self.asked and ENDS[self.asked] not in possible:
            raise EdgenetsError(
                f"{self.asked} ends are of int8 files, not of {number_format.name}; export as "
                "int8, or leave --ends out"
            )
        wanted = [self.asked] if self.asked else self.client.ends if self.client else []
        return next((ENDS[end] for end in wanted if ENDS[end] in possible), own)

    @property
    def probabilities(self) -> bool:
        """Whether the file gives probabilities."""
        return self.softmax or self.client is not None

    def note(self, preparation: Preparation) -> str:
        """Return what the client does otherwise than the model's images were prepared; or ""."""
        client = self.client
        if client is None or client.fit == preparation.fit:
            return ""
        return (
            f"{client.program} will {DOES[client.fit]}, and this model is of images prepared with "
            f"fit {preparation.fit}: of pictures that are not square it will answer otherwise than "
            f"`evaluate` counts; train it with --fit {client.fit}, or export a model of your own "
            f"with fit={client.fit!r}"
        )


LOGITS = Ends()
DOES: dict[Fit, str] = {
    "crop": "cut out the centre",
    "stretch": "squeeze the whole picture into the net's square",
    "pad": "put the whole picture on a border",
}


def choose_ends(
    ends: str | None, *, float_ends: bool = False, softmax: bool = False, client: str | None = None
) -> Ends:
    """Return the ends that a user asks for.

    >>> choose_ends(None, client="mediapipe").client.ends
    ('uint8', 'float')

    Raises:
        EdgenetsError: a name is unknown, or what is asked for contradicts itself.
    """
    asked = next((end for end in ENDS if end == ends), None)
    if ends is not None and asked is None:
        raise unknown_name("ends", ends, ENDS)
    if client is not None and client not in CLIENTS:
        raise unknown_name("client", client, CLIENTS)
    if float_ends and asked not in (None, "float"):
        raise ArgumentError(
            f"--float-ends is --ends float, and --ends {asked} came too; pass one of them"
        )
    row = CLIENTS[client] if client else None
    asked = "float" if float_ends else asked
    if row and asked and asked not in row.ends:
        raise ArgumentError(
            f"{row.program} takes files with --ends {' or '.join(row.ends)}, not {asked}; leave "
            "--ends out"
        )
    return Ends(asked, softmax, row)
