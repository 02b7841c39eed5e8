"""How long and with what a file is measured, if not told otherwise: verbs, commands and configs."""

THREADS, MOST_THREADS = 1, 256
"""Of the interpreter."""
MIN_SECONDS = 2.0
"""That timed runs take, at least; those of operators once more."""
MIN_RUNS = 100
"""Timed inferences, at least."""
