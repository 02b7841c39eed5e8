"""The table of published weights: complete, and clear about what it has not."""

from __future__ import annotations

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgenets.errors import EdgenetsError
from edgenets.files import sha256_file
from edgenets.models.registry import complete_arguments
from edgenets.models.weights.sources import IMAGENET, imagenet_weights


def url(name: str, **arguments: object) -> str:
    return imagenet_weights(name, complete_arguments(name, arguments)).url


# As tf_keras 2.21 builds the names: applications/{mobilenet,mobilenet_v2,...}.py.
@pytest.mark.parametrize(
    "name, arguments, end",
    [
        ("mobilenet_v1", {}, "/mobilenet/mobilenet_1_0_224_tf.h5"),
        (
            "mobilenet_v1",
            {"width": 0.25, "resolution": 128},
            "/mobilenet/mobilenet_2_5_128_tf.h5",
        ),
        (
            "mobilenet_v2",
            {"width": 0.35, "resolution": 96},
            "/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5",
        ),
        (
            "mobilenet_v3_small",
            {"minimalistic": True},
            "/mobilenet_v3/weights_mobilenet_v3_small_minimalistic_224_1.0_float.h5",
        ),
        (
            "mobilenet_v3_large",
            {"width": 0.75},
            "/mobilenet_v3/weights_mobilenet_v3_large_224_0.75_float.h5",
        ),
        ("inception_v3", {}, "/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5"),
        ("xception", {}, "/xception/xception_weights_tf_dim_ordering_tf_kernels.h5"),
        ("squeezenet", {}, "/compressed_SqueezeNet.net"),
    ],
)
def test_file_has_the_name_of_the_release(name: str, arguments: dict, end: str):
    assert url(name, **arguments).endswith(end)


def test_every_published_width_and_resolution_is_there():
    assert Counter(file.name for file in IMAGENET) == {
        "mobilenet_v1": 4 * 4,
        "mobilenet_v2": 4 * 5 + 2,
        "mobilenet_v3_large": 3,
        "mobilenet_v3_small": 3,
        "inception_v3": 1,
        "xception": 1,
        "squeezenet": 1,
    }
    assert len({file.url for file in IMAGENET}) == len(IMAGENET)


@pytest.mark.parametrize("resolution, nearest", [(96, 128), (150, 160), (320, 224), (192, 192)])
def test_other_resolution_takes_the_nearest_file(resolution: int, nearest: int):
    end = f"mobilenet_5_0_{nearest}_tf.h5"
    assert url("mobilenet_v1", width=0.5, resolution=resolution, output_stride=8).endswith(end)


@pytest.mark.parametrize(
    "name, arguments, sentence",
    [
        (
            "shufflenet_v2",
            {},
            "no imagenet weights of shufflenet_v2 are published; take one of mobilenet_v1, "
            "mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small, inception_v3, xception, "
            "squeezenet, or pass --weights FILE",
        ),
        (
            "mobilenet_v1",
            {"width": 0.6},
            "no imagenet weights of mobilenet_v1 width=0.6 are published; "
            "there are width=1.0; width=0.75; width=0.5; width=0.25",
        ),
        (
            "mobilenet_v3_small",
            {"width": 0.75, "minimalistic": True},
            "no imagenet weights of mobilenet_v3_small width=0.75 minimalistic=true are published; "
            "there are width=1.0 minimalistic=false; width=0.75 minimalistic=false; "
            "width=1.0 minimalistic=true",
        ),
        (
            "squeezenet",
            {"squeeze_ratio": 0.25},
            "no imagenet weights of squeezenet version=1.0 bypass=none squeeze_ratio=0.25 are "
            "published; there are version=1.0 bypass=none",
        ),
    ],
)
def test_what_is_not_published_gets_a_sentence_with_what_is(
    name: str, arguments: dict, sentence: str
):
    with pytest.raises(EdgenetsError) as raised:
        url(name, **arguments)
    assert str(raised.value) == sentence


def test_pinned_hash_is_that_of_the_file(shared_data: Path):
    (file,) = (file for file in IMAGENET if file.name == "squeezenet")
    assert sha256_file(shared_data / "squeezenet_deep_compression.net") == file.sha256


def test_file_has_the_md5_that_tf_keras_expects():
    """Of MobileNet V1 and V2 it expects none."""
    (folder,) = find_spec("tf_keras").submodule_search_locations  # which imports nothing
    pages = {file.stem: file.read_text() for file in Path(folder).rglob("applications/*.py")}
    for file in IMAGENET:
        if file.name.startswith("mobilenet_v3"):
            key = file.url.rpartition("weights_mobilenet_v3_")[2].removesuffix(".h5")
            assert re.search(rf'"{key}": \(\s*"{file.md5}",', pages["mobilenet_v3"])
        elif file.name in ("inception_v3", "xception"):
            assert f'file_hash="{file.md5}"' in pages[file.name]
        else:
            assert file.md5 is None
