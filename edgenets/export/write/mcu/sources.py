"""The C++ sources of a firmware: the model as an array, its operators, what it takes and gives."""

from __future__ import annotations

import zlib
from pathlib import Path
from string import Template
from typing import NamedTuple

import edgenets
from edgenets.export.devices.tflm import STEP_BYTES
from edgenets.export.inspect.tflm import resolver_methods
from edgenets.flatbuffer import File, Tensor
from edgenets.models.folder import Spec

HERE = Path(__file__).parent
HEADER, ARRAY, OPERATORS, EXAMPLE = "model.h", "model.cc", "operators.h", "main.cc"
SOURCES = (HEADER, ARRAY, OPERATORS, EXAMPLE)
BYTES_A_LINE = 16
ESTIMATED = """an ESTIMATE: TFLM could not be run. Begin with more, and ask
// interpreter.arena_used_bytes()."""
MEASURED = f"""the least multiple of {STEP_BYTES} that ran with TFLM's portable kernels
// on a 64-bit machine. A 32-bit one takes less, because its pointers are half as long; a vendor's
// kernels (CMSIS-NN, ESP-NN, Xtensa) ask for scratch memory beside it."""


class CType(NamedTuple):
    """How C++ has a tensor's type, and what such an input takes for a pixel."""

    name: str
    from_pixel: str


C_TYPES = {
    "int8": CType("std::int8_t", "pixel - 128"),
    "uint8": CType("std::uint8_t", "pixel"),
    "float32": CType("float", "pixel / 127.5f - 1.0f"),
}


class Arena(NamedTuple):
    """The memory that the interpreter works in."""

    size_bytes: int
    is_estimate: bool

    def __str__(self) -> str:
        """Say where the figure comes from, and which way a device differs."""
        said = ESTIMATED if self.is_estimate else MEASURED
        return f"{self.size_bytes:,} bytes, {said}"


def write_sources(folder: Path, flash: File, spec: Spec, arena: Arena, tables: int) -> None:
    """Write the sources of a model to a folder; an example that is there stays as it is.

    Args:
        folder: that is there.
        flash: what the device reads.
        spec: of the model: labels and image preparation.
        arena: that it needs.
        tables: kernels that are stored by lookup tables.
    """
    (image,), (scores,) = flash.model.inputs, flash.model.outputs
    content, methods = flash.content, resolver_methods(flash.model)
    fields = {
        "name": _comment(spec.name),
        "version": edgenets.__version__,
        "flash_bytes": len(content),
        "crc32": f"{zlib.crc32(content):08x}",
        "tables": f";\n// {tables} kernels are lookup tables and indices" if tables else "",
        "arena": str(arena),
        "arena_bytes": arena.size_bytes,
        "is_estimate": str(arena.is_estimate).lower(),
        "preparation": _comment(
            ", ".join(f"{key} {value}" for key, value in spec.preparation.to_json().items())
        ),
        "height": image.shape[1],
        "width": image.shape[2],
        "input_dtype": image.dtype,
        "input_type": C_TYPES[image.dtype].name,
        "input_scale": _scale(image),
        "from_pixel": C_TYPES[image.dtype].from_pixel,
        "classes": scores.shape[1],
        "output_dtype": scores.dtype,
        "output_type": C_TYPES[scores.dtype].name,
        "output_scale": _scale(scores),
        "output_grid": _grid(scores),
        "count": len(methods),
        "calls": "\n".join(f"  TF_LITE_ENSURE_STATUS(operators.{name}());" for name in methods),
    }
    for name in (HEADER, OPERATORS):
        template = Template((HERE / name).read_text())
        (folder / name).write_text(template.substitute(fields), encoding="utf-8")
    (folder / ARRAY).write_text(_array(content, spec.labels))
    if not (folder / EXAMPLE).exists():
        (folder / EXAMPLE).write_text((HERE / EXAMPLE).read_text())


def c_string(text: str) -> str:
    r"""Return a text as C++ writes it, in UTF-8.

    >>> print(c_string('caf\u00e9 "1"'))
    "caf\303\251 \"1\""
    """
    shown = (
        f"\\{chr(byte)}" if chr(byte) in '"\\' else chr(byte) if plain else f"\\{byte:03o}"
        for byte in text.encode()
        for plain in (32 <= byte < 127 and byte != ord("?"),)  # which may begin a trigraph
    )
    return f'"{"".join(shown)}"'


def _array(content: bytes, labels: tuple[str, ...]) -> str:
    rows = (content[i : i + BYTES_A_LINE] for i in range(0, len(content), BYTES_A_LINE))
    numbers = "\n".join(f"    {', '.join(map(str, row))}," for row in rows)
    names = "\n".join(f"    {c_string(label)}," for label in labels)
    return (
        f'#include "{HEADER}"\n\nnamespace model {{\n\n'
        f"alignas(16) const unsigned char kData[kDataBytes] = {{\n{numbers}\n}};\n\n"
        f"const char* const kLabels[kClasses] = {{\n{names}\n}};\n\n}}  // namespace model\n"
    )


def _scale(tensor: Tensor) -> str:
    if not tensor.scale.size:
        return ""
    zero_point = int(tensor.zero_point[0])
    sign = "-" if zero_point >= 0 else "+"
    return f" = {float(tensor.scale[0])!r} * (code {sign} {abs(zero_point)})"


def _grid(scores: Tensor) -> str:
    """Return the constants that turn an output's code into a number; none for floats."""
    if not scores.scale.size:
        return ""
    return (
        f"constexpr float kOutputScale = {float(scores.scale[0])!r}f;\n"
        f"constexpr int kOutputZeroPoint = {int(scores.zero_point[0])};\n"
        "inline float ToScore(Output code) {\n"
        "  return kOutputScale * static_cast<float>(code - kOutputZeroPoint);\n}\n"
    )


def _comment(text: str) -> str:
    """Return a text for a comment of one line: a backslash at its end would take in the next."""
    return "".join(c if c.isprintable() and c != "\\" else " " for c in text)
