#!/usr/bin/env bash
# Keras 3.15.1 and tf_keras 2.21.0 take any name for a model, but not every such model can be used by all methods.
#
# keras.Model(..., name="leaf (final)") is built and can be called on images. On TensorFlow, predict() of the
# same model raises ValueError: the name becomes a root scope of a graph, which takes letters, digits and
# "_.\-/" only. So a model that answers when called can fail in a converter, which traces it in a graph.
#
# Seen: keras: called, ValueError; tf_keras: called, ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
pip install --quiet tensorflow==2.21.0 keras==3.15.1 tf_keras==2.21.0 'setuptools<81'
seen=$(python - 2>/dev/null <<'END'
import keras
import numpy as np
import tf_keras

for library in (keras, tf_keras):
    image = library.Input((8, 8, 3))
    scores = library.layers.Dense(2)(library.layers.Flatten()(image))
    model = library.Model(image, scores, name="leaf (final)")
    zeros = np.zeros((1, 8, 8, 3), np.float32)
    assert np.asarray(model(zeros)).shape == (1, 2)
    try:
        model.predict(zeros, verbose=0)
        outcome = "predicts"
    except Exception as error:
        outcome = type(error).__name__
    print(f"{library.__name__.split('.')[0]}: called, {outcome}")
END
)
echo "$seen"
[ "$seen" = $'keras: called, ValueError\ntf_keras: called, ValueError' ]
