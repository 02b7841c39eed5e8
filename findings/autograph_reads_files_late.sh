#!/usr/bin/env bash
# TensorFlow 2.21.0: a tf.function traces the source that lies in its file now, not what was imported.
#
# AutoGraph finds a function's text by its line number in the file, when the function is first traced. If the
# file changed since the import (an edit, a `git pull`, a checkout during a long run), another text stands at
# these lines: the process computes something that was in no version of the program it began with, or stops
# with an error about arguments that no line passes. Long measurements run from a clone that nobody edits.
#
# Seen: plain Python 1, traced 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
pip install --quiet tensorflow==2.21.0
seen=$(cd "$folder" && python - 2>/dev/null <<'END'
from pathlib import Path

import tensorflow as tf

Path("work.py").write_text("def answer():\n    return 1\n")
import work

Path("work.py").write_text("def answer():\n    return 2\n")
print("plain Python", work.answer(), end=", ")
print("traced", int(tf.function(work.answer)()))
END
)
printf '%s\n' "$seen"
[ "$seen" = "plain Python 1, traced 2" ]
