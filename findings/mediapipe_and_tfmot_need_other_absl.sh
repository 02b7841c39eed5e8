#!/usr/bin/env bash
# MediaPipe and the TensorFlow Model Optimization toolkit cannot be installed into one environment.
#
# mediapipe 1.2.3 asks for absl-py 2.3 or later and tensorflow-model-optimization 0.8.1 for absl-py 1, so pip refuses
# to resolve them together. Installed one after the other, pip replaces absl-py and says that what the toolkit asks
# for is not met any more. A net that is pruned with the one and tried in the other's tasks needs two environments.
#
# Seen: together: ResolutionImpossible; asked for: absl-py~=2.3 and absl-py~=1.2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
if pip install --dry-run mediapipe==1.2.3 tensorflow-model-optimization==0.8.1 >"$folder/log" 2>&1; then
  outcome="installed"
else
  outcome=$(grep -o ResolutionImpossible "$folder/log" | head -1)
fi
pip install --quiet --no-deps mediapipe==1.2.3 tensorflow-model-optimization==0.8.1
asked=$(python - <<'END'
from importlib.metadata import requires

packages = ("mediapipe", "tensorflow-model-optimization")
print(" and ".join(line for name in packages for line in requires(name) if line.startswith("absl-py")))
END
)
seen="together: $outcome; asked for: $asked"
echo "$seen"
[ "$seen" = "together: ResolutionImpossible; asked for: absl-py~=2.3 and absl-py~=1.2" ]
