"""What the verbs return: frozen dataclasses whose `to_json()` is what a command's `--json` prints.

A field is a key of the JSON value, by the same name. Fields that are marked `SOMETIMES` are None,
and their keys are missing, where they do not apply. In a notebook a result shows itself as a table.
"""

from __future__ import annotations

import html
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from reprlib import Repr
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from edgenets.progress import printable

if TYPE_CHECKING:
    from typing_extensions import Self

BRIEF = Repr()
"""What `repr` leaves out of long values: a report holds pictures."""
BRIEF.maxlevel, BRIEF.maxstring, BRIEF.maxother = 1, 40, 60
BRIEF.maxdict = BRIEF.maxlist = BRIEF.maxtuple = 3
MOST_ROWS = 20
"""Of a table in a notebook."""
SOMETIMES = {"sometimes": True}
"""Metadata of a field whose key is missing where the field is None."""
NO_KEY = {"no_key": True}
"""Metadata of a field that JSON does not have."""


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> str:
    """Return a table for a notebook; texts are escaped, and columns with ">" are set to the right.

    >>> html_table(("class", ">images"), [("cat & dog", "3")])[:38]
    '<table><thead><tr><th style="text-alig'
    """

    def cells(tag: str, texts: Sequence[str]) -> str:
        sides = ("right" if column.startswith(">") else "left" for column in columns)
        return "".join(
            f'<{tag} style="text-align: {side}">{html.escape(printable(text))}</{tag}>'
            for side, text in zip(sides, texts, strict=True)
        )

    head = cells("th", [column.removeprefix(">") for column in columns])
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    caption = f"<p>{html.escape(printable(title))}</p>" if title else ""
    return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, repr=False)
class Result:
    """What a verb measured or did; the base of the classes below."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any], **more: Any) -> Self:
        """Return the result whose `to_json()` is `content`.

        Args:
            content: a JSON value with exactly the keys of the class.
            more: the fields that JSON does not have.
        """
        kinds = get_type_hints(cls)
        return cls(**{key: _read(value, kinds.get(key)) for key, value in content.items()}, **more)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value that the command prints with `--json`."""
        content = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata.get("no_key") or (each.metadata.get("sometimes") and value is None):
                continue
            content[each.name] = _write(value)
        return content

    def __repr__(self) -> str:
        shown = (f"{each.name}={BRIEF.repr(getattr(self, each.name))}" for each in fields(self))
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_html_(self) -> str:
        rows = [(key, _short(value)) for key, value in self.to_json().items()]
        return html_table(("", ""), rows)


@dataclass(frozen=True, repr=False)
class Skipped(Result):
    """A file that was left out, and why."""

    path: str
    reason: str


def _read(value: Any, kind: Any) -> Any:
    """Return a JSON value as the type of a field has it."""
    if get_origin(kind) in (Union, types.UnionType):  # with None
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if value is not None and isinstance(kind, type) and issubclass(kind, Result):
        return kind.from_json(value)
    if value is not None and get_origin(kind) is tuple:
        return tuple(_read(each, get_args(kind)[0]) for each in value)
    return _write(value)


def _write(value: Any) -> Any:
    """Return a value as JSON has it: a tuple, at any depth, is a list."""
    match value:
        case Result():
            return value.to_json()
        case list() | tuple():
            return [_write(each) for each in value]
        case dict():
            return {key: _write(each) for key, each in value.items()}
    return value


def _short(value: Any) -> str:
    match value:
        case list():
            return ", ".join(map(_short, value)) if len(value) <= MOST_ROWS else f"{len(value)}"
        case dict():
            return ", ".join(f"{key} {_short(each)}" for key, each in value.items())
    return "-" if value is None else str(value)
