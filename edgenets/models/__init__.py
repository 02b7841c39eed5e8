"""The nets: one paper per file; registry, model folders."""

WORKER = "EDGENETS_WORKER"
"""In the environment of a process that will be one of the workers of a training."""
