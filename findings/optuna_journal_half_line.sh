#!/usr/bin/env bash
# optuna 5.0.0: a journal whose last line was cut off is read, and damaged by the next thing that is written to it.
#
# JournalFileBackend appends a line of JSON for each change. Of a process that was killed amid a line, half of it is
# left. Opened again, the study passes over that half, and all trials before are there. The next trial is then written
# behind the half, on the same line, and not found again: an AttributeError about the storage. After that the journal
# cannot be read any more: a JSONDecodeError. So a search that was killed has to cut its journal at the last line break
# before it goes on.
#
# Seen: cut off: 2 trials; gone on: AttributeError, then JSONDecodeError; cut at the line break: 3 trials
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
. "$folder/venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip install --quiet optuna==5.0.0
cd "$folder"
seen=$(python - <<'END'
import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def storage(path):
    return JournalStorage(JournalFileBackend(str(path)))


def trials(path):
    """How many trials the journal at `path` has."""
    try:
        return f"{len(optuna.load_study(study_name='nets', storage=storage(path)).trials)} trials"
    except Exception as error:
        return type(error).__name__


whole = Path("whole.log")
begun = optuna.create_study(storage=storage(whole), study_name="nets")
for value in (1.0, 2.0):
    begun.tell(begun.ask(), value)
half = '{"op_code": 4, "worker_id"'
left, cut = Path("left.log"), Path("cut.log")
left.write_text(whole.read_text() + half)
cut.write_text(whole.read_text())  # the half line removed
counted = trials(left)


def go_on(path):
    """What comes of one more trial."""
    try:
        going_on = optuna.load_study(study_name="nets", storage=storage(path))
        going_on.tell(going_on.ask(), 3.0)
    except Exception as error:
        return type(error).__name__
    return trials(path)


print(f"cut off: {counted}; gone on: {go_on(left)}, then {go_on(left)}; cut at the line break: {go_on(cut)}")
END
)
echo "$seen"
[ "$seen" = "cut off: 2 trials; gone on: AttributeError, then JSONDecodeError; cut at the line break: 3 trials" ]
