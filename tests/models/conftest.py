"""Nets of which tests look at shapes and costs alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edgenets.models.backend import keras, tf
from edgenets.models.registry import complete_arguments, create

MOST_KEPT = 12


@contextmanager
def drawing_zeros() -> Iterator[None]:
    """Let first weights be zeros: drawing them takes a third of a build."""

    def zeros(_: object, shape: tuple[int, ...], dtype: object = None, **__: object) -> object:
        return tf.zeros(shape, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", zeros)
        yield


@pytest.fixture(scope="module")
def weights_not_drawn() -> Iterator[None]:
    """Let all nets of a module begin with zeros."""
    with drawing_zeros():
        yield


@pytest.fixture(scope="session")
def net_of_zeros() -> Iterator[Callable[..., keras.Model]]:
    """A function like `create` whose nets begin with zeros, and are built once for all tests."""

    @functools.lru_cache(MOST_KEPT)
    def build(name: str, arguments: tuple[tuple[str, Any], ...]) -> keras.Model:
        with drawing_zeros():
            return create(name, **dict(arguments))

    yield lambda name, **given: build(name, tuple(complete_arguments(name, given).items()))
    build.cache_clear()
