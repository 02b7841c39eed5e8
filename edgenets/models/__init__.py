"""The nets: one paper per file; registry, model folders."""
