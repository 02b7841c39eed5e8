#!/usr/bin/env bash
# ethos-u-vela 5.2.0: an .ini written by configparser does not compile, and an NPU takes another one's system.
#
# Vela calls its configuration an .ini for ConfigParser. That class writes keys in small letters; vela.ini itself, read
# and written by it (to add a board, say), does not compile any more: "Feature Map memory not configured", which does
# not name the key. --verbose-config shows the values as if they were taken. With `optionxform = str` the copy works.
# Nor is a system held to its NPU: an Ethos-U55 takes the system configuration of an Ethos-U85 without a warning, and
# its clock, from which the times are estimated, is then another's.
#
# Seen: as_it_is: 500 MHz; kept: 500 MHz; small: Feature Map memory not configured; of another NPU: 1000 MHz
#       warnings of the configuration: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet ethos-u-vela==5.2.0 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cat >"$folder/write.py" <<'END'
import configparser
from importlib.metadata import files
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as tfl


def activation_file() -> bytes:
    """A file of one int8 HARD_SWISH over 8 x 8 x 16 values."""

    def tensor(name):
        steps = tfl.QuantizationParametersT(scale=[1 / 16], zeroPoint=[0])
        return tfl.TensorT(name=name, shape=[1, 8, 8, 16], type=tfl.TensorType.INT8, buffer=0, quantization=steps)

    graph = tfl.SubGraphT(
        name="main",
        tensors=[tensor("before"), tensor("after")],
        inputs=[0],
        outputs=[1],
        operators=[tfl.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])],
    )
    code = tfl.BuiltinOperator.HARD_SWISH
    model = tfl.ModelT(
        version=3,
        operatorCodes=[tfl.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)],
        subgraphs=[graph],
        buffers=[tfl.BufferT(data=[])],
    )
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


Path("net.tflite").write_bytes(activation_file())
(bundled,) = (path for path in files("ethos-u-vela") if path.name == "vela.ini")
text = bundled.read_text()
Path("as_it_is.ini").write_text(text)
for name, keys in (("kept.ini", str), ("small.ini", str.lower)):
    parser = configparser.ConfigParser()  # whose optionxform is str.lower unless set
    parser.optionxform = keys
    parser.read_string(text)
    with open(name, "w") as file:
        parser.write(file)
END
cd "$folder"
python write.py 2>/dev/null
outcome() {
  vela net.tflite --accelerator-config ethos-u55-128 --config "$1" --system-config "$2" --memory-mode Shared_Sram \
    --output-dir compiled >log 2>&1 || true
  grep -oE '[0-9]+ MHz|Feature Map memory not configured' log
}
seen=$(
  for file in as_it_is kept small; do
    echo "$file: $(outcome "$folder/$file.ini" Ethos_U55_High_End_Embedded)"
  done
  echo "of another NPU: $(outcome "$folder/as_it_is.ini" Ethos_U85_SYS_DRAM_Mid)"
  echo "warnings of the configuration: $(grep -ciE 'warning.*(config|U85|U55)' log || true)"
)
echo "$seen"
[ "$seen" = "as_it_is: 500 MHz
kept: 500 MHz
small: Feature Map memory not configured
of another NPU: 1000 MHz
warnings of the configuration: 0" ]
