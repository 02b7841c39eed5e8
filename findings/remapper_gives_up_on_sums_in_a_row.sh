#!/usr/bin/env bash
# tensorflow 2.21.0, CPU, oneDNN on (the default on x86-64): two residual sums in a row that nothing rectifies end all fusing.
#
# Grappler's remapper makes one operator of a convolution with its bias, its ReLU and a sum. Where a sum goes both into a
# convolution's ReLU and into the next sum, as in nets that rectify before they convolve (Xception, ResNet v2) once their
# BatchNorm is folded into biases, it cannot apply what it planned and gives up on the whole graph, with one line of the
# log that names neither cause nor effect:
#       remapper failed: INVALID_ARGUMENT: Mutation::Apply error: fanout '...' exist for missing node '...'
# Answers stay right. What is lost is every fusion with a ReLU or a sum, also in the part of the graph that has no sums. One
# sum, or TF_ENABLE_ONEDNN_OPTS=0, with which sums are not fused, do not do it; tf.identity behind a convolution does not
# help.
#
# Seen, operators in the graph that ran, of eight convolutions with a ReLU between each two, the sums over the last ones:
#       0 sums: 8 fused, 0 ReLU, 0 sums, told 0 times
#       1 sums: 8 fused, 1 ReLU, 0 sums, told 0 times
#       2 sums: 0 fused, 7 ReLU, 2 sums, told 1 times
#       2 sums, oneDNN off: 8 fused, 2 ReLU, 2 sums, told 0 times
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet tensorflow==2.21.0
cat >"$folder/sums.py" <<'END'
import sys
from collections import Counter

import numpy as np
import tensorflow as tf

SUMS = int(sys.argv[1])
v1 = tf.compat.v1
random = np.random.default_rng(0)


def convolve(maps):
    kernel = random.normal(size=(3, 3, 8, 8)).astype(np.float32)
    return tf.nn.bias_add(tf.nn.conv2d(maps, kernel, 1, "SAME"), random.normal(size=8).astype(np.float32))


with tf.Graph().as_default() as graph:
    image = v1.placeholder(tf.float32, (1, 16, 16, 8))
    maps = convolve(image)
    for left in range(7, 0, -1):
        convolved = convolve(tf.nn.relu(maps))
        maps = convolved + maps if left <= SUMS else convolved
    result = tf.identity(maps)
    options, record = v1.RunOptions(output_partition_graphs=True), v1.RunMetadata()
    with v1.Session(graph=graph) as session:
        session.run(result, {image: np.zeros((1, 16, 16, 8), np.float32)}, options, record)
count = Counter(node.op for part in record.partition_graphs for node in part.node)
fused = count["_MklNativeFusedConv2D"] + count["_FusedConv2D"]
print(f"{fused} fused, {count['Relu']} ReLU, {count['AddV2'] + count['Add']} sums", end="")
END
cd "$folder"
see() {
  local result
  result=$(python sums.py "$1" 2>log)
  echo "$2: $result, told $(grep -c 'remapper failed' log || true) times"
}
seen=$(
  for sums in 0 1 2; do see "$sums" "$sums sums"; done
  TF_ENABLE_ONEDNN_OPTS=0 see 2 "2 sums, oneDNN off"
)
echo "$seen"
[ "$seen" = "0 sums: 8 fused, 0 ReLU, 0 sums, told 0 times
1 sums: 8 fused, 1 ReLU, 0 sums, told 0 times
2 sums: 0 fused, 7 ReLU, 2 sums, told 1 times
2 sums, oneDNN off: 8 fused, 2 ReLU, 2 sums, told 0 times" ]
