"""Fit a net: schedule, augmentation, resumable epochs."""
