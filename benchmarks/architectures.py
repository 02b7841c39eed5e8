"""Write docs/evidence/architectures.md and its two plots: what makes small nets small, computed.

python benchmarks/architectures.py

Every figure is of a net or a layer as the builders make it, or of `edgenets list`, whose figures a
test compares with the builds.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from accuracy_plots import PLOTS, arguments_of, percent, plot_path, save

from edgenets.models.backend import keras
from edgenets.models.layers import conv, depthwise
from edgenets.models.mobilenet_v1 import BLOCKS, STEM_CHANNELS, STEM_STRIDE
from edgenets.models.registry import create
from edgenets.models.variants import VARIANTS, Variant
from edgenets.profile import ASSUMPTIONS, LayerProfile, Profile, profile
from edgenets.units import format_bytes, format_count, format_percent

PAGE = Path(__file__).parents[1] / "docs" / "evidence" / "architectures.md"

INTRODUCTION = f"""\
# What makes small nets small

Written by `python benchmarks/architectures.py` from the code; a test fails where the two
differ. A MAC is one multiply and one add of a convolution or dense layer, for one image; nets
are built for 1,000 classes, and parameters count BatchNorm's moving statistics. Published top-1
is on ImageNet.

`edgenets summary` gives parameters, MACs, memory and energy of any net and its layers. What it
takes for granted: {" ".join(ASSUMPTIONS)} An interpreter that keeps another order needs more
memory, one that holds weights on its chip less energy: the figures are for comparing nets.
"""


# What is computed


def layer_cost(side: int, channels: int, layers: Callable[[Any], Any]) -> Profile:
    """Profile `layers` on a map `[side, side, channels]`."""
    image = keras.Input((side, side, channels))
    return profile(keras.Model(image, layers(image)))


@functools.cache
def net_cost(name: str, **arguments: Any) -> Profile:
    cost = profile(create(name, **arguments))
    keras.backend.clear_session()
    return cost


def variant(name: str, resolution: int | None = None, **arguments: Any) -> Variant:
    """Return the published variant with these arguments, at any resolution if none is given."""
    return next(
        v
        for v in VARIANTS
        if v.name == name and v.arguments == arguments and resolution in (None, v.resolution)
    )


def total(layers: Iterable[LayerProfile]) -> tuple[int, int]:
    """Return the parameters and the MACs of all `layers`."""
    kept = list(layers)
    return sum(layer.params for layer in kept), sum(layer.macs for layer in kept)


# How it is said


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; a column whose name begins with ">" is aligned to the right."""
    names = [column.removeprefix(">") for column in columns]
    rules = ["---:" if column.startswith(">") else "---" for column in columns]
    lines = [f"| {' | '.join(map(str, line))} |\n" for line in (names, rules, *rows)]
    return "".join(lines)


def wrap(text: str) -> str:
    """Break the lines of paragraphs, not of tables, headings and lists."""
    blocks = [
        block if block[:1] in "|#!-" else textwrap.fill(block, 100, break_on_hyphens=False)
        for block in text.strip().split("\n\n")
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def change(after: int, before: int) -> str:
    return f"{100 * (after / before - 1):+.1f} %"


def times(large: int, small: int) -> str:
    return f"{large / small:.1f}x"


# The techniques


def without_dense_layers() -> str:
    rows = []
    for name in ("alexnet", "vgg16"):
        cost = net_cost(name)
        params, macs = total(layer for layer in cost.layers if layer.kind == "Dense")
        (flat,) = (layer for layer in cost.layers if layer.name == "flatten")
        before = cost.layers[cost.layers.index(flat) - 1].output_shape[-1]
        pooled = cost.params - params + before * 1000 + 1000
        rows.append(
            (
                name,
                format_count(cost.params),
                f"{format_count(params)} ({100 * params / cost.params:.0f} %)",
                f"{format_count(macs)} ({100 * macs / cost.macs:.0f} %)",
                f"{format_count(pooled)} ({times(cost.params, pooled)} fewer)",
            )
        )
    columns = (
        *("net", ">parameters", ">of them in dense layers", ">MACs in dense layers"),
        ">parameters with pooling",
    )
    return f"""\
Three dense layers hold nearly all weights of the early nets and do few of their MACs. Global
average pooling leaves one value per channel, so that one dense layer of channels x classes is
enough (SqueezeNet: a 1x1 convolution before the pooling).

{table(columns, rows)}"""


def smaller_kernels() -> str:
    shares = {share: net_cost("squeezenet", pct_3x3=share) for share in (0.99, 0.75, 0.5, 0.25)}
    most = shares[0.99]
    rows = [
        (
            f"{100 * share:.0f} %",
            f"{format_count(cost.params)} ({change(cost.params, most.params)})",
            f"{format_count(cost.macs)} ({change(cost.macs, most.macs)})",
        )
        for share, cost in shares.items()
    ]
    mobilenet = net_cost("mobilenet_v1")
    pointwise = total(x for x in mobilenet.layers if x.name.endswith("pointwise_conv"))
    return f"""\
A 1x1 kernel has a ninth of the weights of a 3x3 one. SqueezeNet makes half of a fire module's
expand kernels 1x1 (`pct_3x3=0.5`):

{table(("3x3 share of the expand kernels", ">parameters", ">MACs"), rows)}
MobileNet V1 goes further: its 1x1 convolutions do {100 * pointwise[1] / mobilenet.macs:.1f} %
of the MACs and hold {100 * pointwise[0] / mobilenet.params:.1f} % of the parameters; its 3x3
kernels see one channel each. MobileNet V3 `minimalistic=True` makes the remaining 5x5 kernels
3x3.
"""


def fewer_channels() -> str:
    ratios = (0.125, 0.25, 0.5, 0.75, 1.0)
    variants = [
        variant(
            "squeezenet", **({"version": "1.0"} if ratio == 0.125 else {"squeeze_ratio": ratio})
        )
        for ratio in ratios
    ]
    rows = [
        (ratio, format_count(v.params), format_count(v.macs), times(v.params, variants[0].params))
        for ratio, v in zip(ratios, variants, strict=True)
    ]
    return f"""\
What a 3x3 convolution costs grows with the channels that it reads. SqueezeNet's fire modules
squeeze them through a 1x1 convolution first, to `squeeze_ratio` of the channels that they
expand to:

{table(("squeeze ratio", ">parameters", ">MACs", ">parameters against 0.125"), rows)}
ShuffleNet V1's units bottleneck to a quarter. MobileNet V2 turns it round: it is the maps
between its units that are narrow, and the depthwise convolution, cheap in channels, works in
six times as many.
"""


def downsampling() -> str:
    late, early = variant("squeezenet", version="1.0"), variant("squeezenet", version="1.1")
    mobilenet = net_cost("mobilenet_v1")
    sides = {layer.output_shape[0] for layer in mobilenet.layers if len(layer.output_shape) == 3}
    rows = []
    for side in sorted(sides, reverse=True):
        params, macs = total(
            x for x in mobilenet.layers if len(x.output_shape) == 3 and x.output_shape[0] == side
        )
        if macs:
            share = f"{100 * macs / mobilenet.macs:.0f} %"
            rows.append((f"{side} x {side}", format_count(params), format_count(macs), share))
    small = {
        stride: net_cost(
            "mobilenet_v1", width=0.25, resolution=32, classes=10, output_stride=stride
        )
        for stride in (32, 16, 8)
    }
    strides = [
        (
            stride,
            f"{32 // stride} x {32 // stride}",
            format_count(cost.params),
            format_count(cost.macs),
        )
        for stride, cost in small.items()
    ]
    return f"""\
Halving a map's sides quarters the MACs of every layer after it and leaves their weights.
SqueezeNet 1.0 pools late, after conv1, fire4 and fire8, and keeps large maps for accuracy:
{format_count(late.macs)} MACs. Version 1.1 pools after conv1, fire3 and fire5 and begins with
3x3 kernels: {format_count(early.macs)} MACs ({change(early.macs, late.macs)}),
{format_count(early.params)} parameters ({change(early.params, late.params)}).

MobileNet V1 halves its map five times, spread evenly, and doubles the channels each time; no
map size stands out but 14 x 14, where half of the blocks are:

{table(("map", ">parameters", ">MACs", ">of all MACs"), rows)}
For small images there would be nothing left: `output_stride` removes the earliest strides.
MobileNet V1 at width 0.25, 32 pixels and 10 classes:

{table(("output stride", "last map", ">parameters", ">MACs"), strides)}"""


def convolutions(*kernels: int | tuple[int, int]) -> Callable[[Any], Any]:
    """Return layers: convolutions of these kernels, one after the other, all of the map's width."""

    def layers(x: Any) -> Any:
        for i, kernel in enumerate(kernels):
            x = conv(x, x.shape[-1], kernel=kernel, name=f"layer{i}")
        return x

    return layers


def separable(x: Any) -> Any:
    return conv(depthwise(x, name="depthwise"), x.shape[-1], kernel=1, name="pointwise")


def separable_convolution() -> str:
    layers = (
        ("full 3x3 convolution", 14, 512, convolutions(3)),
        ("depthwise separable", 14, 512, separable),
        ("and width 0.75", 14, 384, separable),
        ("and resolution 0.714", 10, 384, separable),
    )
    rows = []
    for label, side, channels, build in layers:
        macs = layer_cost(side, channels, build).macs
        weights = macs // side**2  # every position uses every weight once
        rows.append((label, f"{side} x {side} x {channels}", f"{macs:,}", f"{weights:,}"))
    one = [layer_cost(14, 512, build).macs for build in (convolutions(3), separable)]
    net = variant("mobilenet_v1", width=1.0)
    whole = profile(_mobilenet_v1_of_full_convolutions())
    return f"""\
A depthwise 3x3 convolution filters each channel, a 1x1 convolution mixes them: N output
channels take `1/N+1/9` of the MACs of a full 3x3 convolution: 8 to 9 times less, says the
MobileNet paper. Its one-layer example (table 3), weights of the kernels only:

{table(("layer", "map", ">MACs", ">weights"), rows)}
The separable layer has {times(*one)} fewer MACs. MobileNet V1 as a whole, all its separable
convolutions made full ones (the paper's table 4): {format_count(whole.macs)} MACs and
{format_count(whole.params)} parameters, against {format_count(net.macs)} and
{format_count(net.params)}: {times(whole.macs, net.macs)} and {times(whole.params, net.params)}
fewer.
"""


def _mobilenet_v1_of_full_convolutions() -> keras.Model:
    image = keras.Input((224, 224, 3))
    x = conv(image, STEM_CHANNELS, kernel=3, stride=STEM_STRIDE, name="stem")
    for b, block in enumerate(BLOCKS, start=1):
        x = conv(x, block.channels, kernel=3, stride=block.stride, name=f"block{b}")
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(1000)(x))


def grouped_convolution() -> str:
    nets = [v for v in VARIANTS if v.name == "shufflenet_v1" and v.arguments["scale"] == 1.0]
    rows = []
    for net in nets:
        groups = net.arguments["groups"]
        cost = net_cost(net.name, groups=groups)
        grouped = total(layer for layer in cost.layers if layer.kind == "GroupedPointwise")
        dense = cost.macs + (groups - 1) * grouped[1]
        channels = next(x for x in cost.layers if x.name == "stage2_unit4_relu").output_shape[-1]
        rows.append(
            (
                groups,
                channels,
                format_count(net.params),
                format_count(net.macs),
                f"{format_count(dense)} ({times(dense, net.macs)})",
                format_percent(net.top1_published),
            )
        )
    shuffles = [x for x in net_cost("shufflenet_v1", groups=3).layers if x.kind == "ChannelShuffle"]
    params, macs = total(shuffles)
    columns = (
        *("groups", ">channels of stage 2", ">parameters", ">MACs", ">MACs without groups"),
        ">published top-1",
    )
    return f"""\
In g groups every output channel of a 1x1 convolution reads a g-th of the input channels, for a
g-th of the MACs and weights. ShuffleNet V1 spends that on channels: at about the same MACs,
more groups make a wider net. The same width without groups would cost what the last but one
column says.

{table(columns, rows)}
Groups alone would never meet: the shuffle deals their channels out anew. The {len(shuffles)}
shuffles have {params} parameters and {macs} MACs; without them the paper's top-1 at g = 3 falls
from 67.4 to 65.5 %. Training computes a group as a matrix product, export writes one grouped
convolution (`with_native_groups`). ShuffleNet V2 drops the groups, passes half of the channels
on, and shuffles the halves.
"""


def factorized_convolution() -> str:
    rows = []
    for label, side, channels, whole, parts in (
        ("5x5 as two 3x3", 28, 96, convolutions(5), convolutions(3, 3)),
        (
            "7x7 as 1x7 and 7x1 (Inception v3)",
            17,
            192,
            convolutions(7),
            convolutions((1, 7), (7, 1)),
        ),
    ):
        before = layer_cost(side, channels, whole).macs
        after = layer_cost(side, channels, parts).macs
        size = f"{side} x {side} x {channels}"
        rows.append((label, size, format_count(before), format_count(after), change(after, before)))
    plain = net_cost("inception_v1")
    built = net_cost("inception_v1", factorized=True)
    return f"""\
Two 3x3 convolutions see 5 x 5 pixels with 18 weights for 25, and have a nonlinearity between
them:

{table(("layer of equal widths", "map", ">MACs", ">MACs factorized", ">change"), rows)}
Where the widths differ, it saves only if the layer writes fewer than 16/9 of the channels that
it reads. GoogLeNet's 5x5 kernels write two to four times as many, and `inception_v1
factorized=True` gives both 3x3 the width of the output: as built, the net has
{change(built.params, plain.params)} parameters and {change(built.macs, plain.macs)} MACs. It
gains nonlinearities, no size.
"""


def multipliers() -> str:
    widths, resolutions = (1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128)
    largest = variant("mobilenet_v1", width=1.0)
    rows = []
    for width in widths:
        nets = [variant("mobilenet_v1", resolution, width=width) for resolution in resolutions]
        cells = [
            f"{format_count(net.macs)} ({net.macs / largest.macs:.2f}), {percent(net):.1f} %"
            for net in nets
        ]
        params = nets[0].params
        rows.append((width, f"{format_count(params)} ({params / largest.params:.2f})", *cells))
    columns = ("width", ">parameters", *(f">{resolution} pixels" for resolution in resolutions))
    return f"""\
Width alpha multiplies every layer's channels: MACs and weights fall with about its square (the
first layer, the depthwise kernels and the classifier fall slower). Resolution rho multiplies
the sides of every map: MACs fall with its square, weights stay. MobileNet V1: MACs (and their
share), published top-1.

{table(columns, rows)}"""


def bypass() -> str:
    nets = {
        "none": variant("squeezenet", 227, version="1.0"),
        **{kind: variant("squeezenet", bypass=kind) for kind in ("simple", "complex")},
    }
    plain = nets["none"]
    rows = []
    for kind, net in nets.items():
        peak_bytes = net_cost("squeezenet", bypass=kind).activation_peak_bytes
        rows.append(
            (
                kind,
                f"{net.params:,} ({change(net.params, plain.params)})",
                f"{format_count(net.macs)} ({change(net.macs, plain.macs)})",
                format_bytes(peak_bytes),
                format_percent(net.top1_published),
            )
        )
    columns = ("bypass", ">parameters", ">MACs", ">activations at their peak", ">published top-1")
    return f"""\
Adding a module's input to its output costs no weights and no MACs where the channels agree
("simple"), a 1x1 convolution where they do not ("complex"). The input lives until the sum is
computed, which may take memory. SqueezeNet, the cheaper bypass being the better one:

{table(columns, rows)}
MobileNet V2 adds the narrow ends of its units, Xception and ShuffleNet V1 whole maps.
"""


class Technique(NamedTuple):
    """A way to a smaller net: where it stands in edgenets/models, and what it saves."""

    title: str
    where: str  # MODULE.FUNCTION or MODULE.CLASS, one or more
    text: Callable[[], str]


TECHNIQUES = (
    Technique(
        "Fully-connected layers removed",
        "layers.pooled_classifier squeezenet.squeezenet layers.dense_classifier",
        without_dense_layers,
    ),
    Technique(
        "Kernels reduced",
        "squeezenet._fire mobilenet_v1.mobilenet_v1 mobilenet_v3._mobilenet_v3",
        smaller_kernels,
    ),
    Technique(
        "Channels reduced",
        "squeezenet._fires shufflenet_v1._branch mobilenet_v2._inverted_residual",
        fewer_channels,
    ),
    Technique(
        "Downsampling late, or spread evenly",
        "squeezenet.squeezenet mobilenet_v1.mobilenet_v1 layers.remove_strides",
        downsampling,
    ),
    Technique(
        "Depthwise separable convolution",
        "layers.depthwise mobilenet_v1.mobilenet_v1 xception.xception",
        separable_convolution,
    ),
    Technique(
        "Grouped convolution and channel shuffle",
        "grouped.GroupedPointwise grouped.ChannelShuffle grouped.with_native_groups "
        "shufflenet_v1._unit shufflenet_v2._unit",
        grouped_convolution,
    ),
    Technique(
        "Two 3x3 for a 5x5",
        "inception_v1._inception inception_v3.inception_v3",
        factorized_convolution,
    ),
    Technique(
        "Width and resolution multipliers",
        "layers.scale_channels layers.round_channels registry.create",
        multipliers,
    ),
    Technique(
        "Bypass",
        "squeezenet._fire mobilenet_v2._inverted_residual shufflenet_v1._unit",
        bypass,
    ),
)


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for technique in TECHNIQUES:
        where = ", ".join(
            f"`{function}` in [{module}.py](../../edgenets/models/{module}.py)"
            for module, _, function in (place.partition(".") for place in technique.where.split())
        )
        parts.append(f"## {technique.title}\n\nIn the code: {where}.\n\n{technique.text()}")
    images = "\n\n".join(
        f"![Published top-1 over {label} of all variants]({plot_path(cost).name})"
        for cost, label in PLOTS.items()
    )
    rows = [
        (
            *(v.name, arguments_of(v), v.resolution, f"{v.params:,}", f"{v.macs:,}"),
            format_percent(v.top1_published),
        )
        for v in VARIANTS
    ]
    columns = ("net", "arguments", ">pixels", ">parameters", ">MACs", ">published top-1")
    sources = "".join(
        f"- {name}: {source}\n"
        for name, source in dict.fromkeys((v.name, v.source) for v in VARIANTS)
    )
    parts.append(
        "## All variants\n\nFilled markers are nets at their largest resolution, lines join their "
        "widths; hollow markers are smaller resolutions. Filled markers off a line are other "
        "forms: MobileNet V3's minimalistic ones, ShuffleNet V1's groups at one scale.\n\n"
        f"{images}\n\n{table(columns, rows)}\n{sources}"
    )
    return "\n".join(map(wrap, parts))


def main() -> None:
    PAGE.write_text(page())
    for cost in PLOTS:
        save(cost)


if __name__ == "__main__":
    main()
