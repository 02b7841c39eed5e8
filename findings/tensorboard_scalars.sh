#!/usr/bin/env bash
# TensorFlow 2.21.0 writes event files without the package tensorboard, but its `tf.summary.scalar` does not.
#
# pip install tensorflow==2.21.0 no longer brings tensorboard. `tf.summary.create_file_writer` works without
# it; `tf.summary.scalar` raises TBNotInstalledError, since it takes the mark of a scalar (plugin name
# "scalars") from tensorboard. `tf.summary.write` with that mark writes the same event, and tensorboard
# 2.21.0, installed afterwards, lists its tag among the scalars.
#
# Seen: scalar: TBNotInstalledError; write: ok; tensorboard: ['loss']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
pip install --quiet tensorflow==2.21.0
cat >"$folder/write.py" <<'END'
import sys
import tensorflow as tf

kind = tf.compat.v1.SummaryMetadata
mark = kind(plugin_data=kind.PluginData(plugin_name="scalars"))
with tf.summary.create_file_writer(sys.argv[1]).as_default(step=1):
    try:
        tf.summary.scalar("loss", 0.5)
        print("scalar: ok")
    except Exception as error:
        print("scalar:", type(error).__name__)
    tf.summary.write("loss", 0.5, metadata=mark)
    print("write: ok")
END
written=$(python "$folder/write.py" "$folder/events" 2>/dev/null)
pip install --quiet tensorboard==2.21.0 'setuptools<81'
read=$(python - "$folder/events" 2>/dev/null <<'END'
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1])
events.Reload()
tags = events.Tags()
print("tensorboard:", tags["scalars"] or tags["tensors"])
END
)
printf '%s\n%s\n' "$written" "$read"
[ "$written" = $'scalar: TBNotInstalledError\nwrite: ok' ]
[ "$read" = "tensorboard: ['loss']" ]
