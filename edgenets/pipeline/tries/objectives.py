"""What a search within a loss minimises, by the word that `compress` takes.

Loads no package: the command shows the words.
"""

from __future__ import annotations

from typing import NamedTuple


class Objective(NamedTuple):
    """What a search minimises.

    Attributes:
        figures: of a try, the first one before the second one.
        order: of the rows: those that take little time first, but for those that cannot win.
        slim_share: `share` of slimming, which leaves nothing to what follows if that only makes it
            smaller.
    """

    figures: tuple[str, str]
    order: tuple[str, ...]
    slim_share: float


OBJECTIVES = {
    "size": Objective(
        ("stored_bytes", "instructions"),
        (
            *("int8", "rate", "slim, int8", "slim, rate", "smallest", "slim, smallest"),
            "prune, share, int8",
        ),
        slim_share=0.5,
    ),
    "speed": Objective(
        ("instructions", "stored_bytes"),
        (
            *("int8", "slim, int8", "slim, rate", "slim, smallest", "rate", "smallest"),
            "prune, share, int8",
        ),
        slim_share=1.0,
    ),
}
