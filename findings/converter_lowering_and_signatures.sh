#!/usr/bin/env bash
# TensorFlow 2.21.0: the same net converts to the same kernels by either way, but only one names its ends.
#
# TFLiteConverter.from_concrete_functions writes a SavedModel to a temporary folder and reads it again, unless
# experimental_lower_to_saved_model is False. Then a conversion takes less processor time (not asserted here),
# operators and kernels stay the same, and the file has no signature: a reader that asks for the runner of
# "serving_default" finds none.
#
# Seen: True: ['serving_default'], False: [], operators and kernels alike
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
pip install --quiet tensorflow==2.21.0 tf_keras==2.21.0 ai-edge-litert==2.3.0 'setuptools<81'
seen=$(python - 2>/dev/null <<'END'
import tensorflow as tf
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter, OpResolverType

keras.utils.set_random_seed(0)
image = keras.Input((8, 8, 3))
features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
model = keras.Model(image, keras.layers.Dense(2)(features))
call = tf.function(lambda x: model(x))
call = call.get_concrete_function(tf.TensorSpec([1, 8, 8, 3], tf.float32))
nets = []
for lower in (True, False):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call], model)
    converter.experimental_lower_to_saved_model = lower
    interpreter = Interpreter(
        model_content=converter.convert(),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    print(f"{lower}: {list(interpreter.get_signature_list())}")
    tensors = interpreter.get_tensor_details()
    kernels = [t["index"] for t in tensors if tuple(t["shape"]) in ((4, 3, 3, 3), (2, 4))]
    assert len(kernels) == 2
    nets.append(
        (
            [operator["op_name"] for operator in interpreter._get_ops_details()],
            sorted(interpreter.get_tensor(index).tobytes() for index in kernels),
        )
    )
print("operators and kernels", "alike" if nets[0] == nets[1] else "differ")
END
)
echo "$seen"
[ "$seen" = $'True: [\'serving_default\']\nFalse: []\noperators and kernels alike' ]
