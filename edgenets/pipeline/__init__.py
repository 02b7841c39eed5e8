"""From a config to a run folder: the one caller of `quantize` and `export` together."""
