"""Which nets there are: `variants`. (`create` is `edgenets.models.registry.create` itself.)"""

from __future__ import annotations

from math import inf
from typing import Any

from edgenets.errors import EdgenetsError, unknown_name
from edgenets.models.npu_cycles import NPUS
from edgenets.models.variants import VARIANTS, Variant
from edgenets.units import format_count, format_percent, parse_count
from edgenets.verbs.arguments import require_one_of

SORT_KEYS = {
    "name": lambda variant: variant.name,
    "params": lambda variant: variant.params,
    "macs": lambda variant: variant.macs,
    "top1": lambda variant: -(variant.top1_published or 0),  # the best first, the unknown last
}


class Variants(tuple[Variant, ...]):
    """Published variants of nets, each with its arguments, cost, accuracy and source.

    Attributes:
        target: whose cycles they are ordered by; None for none.
    """

    target: str | None = None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the JSON value that `edgenets list --json` prints."""
        return [{**variant._asdict(), "family": variant.family} for variant in self]

    def _repr_html_(self) -> str:
        from edgenets.results.result import html_table  # which the command does without

        rows = [
            (
                v.name,
                " ".join(f"{name}={value}" for name, value in v.arguments.items()),
                *self.figures_of(v),
            )
            for v in self
        ]
        return html_table(("net", "arguments", *self.figures), rows, self.title)

    @property
    def title(self) -> str:
        """What stands above a table: what the cycles are, where there are any."""
        return f"cycles on {self.target}, as Vela estimates them" if self.target else ""

    @property
    def figures(self) -> tuple[str, ...]:
        """The columns of figures in a table: on an NPU cycles are what a net costs, not MACs."""
        return (">px", ">params", ">cycles" if self.target else ">MACs", ">top-1")

    def figures_of(self, variant: Variant) -> tuple[str, ...]:
        """The texts of these columns."""
        cost = variant.cycles.get(self.target) if self.target else variant.macs
        return (
            *(str(variant.resolution), format_count(variant.params)),
            *("-" if cost is None else format_count(cost), format_percent(variant.top1_published)),
        )


def variants(
    *,
    family: str | None = None,
    max_params: float | str | None = None,
    max_macs: float | str | None = None,
    sort: str | None = None,
    target: str | None = None,
) -> Variants:
    """Return the nets, what they cost, and how accurate they are.

    ```python
    en.variants(max_macs="100M", sort="top1")[0].name
    ```

    Args:
        family: only the nets of one family, such as "MobileNet".
        max_params: only nets of at most so many parameters, a number or a text such as "2.5M".
        max_macs: only nets of at most so many MACs.
        sort: "name", "params" or "macs", smallest first, or "top1", most accurate first; by family
            if not given.
        target: an Ethos-U, such as "ethos-u55-128": fewest cycles first, as Vela estimates them,
            those without an estimate last; with `sort` that order holds.

    Raises:
        EdgenetsError: there is no such family, order or Ethos-U, or a number is none.

    >>> variants(max_params="1M", sort="top1")[0].name
    'mobilenet_v1'
    """
    families = {variant.family.lower(): variant.family for variant in VARIANTS}
    if family and family.lower() not in families:
        raise unknown_name("family", family, families.values())
    if sort is not None:
        require_one_of("sort", sort, list(SORT_KEYS))
    if target is not None:
        require_one_of("target", target, NPUS)
    most_params, most_macs = _count("max_params", max_params), _count("max_macs", max_macs)
    chosen = [
        variant
        for variant in VARIANTS
        if (not family or variant.family.lower() == family.lower())
        and (most_params is None or variant.params <= most_params)
        and (most_macs is None or variant.macs <= most_macs)
    ]
    if sort:
        chosen.sort(key=SORT_KEYS[sort])
    elif target:
        chosen.sort(key=lambda variant: variant.cycles.get(target, inf))
    found = Variants(chosen)
    found.target = target
    return found


def _count(name: str, count: float | str | None) -> int | None:
    if count is None:
        return None
    try:
        return parse_count(str(count))
    except ValueError as error:
        raise EdgenetsError(
            f"{name} must be a number such as 2.5M or 300k, got {count!r}"
        ) from error
