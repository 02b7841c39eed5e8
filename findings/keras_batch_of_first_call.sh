#!/usr/bin/env bash
# Keras 3.15.1: a Sequential without an input shape keeps the batch of its first call in its input's shape.
#
# Such a model is built when it is first called. Called on two images, model.inputs[0].shape begins with 2 from
# then on, though the model goes on to answer batches of any size. A converter that reads the shape writes a
# file for two images. With keras.Input in front the batch stays open.
#
# Seen: keras: (2, 8, 8, 3), answers 5; keras with Input: (None, 8, 8, 3)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
pip install --quiet tensorflow==2.21.0 keras==3.15.1
seen=$(python - 2>/dev/null <<'END'
import keras
import numpy as np

layers = [keras.layers.Flatten(), keras.layers.Dense(3)]
two, five = np.zeros((2, 8, 8, 3), np.float32), np.zeros((5, 8, 8, 3), np.float32)
model = keras.Sequential(layers)
model(two)
print(f"keras: {tuple(model.inputs[0].shape)}, answers {len(model(five))}")
model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
model(two)
print(f"keras with Input: {tuple(model.inputs[0].shape)}")
END
)
echo "$seen"
[ "$seen" = $'keras: (2, 8, 8, 3), answers 5\nkeras with Input: (None, 8, 8, 3)' ]
