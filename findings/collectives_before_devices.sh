#!/usr/bin/env bash
# tensorflow 2.21.0: a worker of several may not look at its devices, and sums of plain tensors need them.
#
# MultiWorkerMirroredStrategy has to be made before anything of TensorFlow asks for devices, list_logical_devices
# included, which many programs call first to see whether there is a GPU: "Collective ops must be configured at program
# startup". And its all_reduce takes the tensors that a training step computes outside of the strategy's variables only
# once each has a device: in a tf.function they have none, which fails with "destinations can not be empty" and names
# neither; behind tf.identity inside Strategy.run they have one. Tensors of different types in one call fail, too.
# (Not shown here: a sum of a tensor without elements ends the process.)
#
# Seen: devices first: RuntimeError; plain: ValueError; with a device: [3.0]; of two types: TypeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1 TF_CPP_MIN_LOG_LEVEL=3 TF_USE_LEGACY_KERAS=1
pip install --quiet tensorflow==2.21.0 tf_keras==2.21.0
cat >"$folder/worker.py" <<'END'
import sys

import tensorflow as tf

index, ports = int(sys.argv[1]), sys.argv[2:]
cluster = tf.train.ClusterSpec({"worker": [f"127.0.0.1:{port}" for port in ports]})
resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
    cluster, task_type="worker", task_id=index, rpc_layer="grpc"
)
if len(ports) == 1:
    tf.config.list_logical_devices()
try:
    strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
except RuntimeError as error:
    sys.exit(print(f"devices first: {type(error).__name__}"))


def reduce(*values):
    return tf.distribute.get_replica_context().all_reduce("SUM", list(values))


def reduce_with_devices(*values):
    return reduce(*map(tf.identity, values))


def outcome(function, *types):
    """What comes of summing the numbers of both workers, 1 and 2, in a compiled step."""

    @tf.function
    def step(x):
        computed = [tf.cast(2 * x, kind) / 2 for kind in types]
        return strategy.run(function, args=tuple(computed))

    try:
        return [float(value) for value in step(tf.constant(index + 1.0))]
    except Exception as error:
        return type(error).__name__


print(
    f"plain: {outcome(reduce, tf.float32)}; with a device: "
    f"{outcome(reduce_with_devices, tf.float32)}; of two types: "
    f"{outcome(reduce_with_devices, tf.float32, tf.float64)}"
)
END
free() {
  python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
first=$(free) second=$(free)
alone=$(python "$folder/worker.py" 0 "$(free)" 2>/dev/null)
timeout 300 python "$folder/worker.py" 1 "$first" "$second" >/dev/null 2>&1 &
together=$(timeout 300 python "$folder/worker.py" 0 "$first" "$second" 2>/dev/null)
wait
seen="$alone; $together"
echo "$seen"
[ "$seen" = "devices first: RuntimeError; plain: ValueError; with a device: [3.0]; of two types: TypeError" ]
