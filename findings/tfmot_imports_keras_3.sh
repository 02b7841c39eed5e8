#!/usr/bin/env bash
# tensorflow-model-optimization 0.8.1 beside tf_keras 2.21.0 (TF_USE_LEGACY_KERAS=1) loads Keras 3 as well.
#
# To find the base class of layers, its registry of prunable layers asks for `keras.engine.base_layer`, a module
# of Keras 2, and goes on with None when that fails. Where Keras 3 is installed, which TensorFlow itself
# requires, the question first imports the whole package, and matplotlib and scikit-learn where they are there:
# about a second of processor time. With `keras` kept out of sys.modules the answer is the same None.
#
# Seen: before 0 modules of keras; after hundreds; base layer None either way
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
pip install --quiet tensorflow==2.21.0 tf_keras==2.21.0 tensorflow-model-optimization==0.8.1
cat >"$folder/asked.py" <<'END'
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
import tensorflow  # noqa: E402, F401
import tf_keras  # noqa: E402, F401


def modules_of_keras() -> int:
    return sum(name.partition(".")[0] == "keras" for name in sys.modules)


print("before", modules_of_keras(), end="; ")
if sys.argv[1] == "without":
    sys.modules["keras"] = None
import tensorflow_model_optimization  # noqa: E402, F401
from tensorflow_model_optimization.python.core.sparsity.keras import prune_registry  # noqa: E402

print("after", "hundreds" if modules_of_keras() > 100 else "none", prune_registry.base_layer)
END
seen=$(cd "$folder" && for keras in with without; do python asked.py "$keras" 2>/dev/null; done)
printf '%s\n' "$seen"
[ "$seen" = "before 0; after hundreds None
before 0; after none None" ]
