"""The page of a sweep, of trials that are made up."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from sweep_front import draw, table

from edgenets.cli.sweep import print_sweep
from edgenets.intervals import wilson_interval
from edgenets.pipeline.sweep.config import check_sweep
from edgenets.pipeline.sweep.page import charts_of, render_page, write_page
from edgenets.pipeline.sweep.space import points_of
from edgenets.pipeline.sweep.store import Trial
from edgenets.pipeline.sweep.summary import summarize

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TARGETS = ("rpi4", "ethos-u55-128")
RIGHT = (200, 340, 342, 395)
"""Of 400 images, by the nets in the order of their sizes: the third is better than the second by
chance, if at all."""


@pytest.fixture(scope="module")
def config():
    nets = [{"net": "mobilenet_v1", "width": [0.25, 0.5, 0.75, 1.0, 1.5], "resolution": 32}]
    values = {"nets": nets, "recipes": ["int8"], "targets": TARGETS, "constraints": ["macs <= 9M"]}
    return check_sweep(values, "sweep.yaml")


@pytest.fixture(scope="module")
def trials(config):
    trials = []
    for i, point in enumerate(points_of(config)):
        counted = tuple(_row(target, i) for target in TARGETS)
        if i == len(RIGHT):
            trials.append(Trial(i, 0, point, "outside", counted, (), (), ("macs <= 9M",)))
            continue
        measured = tuple({**row, **_accuracy(RIGHT[i], i, row["target"])} for row in counted)
        trials.append(Trial(i, 0, point, "finished", counted, measured, (), ()))
    return trials


@pytest.fixture(scope="module")
def result(config, trials):
    return summarize(config, trials)


def _row(target, i):
    size = 20_000 * (i + 1)
    npu = target != "rpi4"
    return {
        **{"target": target, "params": size, "macs": 2_000_000 * (i + 1), "stored_bytes": size},
        **{"size_bytes": 2 * size, "arena_bytes": 30_000, "instructions": None},
        "cycles": 1000 * size if npu else None,
    }


def _accuracy(right, i, target):
    bits = np.arange(400) < right
    return {
        **{"top1": right / 400, "ci95": list(wilson_interval(right / 400, 400)), "samples": 400},
        **{"top1_drop": 0.5, "held_out": 0.9, "epochs": 40, "train_epochs": 30},
        **{"right": np.packbits(bits).tobytes().hex(), "run": f"trials/{i:04}/{target}"},
    }


def test_points_that_cannot_be_told_apart_are_not_ranked(result):
    front = [result["trials"][i]["arguments"]["width"] for i in result["front"]]
    assert front == [0.25, 0.5, 1.0] * 2
    chance = next(row for row in result["trials"] if row["arguments"]["width"] == 0.75)
    assert [result["trials"][i]["arguments"]["width"] for i in chance["alike"]] == [0.5]
    assert {t: result["trials"][i]["top1"] for t, i in result["chosen"].items()} == dict.fromkeys(
        TARGETS, 395 / 400
    )


def test_each_target_has_a_chart_of_each_cost_that_it_has(result):
    titles = {
        target: [chart.title for chart in charts_of(result["trials"], target, None)]
        for target in TARGETS
    }
    shared = ["stored size, as it travels, in KiB", "size of the .tflite, in KiB", "MACs, in M"]
    assert titles == {"rpi4": shared, "ethos-u55-128": [*shared, "cycles an image, in M"]}


def test_dots_stand_where_their_cost_and_accuracy_are(result):
    chart = charts_of(result["trials"], "rpi4", result["chosen"]["rpi4"])[0]
    by_size = sorted(chart.dots, key=lambda dot: dot.point.row["stored_bytes"])
    assert [dot.x for dot in by_size] == sorted(dot.x for dot in by_size)
    assert [dot.y for dot in by_size] == sorted((dot.y for dot in by_size), reverse=True)
    assert all(dot.high_y < dot.y < dot.low_y for dot in by_size)
    assert [dot.on_front for dot in by_size] == [True, True, False, True]
    assert [dot.is_chosen for dot in by_size] == [False, False, False, True]
    assert [x for x, _ in chart.way] == [dot.x for dot in by_size if dot.on_front]


def test_page_links_every_run_and_says_how_the_chosen_one_is_made_again(result, tmp_path):
    page = render_page(result, tmp_path)
    for row in result["trials"]:
        if row["run"]:
            assert f'href="{row["run"]}/report.html"' in page
    run = f"edgenets run {tmp_path}/trials/0003/rpi4/config.yaml --out runs/mobilenet_v1-0003-rpi4"
    assert run in page
    assert "macs &lt;= 9M" in page
    assert render_page(result, tmp_path) == page


def test_page_asks_for_nothing_outside_the_sweeps_folder(result, tmp_path):
    page = render_page(result, tmp_path)
    assert not re.search(r"(src|href)=[\"'](?!data:|trials/)", page)
    assert "http" not in page.replace("http-equiv", "")


def test_names_in_a_sweep_are_shown_and_not_obeyed(result, tmp_path):
    odd = json.loads(json.dumps(result))
    for row in odd["trials"]:
        row["recipe"] = "<script>alert(1)</script>\u202e"
    page = render_page(odd, tmp_path)
    assert "<script>alert" not in page
    assert "\u202e" not in page


def test_terminal_shows_finished_trials_by_size_and_marks_the_front(result, tmp_path, capsys):
    print_sweep(result, tmp_path)
    shown = capsys.readouterr().out
    assert "8 finished, 2 outside" in shown
    assert shown.count("│ *") == 6
    assert "points that macs <= 9M kept from being trained: 1" in shown
    assert "instructions" not in shown  # which nobody has counted
    assert shown.index("19.5 KiB") < shown.index("39.1 KiB") < shown.index("58.6 KiB")


def test_points_that_failed_are_told_once_for_all_targets(result, tmp_path, capsys):
    odd = json.loads(json.dumps(result))
    for row in odd["trials"][:2]:
        row |= {"state": "failed", "reason": ["the disk is full"]}
    print_sweep(odd, tmp_path)
    assert "points that failed: 1, the first because the disk is full" in capsys.readouterr().out


def test_where_no_trained_file_keeps_a_constraint_that_is_said(config, trials, tmp_path, capsys):
    strict = config.model_copy(update={"constraints": ("macs <= 9M", "top1 drop <= 0.1")})
    result = summarize(strict, trials)
    print_sweep(result, tmp_path)
    shown = capsys.readouterr().out
    assert shown.startswith("10 outside; the same command goes on where work is left.")
    assert "trained files that do not keep top1 drop <= 0.1: 8" in shown
    page = render_page(result, tmp_path)
    assert "No trained file keeps all constraints" in page
    assert "<code>top1 drop &lt;= 0.1</code> is not kept by 8 trained files." in page


def test_docs_get_the_file_to_take_under_each_budget_and_a_picture(result, tmp_path):
    lines = table(result, [10_000, 70_000, 100_000]).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == [f"| {t}" for t in TARGETS for _ in range(3)]
    nothing, two_alike, best = lines[:3]
    assert "| none |" in nothing
    assert "width=0.5, int8 | 85.00 %" in two_alike  # the cheaper one of two that are alike
    assert two_alike.endswith("| mobilenet_v1 width=0.75: 85.50 % |")
    assert "width=1.0, int8" in best
    assert best.endswith("| it |")
    draw(result, tmp_path / "front.svg")
    draw({**result, "trials": []}, tmp_path / "of_nothing.svg")
    assert (tmp_path / "front.svg").stat().st_size > (tmp_path / "of_nothing.svg").stat().st_size


@pytest.mark.browser
def test_browser_sorts_and_filters_the_table_without_a_network(result, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    page = write_page(result, tmp_path)
    click = """<script>
      document.querySelector("#trials thead th:nth-child(2) button").click();
      document.querySelector("#trials thead th:nth-child(2) button").click();
      document.getElementById("words").value = "rpi4 width=0";
      document.getElementById("words").dispatchEvent(new Event("input"));
    </script>"""
    text = re.sub(r"; script-src '[^']+'", "", page.read_text())
    text = text.replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    page.write_text(text.replace("</body>", f"{click}</body>"))
    command = (browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri())
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    rows = re.findall(r"<tr data-state(.*?)</tr>", shown, re.S)
    visible = [row for row in rows if "hidden" not in row.partition(">")[0]]
    widths = [re.search(r"width=([\d.]+)", row)[1] for row in visible]
    assert widths == ["0.75", "0.5", "0.25"]  # the most accurate first
    assert f"3 of {len(result['trials'])} shown" in shown
    assert 'aria-sort="descending"' in shown


@pytest.mark.browser
def test_browser_runs_the_pages_own_script_under_its_policy(result, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    page = write_page(result, tmp_path)
    command = (browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri())
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert "8 of 10 shown" in shown  # those that are not finished are filtered
