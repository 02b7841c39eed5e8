"""Channels removed: which ones, by what they carry and what they cost."""
