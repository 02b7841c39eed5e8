"""What XNNPACK takes over is read off the interpreter rightly."""

from __future__ import annotations

import pytest
import tensorflow as tf

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.inspect.inspection import inspect_file
from edgenets.export.inspect.xnnpack import partitions


def outside(path):
    return [flatbuffer.read(path).operators[i].name for i in partitions(path).outside]


def test_a_net_that_xnnpack_knows_whole_is_one_partition(tiny_int8_file):
    assert partitions(tiny_int8_file) == (1, ())


@pytest.mark.parametrize(
    "name, count, left",
    [
        ("mlperf_tiny/vww_96_float.tflite", 1, []),
        ("mlperf_tiny/vww_96_int8.tflite", 2, ["AVERAGE_POOL_2D", "SOFTMAX"]),
        ("coral/split_concat.tflite", 2, ["SPLIT"]),
    ],
)
def test_an_operator_that_it_lacks_stands_between_partitions(shared_file, name, count, left):
    path = shared_file(name)
    assert partitions(path).number == count
    assert outside(path) == left


def test_inputs_that_a_benchmark_cannot_feed_are_no_reason_to_know_no_plan(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.int32), tf.TensorSpec((1,), tf.bool)])
    def net(tokens, mask):
        hidden = tf.gather(tf.reshape(tf.range(20.0), (10, 2)), tokens)
        return tf.reduce_mean(hidden, 1) + tf.cast(mask, tf.float32)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.get_concrete_function()], net)
    path = tmp_path / "tokens.tflite"
    path.write_bytes(converter.convert())
    found = inspect_file(path).xnnpack
    assert found["reason"] is None and found["partitions"] == 1
    assert found["ops_outside"] == len(found["outside"]) > 0  # GATHER and CAST


def test_a_damaged_file_is_refused(tiny_int8_file):
    with pytest.raises(EdgenetsError, match="damaged"):
        partitions(tiny_int8_file.read_bytes()[:2000])
