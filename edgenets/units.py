"""What a MAC, a KiB and a millisecond are here, and how they are printed.

A MAC is one multiply and one add of a convolution or dense layer. Sizes are bytes and print as KiB
(1,024 bytes) and MiB; durations are seconds, latencies milliseconds; accuracies are fractions that
print as per cent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ALEXNET_BYTES = 240_000_000
"""AlexNet in float32, as table 2 of arXiv:1602.07360 counts it; ratios are stated against it."""

BYTES_PER_UNIT = {
    **{"": 1, "b": 1, "bytes": 1},
    **{"kb": 10**3, "mb": 10**6, "gb": 10**9},
    **{"kib": 2**10, "mib": 2**20, "gib": 2**30},
}
"""By the unit behind a number, in lower case."""


def format_bytes(size_bytes: float | None) -> str:
    """Return a size in B, KiB or MiB, or a dash for a value that does not apply.

    >>> format_bytes(308_040), format_bytes(4_253_864), format_bytes(12), format_bytes(None)
    ('300.8 KiB', '4.06 MiB', '12 B', '-')
    """
    if size_bytes is None:
        return "-"
    if size_bytes >= 2**20:
        return f"{size_bytes / 2**20:.2f} MiB"
    if size_bytes >= 2**10:
        return f"{size_bytes / 2**10:.1f} KiB"
    return f"{size_bytes:.0f} B"


def parse_bytes(text: str) -> int:
    """Return the size that a person means: KB and MB are decimal, KiB and MiB binary.

    >>> parse_bytes("300KB"), parse_bytes("1.5 MiB"), parse_bytes("120000")
    (300000, 1572864, 120000)

    Raises:
        ValueError: it is none, or it is less than one byte.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if not match or match[2] not in BYTES_PER_UNIT:
        raise ValueError(f"{text} is no size")
    size_bytes = float(match[1]) * BYTES_PER_UNIT[match[2]]
    if not 1 <= size_bytes < 2**63:
        raise ValueError(f"{text} is less than one byte, or more than any machine has")
    return int(size_bytes)


def format_count(count: float) -> str:
    """Return a count of parameters or MACs in units, thousands, millions or billions (G).

    >>> format_count(15_470_264_320), format_count(568_740_352)
    ('15.47G', '568.7M')
    >>> format_count(4_253_864), format_count(475_544), format_count(12)
    ('4.25M', '475.5k', '12')
    """
    if count >= 1e9:
        return f"{count / 1e9:.2f}G"
    if count >= 1e8:
        return f"{count / 1e6:.1f}M"
    if count >= 1e6:
        return f"{count / 1e6:.2f}M"
    if count >= 1e3:
        return f"{count / 1e3:.1f}k"
    return f"{count:.0f}"


def parse_count(text: str) -> int:
    """Return the number that a person means: digits, with k, M or G behind them.

    >>> parse_count("2.5M"), parse_count("300k"), parse_count("1e6"), parse_count("4253864")
    (2500000, 300000, 1000000, 4253864)

    Raises:
        ValueError: it is none, or it is negative or not finite.
    """
    factor = {"k": 10**3, "m": 10**6, "g": 10**9}.get(text[-1:].lower())
    count = float(text[:-1] if factor else text) * (factor or 1)
    if not 0 <= count < float("inf"):
        raise ValueError(f"{text} is no count")
    return round(count)


def format_energy(energy_pj: float) -> str:
    """Return an energy in microjoules or millijoules, with three significant digits.

    >>> format_energy(859_123_456), format_energy(12_345_678), format_energy(9_876_543_210)
    ('859 uJ', '12.3 uJ', '9.88 mJ')
    >>> format_energy(3840), format_energy(0)
    ('0.00384 uJ', '0 uJ')
    """
    if energy_pj == 0:
        return "0 uJ"
    value, unit = (energy_pj / 1e9, "mJ") if energy_pj >= 999.5e6 else (energy_pj / 1e6, "uJ")
    return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:#.3g} {unit}"


def format_shape(shape: Iterable[object]) -> str:
    """Return the sizes of an array.

    >>> format_shape((1, 96, 96, 3)), format_shape(())
    ('1 x 96 x 96 x 3', 'a single number')
    """
    return " x ".join(map(str, shape)) or "a single number"


def format_percent(fraction: float | None) -> str:
    """Return a fraction as per cent, or a dash for a value that does not apply.

    >>> format_percent(0.9722), format_percent(None)
    ('97.22 %', '-')
    """
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def format_interval(interval: Sequence[float] | None) -> str:
    """Return the ends of an accuracy's interval, given as fractions, as per cent; None as "-".

    >>> format_interval((0.826, 0.945))
    '82.6 to 94.5 %'
    """
    if interval is None:
        return "-"
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def format_seconds(seconds: float) -> str:
    """Return a duration for a person.

    >>> format_seconds(3.21), format_seconds(75), format_seconds(7384)
    ('3.2 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_ms(latency_ms: float) -> str:
    """Return a latency with three significant digits.

    >>> format_ms(0.04567), format_ms(65.2), format_ms(1234.5)
    ('0.0457 ms', '65.2 ms', '1234 ms')
    """
    return f"{latency_ms:.0f} ms" if latency_ms >= 100 else f"{latency_ms:#.3g} ms"
