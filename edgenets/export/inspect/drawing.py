"""A `.tflite` graph as a drawing: one row for each operator, branches as lanes beside it.

A tensor that is waited for keeps a lane of its own; an operator stands in the lane of an input that
ends there, or in a free one. So a residual block has two lanes and an Inception block four. Rows
are in execution order, and say what the operator makes, its MACs, and why it is left out of the
accelerator where it is: that part has another colour and another mark. Operators that only unpack
constants are left out. The drawing is one SVG without scripts, fonts or links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from edgenets.progress import printable
from edgenets.results.inspection import Inspection
from edgenets.units import format_bytes, format_count, format_shape

ROW = 24
LANE = 20
MARGIN = 28
HEADER = 132
CHARACTER = 7.25  # of the monospaced letters below
BAR = 96
GAP = 22
LONGEST = {"name": 40, "reason": 110}
"""Characters of a cell; the whole text is in its tooltip."""

INSIDE, OUTSIDE, UNKNOWN = "inside", "outside", "unknown"
STYLE = """\
text { font: 12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1b2733 }
.title { font: bold 19px system-ui, sans-serif } .about { font: 13px system-ui, sans-serif }
.soft { fill: #64748b } .right { text-anchor: end } .head { fill: #64748b; font-size: 11px }
.edge { fill: none; stroke: #94a3b8; stroke-width: 2 }
.inside { fill: #1971a8 } .outside { fill: #d9480f } .unknown, .end { fill: #64748b }
.track { fill: #e8edf3 } .tint { fill: #fdece3 } .rule { stroke: #dbe2ea }
.op.outside { font-weight: bold } .reason { fill: #9a3412 }"""


class Row(NamedTuple):
    """An operator, or an input or output of the graph."""

    lane: int
    kind: str  # INSIDE, OUTSIDE, UNKNOWN, or "end" of the graph
    number: str
    op: str
    name: str
    shape: str
    macs: int
    weight_bytes: int
    reason: str


class Edge(NamedTuple):
    """A tensor from the row that makes it, down its lane, to a row that reads it."""

    start: int
    lane: int
    end: int


def draw(
    inspection: Inspection,
    title: str,
    accelerator: str,
    inside: Sequence[bool | None],
    reasons: Sequence[str],
) -> str:
    """Return the drawing as the text of an SVG file.

    Args:
        inspection: what `inspect_file` returns.
        title: the file's name.
        accelerator: that takes operators over, as a reader calls it.
        inside: for each operator, whether it does; None: not known.
        reasons: for each operator, why it does not; "" for none.
    """
    rows, edges = lay_out(inspection, inside, reasons)
    gutter = MARGIN + LANE * (1 + max(edge.lane for edge in edges) if edges else 1)
    columns = _columns(rows, gutter)
    width = columns["end"] + MARGIN
    height = HEADER + ROW * len(rows) + MARGIN
    most = max((row.macs for row in rows), default=0)
    counts = {kind: sum(row.kind == kind for row in rows) for kind in (INSIDE, OUTSIDE, UNKNOWN)}
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
            f'viewBox="0 0 {width:.0f} {height}">',
            f"<title>{_clean(title)}</title>",
            f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            *_header(inspection, title, accelerator, counts, columns, width),
            *(
                f'<rect class="tint" x="0" y="{_y(i) - ROW / 2}" width="{width:.0f}" '
                f'height="{ROW}"/>'
                for i, row in enumerate(rows)
                if row.kind == OUTSIDE
            ),
            *(_path(edge, rows) for edge in edges),
            *(text for i, row in enumerate(rows) for text in _row(i, row, columns, most)),
            "</svg>\n",
        ]
    )


def lay_out(
    inspection: Inspection, inside: Sequence[bool | None], reasons: Sequence[str]
) -> tuple[list[Row], list[Edge]]:
    """Return the rows from the first input to the last output, and the edges between them."""
    shown = [operator for operator in inspection.operators if not operator["prepares"]]
    steps: list[tuple[list[int], list[int]]] = [  # tensors that each row reads and makes
        *(([], [end["tensor"]]) for end in inspection.inputs),
        *((operator["inputs"], operator["outputs"]) for operator in shown),
        *(([end["tensor"]], []) for end in inspection.outputs),
    ]
    lanes, edges = _lanes(steps)
    cells = [
        *(_end_row("input", end) for end in inspection.inputs),
        *(_operator_row(op, inside[op["index"]], reasons[op["index"]]) for op in shown),
        *(_end_row("output", end) for end in inspection.outputs),
    ]
    before = ["", *(row.reason for row in cells)]  # the same reason is said once in a run of rows
    rows = [
        row._replace(lane=lane, reason="" if row.reason == said else row.reason)
        for row, lane, said in zip(cells, lanes, before, strict=False)
    ]
    return rows, edges


def _lanes(steps: Sequence[tuple[list[int], list[int]]]) -> tuple[list[int], list[Edge]]:
    last = {tensor: i for i, (read, _) in enumerate(steps) for tensor in read}
    taken: dict[int, tuple[int, int]] = {}  # tensor -> its lane and the row that makes it
    lanes, edges = [], []
    for i, (read, made) in enumerate(steps):
        known = [tensor for tensor in dict.fromkeys(read) if tensor in taken]
        edges += [Edge(taken[tensor][1], taken[tensor][0], i) for tensor in known]
        ending = [taken.pop(tensor)[0] for tensor in known if last[tensor] == i]
        free = _free_lanes(lane for lane, _ in taken.values())
        lanes.append(min(ending) if ending else next(free))
        outputs = [tensor for tensor in dict.fromkeys(made) if last.get(tensor, -1) > i]
        for place, tensor in enumerate(outputs):
            used = [lane for lane, _ in taken.values()]
            lane = lanes[-1] if place == 0 else next(_free_lanes(used))
            taken[tensor] = (lane, i)
    return lanes, edges


def _free_lanes(used: Iterable[int]) -> Any:
    taken = set(used)
    return (lane for lane in range(len(taken) + 1) if lane not in taken)


def _operator_row(operator: dict[str, Any], inside: bool | None, reason: str) -> Row:
    kernel = " {} x {}".format(*operator["kernel"]) if operator["kernel"] else ""
    return Row(
        lane=0,
        kind=UNKNOWN if inside is None else INSIDE if inside else OUTSIDE,
        number=str(operator["index"]),
        op=operator["op"] + kernel,
        name=operator["name"],
        shape=_shape(operator),
        macs=operator["macs"],
        weight_bytes=operator["weight_bytes"],
        reason=reason,
    )


def _end_row(kind: str, end: dict[str, Any]) -> Row:
    return Row(0, "end", "", kind, end["name"], _shape(end), 0, 0, "")


def _shape(row: dict[str, Any]) -> str:
    if row["shape"] is None:
        return ""
    sizes = format_shape(row["shape"]) if row["shape"] else ""
    return f"{sizes} {row['dtype']}".strip()


def _columns(rows: Sequence[Row], gutter: float) -> dict[str, float]:
    """Return where each column begins; the last one is where the drawing ends."""
    at, columns = gutter + 4 * CHARACTER, {"index": gutter + 4 * CHARACTER}
    at += GAP / 2
    for column in ("op", "shape", "name"):
        columns[column] = at
        at += CHARACTER * _longest(rows, column) + GAP
    columns["macs"] = at
    columns["weights"] = at + BAR + 8 * CHARACTER + GAP + 9 * CHARACTER  # its right end
    columns["reason"] = columns["weights"] + GAP
    columns["end"] = max(columns["reason"] + CHARACTER * _longest(rows, "reason"), 860)
    return columns


def _longest(rows: Sequence[Row], column: str) -> int:
    return max((len(_cell(column, getattr(row, column))) for row in rows), default=0)


def _header(
    inspection: Inspection,
    title: str,
    accelerator: str,
    counts: dict[str, int],
    columns: dict[str, float],
    width: float,
) -> list[str]:
    texts = [
        f'<text class="title" x="{MARGIN}" y="38">{_clean(title)}</text>',
        f'<text class="about soft" x="{MARGIN}" y="60">{inspection.costs()}</text>',
    ]
    legend = {
        INSIDE: f"in {accelerator}",
        OUTSIDE: f"outside {accelerator}",
        UNKNOWN: f"not known whether in {accelerator}",
    }
    x = float(MARGIN + 6)
    for kind, words in legend.items():
        if counts[kind]:
            texts.append(_mark(kind, x, 84))
            words = f"{counts[kind]} operator{'s' * (counts[kind] != 1)} {words}"
            texts.append(f'<text class="about" x="{x + 14:.0f}" y="89">{_clean(words)}</text>')
            x += 14 + 7.2 * len(words) + GAP
    y = HEADER - 18
    heads = {"op": "operator", "shape": "makes", "name": "layer", "macs": "MACs", "reason": ""}
    texts += [
        f'<text class="head" x="{columns[column]:.1f}" y="{y}">{head}</text>'
        for column, head in heads.items()
    ]
    texts.append(f'<text class="head right" x="{columns["weights"]:.1f}" y="{y}">weights</text>')
    texts.append(f'<path class="rule" d="M{MARGIN} {y + 7}H{width - MARGIN:.0f}"/>')
    return texts


def _row(i: int, row: Row, columns: dict[str, float], most_macs: int) -> list[str]:
    y = _y(i)
    base = y + 4
    texts = [
        _mark(row.kind, _x(row.lane), y),
        f'<text class="soft right" x="{columns["index"]:.1f}" y="{base}">{row.number}</text>',
    ]
    look = {
        "op": f"op {OUTSIDE}" if row.kind == OUTSIDE else "",
        "name": "soft",
        "reason": "reason",
    }
    for column in ("op", "shape", "name", "reason"):
        if text := getattr(row, column):
            texts.append(_text(column, text, columns[column], base, look.get(column, "")))
    if row.macs:
        full = BAR * row.macs / most_macs
        x = columns["macs"]
        texts += [
            f'<rect class="track" x="{x:.1f}" y="{y - 5}" width="{BAR}" height="10" rx="2"/>',
            f'<rect class="{row.kind}" x="{x:.1f}" y="{y - 5}" width="{max(full, 1):.1f}" '
            'height="10" rx="2"/>',
            f'<text x="{x + BAR + 6:.1f}" y="{base}">{format_count(row.macs)}</text>',
        ]
    if row.weight_bytes:
        texts.append(
            f'<text class="soft right" x="{columns["weights"]:.1f}" y="{base}">'
            f"{format_bytes(row.weight_bytes)}</text>"
        )
    return texts


def _mark(kind: str, x: float, y: float) -> str:
    if kind == OUTSIDE:
        return f'<path class="{kind}" d="M{x:.0f} {y - 8}l8 8l-8 8l-8 -8z"/>'
    if kind == "end":
        return f'<rect class="{kind}" x="{x - 7:.0f}" y="{y - 4}" width="14" height="8" rx="3"/>'
    return f'<circle class="{kind}" cx="{x:.0f}" cy="{y}" r="6"/>'


def _path(edge: Edge, rows: Sequence[Row]) -> str:
    """Draw from the maker into the lane within a row, down, and within a row to the reader."""
    start, lane, end = _x(rows[edge.start].lane), _x(edge.lane), _x(rows[edge.end].lane)
    top, bottom = _y(edge.start), _y(edge.end)
    if edge.end == edge.start + 1 and start != end:
        middle = (top + bottom) / 2
        curve = f"C{start} {middle} {end} {middle} {end} {bottom}"
        return f'<path class="edge" d="M{start} {top}{curve}"/>'
    path = f"M{start} {top}"
    if start != lane:
        path += f"C{start} {top + ROW / 2} {lane} {top + ROW / 2} {lane} {top + ROW}"
    if lane == end:
        return f'<path class="edge" d="{path}V{bottom}"/>'
    half = bottom - ROW / 2
    return (
        f'<path class="edge" d="{path}V{bottom - ROW}C{lane} {half} {end} {half} {end} {bottom}"/>'
    )


def _text(column: str, text: str, x: float, y: float, kind: str) -> str:
    cell = _cell(column, text)
    tooltip = f"<title>{_clean(text)}</title>" if cell != text else ""
    return f'<text class={quoteattr(kind)} x="{x:.1f}" y="{y}">{tooltip}{_clean(cell)}</text>'


def _cell(column: str, text: str) -> str:
    most = LONGEST.get(column, len(text))
    return text if len(text) <= most else text[: most - 1] + "…"


def _clean(text: str) -> str:
    """Return the text as XML can hold it."""
    return escape(re.sub("[\ud800-\udfff\ufffe\uffff]", "?", printable(text)))


def _x(lane: int) -> float:
    return MARGIN + 6 + LANE * lane


def _y(row: int) -> float:
    return HEADER + ROW * row + ROW // 2 - 6
