"""What commands and verbs take by default; it loads nothing."""

from __future__ import annotations

from pathlib import Path

STARTS, MINUTES = 3, 60.0
"""In which a new model is to be confirmed."""
ROLES = ("root", "targets", "snapshot", "timestamp")
"""Of TUF: each has keys of its own, and metadata that they sign."""
TIMESTAMP_DAYS = 30
"""For which boards take the metadata for the newest."""
UNITS = Path("/etc/systemd/system")
"""Where systemd has units."""
