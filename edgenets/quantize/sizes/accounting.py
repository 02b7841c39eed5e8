"""Size accounting: what a net's weights take after each step of Deep Compression, and as files.

Four sizes are theoretical, computed from the weights as the paper stores them:

    float32  every weight and bias in 32 bits
    pruned   the nonzero weights in 32 bits, each with its gap: how many zeros are before it
    shared   the nonzero weights as indices into a codebook of their layer
    huffman  the indices and the gaps Huffman coded

A gap has 8 bits in a convolution and 5 in a dense layer; a longer one is bridged by filler zeros,
stored like weights. Counted beside them: biases (float32); the codebooks and, where their entries
are int8 codes, one float32 scale for each channel; the lengths of the Huffman codes (a byte for
each symbol); 32 bits that say how many values a layer stores and which steps it takes. Each part
fills whole bytes in each layer. A layer takes a step where that saves: one with too few zeros for
gaps is stored whole, one that shares no values without a codebook. So from `pruned` on, no row is
larger than the one before.

Source: Han et al. 2015, arXiv:1510.00149, sections 2 to 4 and tables 4 and 5; Iandola et al. 2016,
arXiv:1602.07360, table 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenets.errors import EdgenetsError
from edgenets.quantize.sizes.huffman import coded_bits
from edgenets.units import ALEXNET_BYTES

FLOAT_BITS = 32
HEADER_BITS = 32  # how many values a layer stores, and which steps it takes
LENGTH_BITS = 8  # of a Huffman code
STEPS = ("float32", "pruned", "shared", "huffman")
THEORETICAL, MEASURED = "theoretical", "measured"
LABELS = {
    "float32": "weights and biases, float32",
    "pruned": "zeros left out",
    "shared": "weights as indices into codebooks",
    "huffman": "Huffman coded",
    "float32_tflite": "float32 .tflite",
    "tflite": ".tflite",
    "stored": ".tflite as it travels",
}
"""What the rows are called where a person reads them."""

Record = dict[str, Any]


class Coding(NamedTuple):
    """With how many bits layers are stored; by default as section 2 of Deep Compression says."""

    conv_gap_bits: int = 8
    dense_gap_bits: int = 5
    index_bits: int | None = None  # into a codebook of 2**index_bits; None: as many as it needs
    may_be_whole: bool = True  # whether a layer may be stored with its zeros, without gaps


DEEP_COMPRESSION = Coding()
SQUEEZENET_FILE = Coding(conv_gap_bits=4, dense_gap_bits=4, index_bits=8, may_be_whole=False)
"""How the authors of Deep Compression stored SqueezeNet."""


class LayerWeights(NamedTuple):
    """The weights of a convolution or dense layer without BatchNorm."""

    name: str
    kernel: NDArray[Any]
    """`[out, in, height, width]` or `[out, in]`, in whose order gaps are counted: float32 values,
    or int8 codes that are values when multiplied by scales."""
    biases: int
    scales: int = 0  # that the codes have, one for each channel


class Streams(NamedTuple):
    """What a layer stores of its kernel, in order."""

    values: NDArray[Any]  # what is not zero, and fillers; or all of the kernel
    gaps: NDArray[np.int64]  # how many zeros are left out before each value; empty if none is


class Bits(NamedTuple):
    """What a layer takes, by what the bits hold."""

    values: int = 0  # weights, or indices into the codebook
    gaps: int = 0
    codebook: int = 0
    scales: int = 0
    code_lengths: int = 0  # of the Huffman codes
    header: int = 0
    biases: int = 0

    def to_bytes(self) -> dict[str, int]:
        """Return the bytes that each part fills."""
        return {part: -(-bits // 8) for part, bits in self._asdict().items()}

    @property
    def size_bytes(self) -> int:
        """The bytes of all parts together."""
        return sum(self.to_bytes().values())


class Stored(NamedTuple):
    """How a layer is stored after a step."""

    entries: int  # values stored: those that are not zero, and fillers; or all
    bits: Bits


def account(
    layers: Sequence[LayerWeights],
    *,
    float_file_bytes: int,
    file_bytes: int,
    stored_bytes: int | None,
    coding: Coding = DEEP_COMPRESSION,
) -> Record:
    """Return what a net takes after each step and as files, and each layer's bits per weight.

    Args:
        layers: all that the net has, at least one.
        float_file_bytes: its float32 `.tflite`, before compression.
        file_bytes: its `.tflite`.
        stored_bytes: that file as it travels; None where it was not packed.
        coding: of the theoretical sizes.

    Returns:
        `rows`: name, kind (theoretical or measured), size_bytes, parts (bytes by what they hold;
        None for a file), vs_float (theoretical sizes under `float32`, files under the float32
        file) and vs_alexnet (under 240,000,000 bytes).
        `layers`, and the same of all together as `total`: name; weights, biases, nonzeros; share
        of the net's weights; kept, the fraction not zero; distinct_values, the most in a layer,
        zero included; then for `shared` and, with `_huffman` at the end, for `huffman`: entries
        stored, fillers included; weight_bits and index_bits (of the gaps) for each entry;
        size_bytes, everything counted; rate, its fraction of float32.

    Raises:
        EdgenetsError: a layer has more values than `coding.index_bits` can tell apart.
    """
    stored = [store_layer(layer, coding) for layer in layers]
    measured = {"float32_tflite": float_file_bytes, "tflite": file_bytes, "stored": stored_bytes}
    sums = {step: _sum_parts(steps[step].bits for steps in stored) for step in STEPS}
    sizes = {step: sum(parts.values()) for step, parts in sums.items()}
    weights = sum(layer.kernel.size for layer in layers)
    return {
        "rows": [
            *(_row(step, THEORETICAL, sizes[step], sums[step], sizes["float32"]) for step in STEPS),
            *(
                _row(name, MEASURED, size_bytes, None, float_file_bytes)
                for name, size_bytes in measured.items()
                if size_bytes is not None
            ),
        ],
        "layers": [
            _describe(layer.name, [layer], [steps], weights)
            for layer, steps in zip(layers, stored, strict=True)
        ],
        "total": _describe("total", layers, stored, weights),
    }


def store_layer(layer: LayerWeights, coding: Coding) -> dict[str, Stored]:
    """Return how the layer is stored after each step.

    Raises:
        EdgenetsError: it has more values than `coding.index_bits` can tell apart.
    """
    gap_bits = coding.dense_gap_bits if layer.kernel.ndim == 2 else coding.conv_gap_bits
    ways = [leave_out_zeros(layer.kernel, gap_bits)]
    if coding.may_be_whole:
        ways.append(Streams(layer.kernel.ravel(), np.zeros(0, np.int64)))
    biases = Bits(biases=FLOAT_BITS * layer.biases)
    fixed = biases._replace(header=HEADER_BITS)
    sizes = [_step_sizes(streams, layer, gap_bits, coding.index_bits) for streams in ways]
    stored = {
        step: min(
            (
                Stored(len(streams.values), _add(size[step], fixed))
                for streams, size in zip(ways, sizes, strict=True)
            ),
            key=lambda way: way.bits.size_bytes,
        )
        for step in STEPS[1:]
    }
    dense = _add(Bits(values=FLOAT_BITS * layer.kernel.size), biases)
    return {"float32": Stored(layer.kernel.size, dense), **stored}


def leave_out_zeros(kernel: NDArray[Any], gap_bits: int) -> Streams:
    """Return the values that are not zero and the gaps before them, bridged by zeros if too long.

    A gap of `gap_bits` bits leaves out up to 2**gap_bits - 1 zeros; a filler is a zero itself.

    >>> leave_out_zeros(np.int8([0, 5, 0, 0, 0, 0, 0, 7, 0]), gap_bits=2)
    Streams(values=array([5, 0, 7], dtype=int8), gaps=array([1, 3, 1]))
    """
    reach = 2**gap_bits
    flat = kernel.ravel()
    places = np.flatnonzero(flat)
    zeros = np.diff(places, prepend=-1) - 1
    ends = np.cumsum(zeros // reach + 1) - 1  # each value comes after its fillers
    entries = int(ends[-1]) + 1 if places.size else 0
    values, gaps = np.zeros(entries, flat.dtype), np.full(entries, reach - 1)
    values[ends], gaps[ends] = flat[places], zeros % reach
    return Streams(values, gaps)


def _step_sizes(
    streams: Streams, layer: LayerWeights, gap_bits: int, index_bits: int | None
) -> dict[str, Bits]:
    """Return what the streams take after each step, which may do what it adds, or not."""
    values, gaps = streams
    codebook, occurrences = np.unique(values, return_counts=True)
    if index_bits is None:
        entries, index_bits = len(codebook), max(len(codebook) - 1, 0).bit_length()
    else:
        entries = 2**index_bits
    if len(codebook) > entries:
        raise EdgenetsError(
            f"{layer.name} has {len(codebook)} values, which {index_bits} bits cannot tell apart; "
            "share its weights, or store it with more bits"
        )
    plain = Bits(values=FLOAT_BITS * len(values))
    indexed = Bits(
        values=index_bits * len(values),
        codebook=8 * codebook.itemsize * entries,
        scales=FLOAT_BITS * layer.scales,
    )
    coded = indexed._replace(code_lengths=LENGTH_BITS * entries)
    if coded.codebook + coded.code_lengths < plain.values:  # else no coding can make up for it
        coded = coded._replace(values=coded_bits(occurrences))
    gap_counts = np.bincount(gaps)
    fixed_gaps = Bits(gaps=gap_bits * len(gaps))
    coded_gaps = Bits(gaps=coded_bits(gap_counts), code_lengths=LENGTH_BITS * len(gap_counts))
    return {
        "pruned": _add(plain, fixed_gaps),
        "shared": _add(_smallest(plain, indexed), fixed_gaps),
        "huffman": _add(_smallest(plain, indexed, coded), _smallest(fixed_gaps, coded_gaps)),
    }


def _add(*bits: Bits) -> Bits:
    return Bits(*map(sum, zip(*bits, strict=True)))


def _smallest(*bits: Bits) -> Bits:
    return min(bits, key=lambda option: option.size_bytes)


def _sum_parts(bits: Iterable[Bits]) -> dict[str, int]:
    """Return the bytes of all layers together, by what they hold."""
    by_layer = [layer.to_bytes() for layer in bits]
    return {part: sum(layer[part] for layer in by_layer) for part in Bits._fields}


def _row(
    name: str, kind: str, size_bytes: int, parts: Mapping[str, int] | None, float_bytes: int
) -> Record:
    return {
        "name": name,
        "kind": kind,
        "size_bytes": size_bytes,
        "parts": parts,
        "vs_float": float_bytes / size_bytes,
        "vs_alexnet": ALEXNET_BYTES / size_bytes,
    }


def _describe(
    name: str,
    layers: Sequence[LayerWeights],
    stored: Sequence[Mapping[str, Stored]],
    net_weights: int,
) -> Record:
    """Return a row of the paper's tables 4 and 5 for some layers together."""
    weights = sum(layer.kernel.size for layer in layers)
    nonzeros = sum(int(np.count_nonzero(layer.kernel)) for layer in layers)
    float_bytes = sum(steps["float32"].bits.size_bytes for steps in stored)
    record = {
        "name": name,
        "weights": weights,
        "biases": sum(layer.biases for layer in layers),
        "nonzeros": nonzeros,
        "share": weights / net_weights,
        "kept": nonzeros / weights,
        "distinct_values": max(len(np.unique(layer.kernel)) for layer in layers),
    }
    for step, suffix in (("shared", ""), ("huffman", "_huffman")):
        entries = sum(steps[step].entries for steps in stored)
        bits = [steps[step].bits for steps in stored]
        size_bytes = sum(layer.size_bytes for layer in bits)
        record |= {
            f"entries{suffix}": entries,
            f"weight_bits{suffix}": sum(layer.values for layer in bits) / max(entries, 1),
            f"index_bits{suffix}": sum(layer.gaps for layer in bits) / max(entries, 1),
            f"size_bytes{suffix}": size_bytes,
            f"rate{suffix}": size_bytes / float_bytes,
        }
    return record
