"""The one error that edgenets raises for what a user can put right, and its shared sentences."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# What the `train` extra installs: module -> package.
TRAIN_PACKAGES = {
    "tensorflow": "tensorflow",
    "tf_keras": "tf_keras",
    "tensorflow_model_optimization": "tensorflow-model-optimization",
    "safetensors": "safetensors",
    "h5py": "h5py",
    "pydantic": "pydantic",
    "yaml": "PyYAML",
    "sklearn": "scikit-learn",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
}


class EdgenetsError(Exception):
    """A failure a user can act on: the message is one sentence, shown without a traceback.

    It says what must hold, what was received and what to do next.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the nearest of `known`, or "" when none is near.

    >>> did_you_mean("corral", ["coral", "generic"])
    '; did you mean coral?'
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> EdgenetsError:
    """Return the error for a `name` that is not one of `known`.

    >>> str(unknown_name("target", "corral", ["generic", "coral"]))
    "unknown target 'corral'; did you mean coral? (known: coral, generic)"
    """
    names = sorted(known)
    return EdgenetsError(
        f"unknown {kind} {name!r}{did_you_mean(name, names)} (known: {', '.join(names)})"
    )


def missing_extra(package: str, extra: str) -> EdgenetsError:
    """Return the error for a `package` that only the optional dependencies `extra` install.

    >>> str(missing_extra("tensorflow", "train"))
    "this needs tensorflow, which is not installed; run: pip install 'edgenets[train]'"
    """
    return EdgenetsError(
        f"this needs {package}, which is not installed; run: pip install 'edgenets[{extra}]'"
    )


def explain_missing(error: ModuleNotFoundError) -> EdgenetsError | None:
    """Return the sentence for a module that the `train` extra installs; None for any other."""
    module, _, _ = (error.name or "").partition(".")
    return missing_extra(TRAIN_PACKAGES[module], "train") if module in TRAIN_PACKAGES else None


@contextmanager
def naming_extras() -> Iterator[None]:
    """Let the block, or the function that it decorates, name the extra that a module lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        if sentence := explain_missing(error):
            raise sentence from error
        raise
