"""Cycles of an inference on an Ethos-U, as Vela 5.2 estimates them for int8 files.

Of variants whose files fit the flash of a microcontroller, with fresh weights: those of trained
nets stream about as long. A test compiles a sample and compares.

Source: `python benchmarks/ethos_u.py variants`.
"""

from __future__ import annotations

from typing import Any

NPUS = ("ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512")
"""The targets that the columns are of."""

CYCLES: tuple[tuple[str, dict[str, Any], tuple[int, ...]], ...] = ()
