"""From how many zeros on a kernel is computed sparsely."""

SPARSE_FROM = 2 / 3
"""Fraction of zeros of a 1x1 kernel from which on XNNPACK computes it sparsely."""
