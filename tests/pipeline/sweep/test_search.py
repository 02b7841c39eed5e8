"""What is done next, of trials that are made up; the work itself is in test_sweep.py."""

from dataclasses import replace

import optuna
import pytest

import edgenets as en
from edgenets.errors import EdgenetsError
from edgenets.pipeline.sweep.choose import _Axes, next_generation
from edgenets.pipeline.sweep.config import check_sweep
from edgenets.pipeline.sweep.search import pending, require_tools
from edgenets.pipeline.sweep.space import points_of
from edgenets.pipeline.sweep.store import Trial, objectives


def sweep(**values):
    nets = [{"net": "mobilenet_v1", "width": [1.0, 0.75, 0.5, 0.25], "resolution": [32, 64]}]
    return check_sweep({"nets": nets, "recipes": ["int8"], **values}, "sweep.yaml")


def new_trials(config, points=None):
    chosen = next_generation(config, []) if points is None else points
    return [Trial(i, 0, point, "chosen", (), (), (), ()) for i, point in enumerate(chosen)]


def counted(trial):
    """As if it took as many bytes as its width and resolution say."""
    size = int(1000 * trial.point.arguments["width"] + trial.point.arguments["resolution"])
    row = {"target": "generic", "stored_bytes": size, "macs": size}
    return replace(trial, state="inside", counted=(row,))


def rung(trial, score):
    return replace(trial, rungs=(*trial.rungs, {"score": score, "epochs": 1}))


def numbers(works):
    return [work.number for work in works]


def test_all_points_are_counted_before_any_is_trained():
    config = sweep()
    trials = new_trials(config)
    works, _ = pending(config, trials)
    assert [work.do for work in works] == ["count"] * 8
    trials = [counted(trial) for trial in trials]
    trials[0] = replace(trials[0], state="outside")
    works, _ = pending(config, trials)
    assert numbers(works) == [1, 2, 3, 4, 5, 6, 7]
    assert {(work.do, work.part) for work in works} == {("train", 1 / 9)}


def test_of_a_rung_the_best_third_goes_on_when_all_have_passed_it():
    config = sweep()
    trials = [counted(trial) for trial in new_trials(config)]
    scores = [0.9, 0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.1]
    passed = [rung(trial, score) for trial, score in zip(trials, scores, strict=True)]
    works, stopped = pending(config, [*passed[:7], trials[7]])
    assert (numbers(works), stopped) == ([7], [])
    works, stopped = pending(config, passed)
    assert numbers(works) == [0, 2, 6]  # the ends of the first layer and one between
    assert {work.part for work in works} == {1 / 3}
    assert [trial.number for trial in stopped] == [1, 3, 4, 5, 7]


def test_a_trial_that_fails_later_does_not_change_who_was_stopped_before():
    config = sweep(halving={"factor": 2, "rungs": 1})
    trials = [rung(counted(trial), 0.5) for trial in new_trials(config)]
    before, stopped = pending(config, trials)
    failed = [
        replace(trial, state="failed") if trial.number == before[0].number else trial
        for trial in trials
    ]
    after, stopped_after = pending(config, failed)
    assert numbers(after) == numbers(before)[1:]
    assert stopped_after == stopped


def test_without_rungs_every_point_is_run_to_its_end():
    config = sweep(halving={"rungs": 0})
    works, stopped = pending(config, [counted(trial) for trial in new_trials(config)])
    assert [work.do for work in works] == ["finish"] * 8
    assert not stopped


def test_a_grid_is_every_point_and_random_is_some_of_them_each_once():
    assert next_generation(sweep(), []) == list(points_of(sweep()))
    some = next_generation(sweep(search="random", trials=5), [])
    assert len({point.key for point in some}) == 5
    assert some == next_generation(sweep(search="random", trials=5), [])
    assert some != next_generation(sweep(search="random", trials=5, seed=1), [])
    assert next_generation(sweep(), new_trials(sweep())) == []


def test_tpe_tries_no_point_twice_and_ends_when_all_are_tried():
    config = sweep(search="tpe", generation=3)
    trials = []
    while points := next_generation(config, trials):
        assert points == next_generation(config, trials)  # whoever asks
        for point in points:
            row = {"target": "generic", "stored_bytes": 100 * point.arguments["width"]}
            measured = {**row, "held_out": 0.5}
            trials.append(
                Trial(len(trials), len(trials) // 3, point, "finished", (row,), (measured,), (), ())
            )
    assert len({trial.point.key for trial in trials}) == len(trials) == 8


def test_tpe_prefers_what_did_well():
    nets = [{"net": "mobilenet_v1", "width": {"from": 0.05, "to": 5, "step": 0.05}}]
    config = sweep(nets=nets, search="tpe", generation=10, trials=20)
    trials = []
    while points := next_generation(config, trials):
        for point in points:
            distance = abs(point.arguments["width"] - 1.0)
            row = {"target": "generic", "stored_bytes": distance}
            measured = {**row, "held_out": 1 - distance}
            trials.append(Trial(len(trials), 0, point, "finished", (row,), (measured,), (), ()))
    first, last = (
        sum(abs(trial.point.arguments["width"] - 1.0) for trial in part)
        for part in (trials[:10], trials[-10:])
    )
    assert last < first / 2


def test_tpe_proposes_points_of_entries_with_other_arguments():
    nets = [
        {"net": "mobilenet_v1", "width": {"from": 0.05, "to": 2, "step": 0.05}},
        {"net": "mobilenet_v1", "width": [4.0], "output_stride": 8},
    ]
    axes = _Axes(list(points_of(sweep(nets=nets))))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [axes.suggest(study.ask()) for _ in range(30)]
    assert None not in points
    assert {len(point.arguments) for point in points} == {1, 2}


def test_a_cost_of_a_target_that_is_outside_is_what_was_counted():
    config = sweep(targets=["rpi4", "ethos-u55-128"], minimise=["stored", "cycles"])
    rows = [{"target": "rpi4", "stored_bytes": 10, "cycles": None, "held_out": 0.5}]
    counted = [{"stored_bytes": 9, "cycles": None}, {"stored_bytes": 9, "cycles": 700}]
    assert objectives(config, rows, counted) == [10, 700, 0.5]


def test_what_counts_a_figure_must_be_at_hand(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    config = sweep(targets=["rpi4"], constraints=["instructions on rpi4 <= 20M"])
    with pytest.raises(EdgenetsError, match="the emulated board is not set up"):
        require_tools(config)
    require_tools(sweep(targets=["rpi4"]))


def test_a_sweep_that_lacks_a_tool_has_no_folder_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path / "empty"))
    config = tmp_path / "sweep.yaml"
    config.write_text(
        "nets: [{net: mobilenet_v1, resolution: 32}]\ntargets: [rpi4]\n"
        "constraints: [instructions on rpi4 <= 20M]\nrun: {data: {source: digits}}\n"
    )
    with pytest.raises(EdgenetsError, match="the emulated board is not set up"):
        en.sweep(config, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
