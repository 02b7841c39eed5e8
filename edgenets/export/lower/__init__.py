"""Rewrites of a net for a target."""
