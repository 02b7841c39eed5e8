"""Image classifiers from Keras to edge boards: built, trained, compressed, exported, measured.

```python
import edgenets as en

model = en.train("mobilenet_v1", data="photos", width=0.25, resolution=96, weights="imagenet")
small = model.compress(data="photos")
file = small.export("photos.tflite", target="rpi4")
file.predict("holiday.jpg").label
```

`import edgenets` loads no TensorFlow; what needs it loads it when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgenets.errors import EdgenetsError
    from edgenets.models.registry import create
    from edgenets.results.report import Report
    from edgenets.verbs.file import File, unpack
    from edgenets.verbs.model import Model, load
    from edgenets.verbs.nets import variants
    from edgenets.verbs.others import export_model, run
    from edgenets.verbs.releasing import Releases
    from edgenets.verbs.sweeping import sweep
    from edgenets.verbs.training import train
    from edgenets.verbs.updating import confirm, current, rollback, update, update_status

__version__ = "0.1.0"
__all__ = [
    "EdgenetsError",
    "File",
    "Model",
    "Releases",
    "Report",
    "__version__",
    "confirm",
    "create",
    "current",
    "export_model",
    "load",
    "rollback",
    "run",
    "sweep",
    "train",
    "unpack",
    "update",
    "update_status",
    "variants",
]

_MODULES = {
    "EdgenetsError": "edgenets.errors",
    "File": "edgenets.verbs.file",
    "Model": "edgenets.verbs.model",
    "Releases": "edgenets.verbs.releasing",
    "Report": "edgenets.results.report",
    "confirm": "edgenets.verbs.updating",
    "create": "edgenets.models.registry",
    "current": "edgenets.verbs.updating",
    "export_model": "edgenets.verbs.others",
    "load": "edgenets.verbs.model",
    "rollback": "edgenets.verbs.updating",
    "run": "edgenets.verbs.others",
    "sweep": "edgenets.verbs.sweeping",
    "train": "edgenets.verbs.training",
    "unpack": "edgenets.verbs.file",
    "update": "edgenets.verbs.updating",
    "update_status": "edgenets.verbs.updating",
    "variants": "edgenets.verbs.nets",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name when it is first asked for."""
    if name not in _MODULES:
        from edgenets.errors import did_you_mean

        raise AttributeError(
            f"module 'edgenets' has no attribute {name!r}{did_you_mean(name, __all__)}"
        )
    from importlib import import_module

    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
