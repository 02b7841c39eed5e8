"""Puts each fault of mutants.md into a copy of the checkout and runs tests that should catch it.

    python tests/mutants.py [NAME ...] [--list]

Prints for each whether it was caught, and by which test. Fast tests run first, the slow ones only
if those catch nothing. Ends with 1 if more than one fault is missed, or is stale, or stops pytest.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FAST = "not slow and not board and not browser"
SLOW = "slow and not board and not browser"
MAY_BE_MISSED = 1
FAILED, NO_TESTS = 1, 5  # of pytest's exit statuses
COPIED = ("edgenets", "tests", "benchmarks", "docs", "notebooks", "quantize", "export", ".ci")
FAULT = re.compile(
    r"^## (?P<name>\S+)\n\n(?P<what>[^`]+?)\n`(?P<file>[^`]+)`: `(?P<tests>[^`]+)`\n\n"
    r"```diff\n(?P<diff>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Fault(NamedTuple):
    """One entry of mutants.md."""

    name: str
    what: str  # it breaks, a sentence
    file: str
    tests: tuple[str, ...]  # arguments of pytest
    old: str
    new: str


def read_faults(text: str) -> list[Fault]:
    """Return the faults that mutants.md lists."""
    faults = []
    for match in FAULT.finditer(text):
        lines = match["diff"].splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
        tests = tuple(shlex.split(match["tests"]))
        faults.append(Fault(match["name"], match["what"], match["file"], tests, old, new))
    if len(faults) != text.count("\n## "):
        raise SystemExit("mutants.md has an entry that does not look like the others")
    return faults


def copy_checkout(folder: Path) -> Path:
    """Return a copy of the checkout, beside the same `shared` as the checkout if there is one."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, checkout)
        elif path.name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, checkout / path.name, symlinks=True, ignore=ignore)
    if (shared := ROOT.parent / "shared").is_dir():
        (folder / "shared").symlink_to(shared.resolve())
    return checkout


def run_tests(checkout: Path, fault: Fault, marks: str) -> tuple[int, str]:
    """Return pytest's exit status and the first test that failed."""
    arguments = [*fault.tests, "-m", marks, "-x", "-q", "-rfE", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return done.returncode, failed[1] if failed else ""


def judge(checkout: Path, fault: Fault) -> tuple[str, str]:
    """Return "caught", "missed", "stale" or "broken", and the test that tells it."""
    path = checkout / fault.file
    sound = path.read_text(encoding="utf-8") if path.exists() else ""
    if sound.count(fault.old) != 1:
        return "stale", f"{fault.file} has its old text {sound.count(fault.old)} times"
    if missing := [name for name in fault.tests if "tests/" in name and not (ROOT / name).exists()]:
        return "stale", f"there is no {missing[0]}"
    path.write_text(sound.replace(fault.old, fault.new), encoding="utf-8")
    try:
        for marks in (FAST, SLOW):
            status, test = run_tests(checkout, fault, marks)
            if status == FAILED:
                return "caught", test
            if status not in (0, NO_TESTS):
                return "broken", f"pytest ends with {status}"
        return "missed", ""
    finally:
        path.write_text(sound, encoding="utf-8")


def main() -> None:
    """Judge the faults that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="show what there is")
    arguments = parser.parse_args()
    faults = read_faults(Path(__file__).with_suffix(".md").read_text(encoding="utf-8"))
    if unknown := set(arguments.names) - {fault.name for fault in faults}:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}")
    if arguments.list:
        print("\n".join(f"{fault.name:16}{fault.what}" for fault in faults))
        return
    chosen = [fault for fault in faults if not arguments.names or fault.name in arguments.names]
    verdicts = []
    with tempfile.TemporaryDirectory() as folder:
        checkout = copy_checkout(Path(folder))
        for fault in chosen:
            start = time.monotonic()
            verdict, test = judge(checkout, fault)
            verdicts.append(verdict)
            print(
                f"{verdict:8}{fault.name:16}{time.monotonic() - start:5.0f} s  {test}", flush=True
            )
    print(f"{verdicts.count('caught')} of {len(verdicts)} caught")
    if len(verdicts) - verdicts.count("caught") > MAY_BE_MISSED:
        sys.exit(1)


if __name__ == "__main__":
    main()
