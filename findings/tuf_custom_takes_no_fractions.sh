#!/usr/bin/env bash
# python-tuf 7.0.1: the `custom` value of a target takes no fractions, and metadata cannot be signed of version 0.
#
# `custom` is free for an application's own JSON, such as the accuracy of a released model. A fraction in it is taken
# by TargetFile and Metadata and fails at signing, with an exception that has no message: the canonical form that is
# signed (OLPC's) knows whole numbers only. As a text the same JSON passes. Nor may a role begin at version 0, to be
# counted up when it is signed first.
#
# Seen: whole: signed; fraction: SerializationError ''; text: signed; version 0: ValueError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet tuf==7.0.1 securesystemslib==1.6.0 cryptography==50.0.2
seen=$(python - <<'END'
import json

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile, Targets

signer = CryptoSigner.generate_ed25519()


def sign(custom):
    """What comes of signing a role that has one file with this custom value."""
    file = TargetFile.from_data("net.tflite", b"net", ["sha256"])
    file.unrecognized_fields["custom"] = custom
    try:
        Metadata(Targets(targets={"net.tflite": file})).sign(signer)
    except Exception as error:
        return f"{type(error).__name__} {str(error)!r}"
    return "signed"


try:
    Targets(version=0)
    version = "taken"
except Exception as error:
    version = type(error).__name__
outcomes = {
    "whole": sign({"top1": 1}),
    "fraction": sign({"top1": 0.9}),
    "text": sign({"text": json.dumps({"top1": 0.9})}),
    "version 0": version,
}
print("; ".join(f"{name}: {outcome}" for name, outcome in outcomes.items()))
END
)
echo "$seen"
[ "$seen" = "whole: signed; fraction: SerializationError ''; text: signed; version 0: ValueError" ]
