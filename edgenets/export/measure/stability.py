"""Was the machine steady while it was measured: stable, unstable, or unknown; nothing is guessed.

From what `look` on the machine saw before, during and after, and from the samples themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgenets.export.measure.statistics import median

DRIFT = 0.05
"""Of the median from the first third of the samples to the last, that is still called stable."""
FREQUENCY_LOSS = 0.05
"""Of a processor's frequency below its highest one during the run, that is still called stable."""


def judge(measured: dict[str, Any], samples_ms: Sequence[float]) -> dict[str, Any]:
    """Return the verdict on a result of the runner's `time`.

    Args:
        measured: its `conditions`, `warm_up` and `device`.
        samples_ms: in order.

    Returns:
        verdict: "unstable" if something was seen to change; "unknown" if nothing was, but the
            machine does not tell its frequency, or, a Raspberry Pi, whether it throttles; else
            "stable".
        reasons: sentences, of an unstable or unknown one.
        drift: of the median from the first third of the samples to the last, as a fraction.
        and the conditions: before, during, after.
    """
    conditions = measured["conditions"]
    drift = third_against_third(samples_ms)
    seen = [
        *([] if measured["warm_up"]["stable"] else ["latency still changed after the warm-up"]),
        *_drifted(drift),
        *_throttled(conditions),
        *_slowed(conditions),
    ]
    unseen = _unseen(conditions, measured["device"])
    verdict = "unstable" if seen else "unknown" if unseen else "stable"
    return {"verdict": verdict, "reasons": seen or unseen, "drift": drift, **conditions}


def third_against_third(samples_ms: Sequence[float]) -> float:
    """Return how much larger the median of the last third is than that of the first, a fraction.

    >>> third_against_third([2.0, 2.0, 9.0, 9.0, 3.0, 3.0])
    0.5
    """
    third = max(1, len(samples_ms) // 3)
    return median(samples_ms[-third:]) / median(samples_ms[:third]) - 1


def _drifted(drift: float) -> list[str]:
    if abs(drift) <= DRIFT:
        return []
    side = "above" if drift > 0 else "below"
    return [f"the last third's median is {abs(drift):.0%} {side} the first third's"]


def _throttled(conditions: dict[str, Any]) -> list[str]:
    """Name what the firmware said at some moment of the run; what was before is not blamed."""
    looks = [*conditions["during"], conditions["after"]]
    live = dict.fromkeys(
        name for look in looks if look["throttled"] for name in look["throttled"]["now"]
    )
    return [f"the board reported during the run: {', '.join(live)}"] if live else []


def _slowed(conditions: dict[str, Any]) -> list[str]:
    by_policy = zip(*(look["frequency_mhz"] for look in conditions["during"]), strict=False)
    steps = [(min(mhz), max(mhz)) for mhz in by_policy]
    return [
        f"the processor's frequency changed between {low:g} and {high:g} MHz"
        for low, high in steps
        if low < high * (1 - FREQUENCY_LOSS)
    ]


def _unseen(conditions: dict[str, Any], device: dict[str, Any]) -> list[str]:
    during = conditions["during"]
    missing = []
    if not all(look["frequency_mhz"] for look in during):
        missing.append("the processor's frequency cannot be read here")
    is_pi = (device["processor"] or "").startswith("Raspberry Pi")
    if is_pi and not all(look["throttled"] for look in during):
        missing.append("vcgencmd does not say whether the board throttles")
    return missing
