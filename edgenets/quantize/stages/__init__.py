"""Compression stages: one per file, and what they share."""
