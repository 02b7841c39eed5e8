"""`edgenets update --install-service`: units that are shown, then written."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgenets.cli.main import edgenets_command
from edgenets.errors import EdgenetsError
from edgenets.updates.service import service_units


def test_units_are_shown_and_written(tmp_path: Path):
    into, folder, root = tmp_path / "my models", tmp_path / "units", tmp_path / "100 % root.json"
    options = ("--model", "photos", "--root", root, "--units", folder, "--program", "cam.service")
    arguments = ["update", "https://example.org/m", "--into", into, "--install-service", *options]
    result = CliRunner().invoke(edgenets_command, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    written = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    for text in written.values():
        assert text in result.stdout
    (service,) = (name for name in written if name.endswith(".service"))
    assert f"--into '{into}'" in written[service] and "100 %% root.json" in written[service]
    name = service.removesuffix(".service")  # of the folder: a program may use several models
    assert "=-+" in written[f"cam.service.d/{name}.conf"]
    assert "--start --into" in written[f"cam.service.d/{name}.conf"]
    assert f"enable --now {service.replace('.service', '.timer')}" in result.stdout
    assert not into.exists()


def test_units_of_each_folder_have_names_of_their_own():
    names = [
        set(service_units(Path(folder), "https://example.org", {}, "cam.service"))
        for folder in ("/a/b", "/a-b", "/a b", "/a-/b", "/a/-b", "/é", "/ü")
    ]
    assert "edgenets-update-a-b.timer" in names[0]
    assert len(set.union(*names)) == 3 * len(names)
    assert all(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name, re.ASCII) for name in set.union(*names))


@pytest.mark.parametrize("minutes, seconds", [(60, 3600), (1, 900), (10_000, 21_600)])
def test_timer_looks_as_often_as_a_trial_may_last(minutes: float, seconds: int):
    units = service_units(Path("models"), "https://example.org", {}, minutes=minutes)
    (timer,) = (text for name, text in units.items() if name.endswith(".timer"))
    assert f"OnUnitActiveSec={seconds}s\n" in timer


def test_no_unit_is_written_for_minutes_that_are_no_number(tmp_path: Path):
    arguments = ["update", "https://example.org/m", "--into", tmp_path / "m", "--install-service"]
    arguments += ["--units", tmp_path / "units", "--minutes", "nan"]
    result = CliRunner().invoke(edgenets_command, list(map(str, arguments)))
    assert result.exit_code == 2 and "'--minutes': expected a number, got 'nan'" in result.output
    assert not (tmp_path / "units").exists()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path):
    for name, text in service_units(
        tmp_path / "models", "https://example.org", {"--starts": 3}
    ).items():
        (tmp_path / name).write_text(text)
    paths = [str(path) for path in tmp_path.glob("edgenets*")]
    subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], check=True)


@pytest.mark.parametrize(
    "source, program, sentence",
    [("https://example.org", "camera", "must be the name of a unit"), ("a\nb", None, "line break")],
)
def test_what_no_unit_can_hold_is_refused(source: str, program: str | None, sentence: str):
    with pytest.raises(EdgenetsError, match=sentence):
        service_units(Path("models"), source, {}, program)
