import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenets.export.report.charts import (
    CHARACTER_WIDTH,
    CURVES_HEIGHT,
    CURVES_RIGHT,
    HEADROOM,
    LEFT,
    PLOT_HEIGHT,
    ROW_HEIGHT,
    WIDTH,
    curve_charts,
    operator_chart,
    size_accuracy_chart,
)


def stage(name, top1, size_bytes, stored_bytes, samples=1000):
    return {
        "name": name,
        "top1": top1,
        "samples": samples,
        "size_bytes": size_bytes,
        "stored_bytes": stored_bytes,
    }


stages = st.lists(
    st.builds(
        stage,
        st.sampled_from(["train", "prune", "share", "qat", "export"]),
        st.floats(0, 1),
        st.integers(1_000, 20_000_000),
        st.none() | st.integers(1_000, 20_000_000),
        st.integers(1, 50_000),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda stage: stage["name"],
)


def test_sizes_are_drawn_from_zero_and_better_is_higher():
    marks = size_accuracy_chart(
        [stage("train", 0.9, 400_000, 350_000), stage("export", 0.8, 100_000, 50_000)]
    ).marks
    # ticks and marks are rounded to 0.1
    assert marks[0].file_x - LEFT == pytest.approx(4 * (marks[1].file_x - LEFT), abs=0.3)
    assert marks[0].stored_x - LEFT == pytest.approx(7 * (marks[1].stored_x - LEFT), abs=0.5)
    assert marks[0].y < marks[1].y


def test_a_tenth_of_a_point_stays_small_however_many_images_there_are():
    marks = size_accuracy_chart(
        [stage(name, top1, 1000, 500, samples=10**6) for name, top1 in (("a", 0.9), ("b", 0.901))]
    ).marks
    assert marks[0].y - marks[1].y <= PLOT_HEIGHT / 50 + 0.1  # 0.1 of 5 points


@given(stages)
def test_intervals_and_ticks_lie_in_the_plot(stages):
    chart = size_accuracy_chart(stages)
    for mark in chart.marks:
        assert 0 <= mark.high_y <= mark.y <= mark.low_y <= PLOT_HEIGHT
        assert (mark.stored_x is None) == (mark.stage["stored_bytes"] is None)
        assert chart.left <= min(mark.interval_x, mark.file_x)
        assert max(mark.interval_x, mark.file_x) <= chart.right
    assert len(chart.size_ticks) >= 5
    assert len(chart.accuracy_ticks) >= 4
    for tick in chart.accuracy_ticks:
        assert 0 <= tick.position <= PLOT_HEIGHT


@given(stages)
def test_no_flag_covers_another_or_its_pole(stages):
    chart = size_accuracy_chart(stages)
    packed = [stage for stage in stages if stage["stored_bytes"] is not None]
    for flags, direction, drawn in (
        (chart.stored_flags, 1, packed),
        (chart.file_flags, -1, stages),
    ):
        named = {name for flag in flags for name in flag.names.split(", ")}
        assert named == {stage["name"] for stage in drawn}
        for flag, other in itertools.permutations(flags, 2):
            ends = flag.x, flag.x + direction * CHARACTER_WIDTH * len(flag.names)
            if flag.y == other.y:
                beyond = direction * (other.x - ends[1])
                before = direction * (ends[0] - other.x) - CHARACTER_WIDTH * len(other.names)
                assert max(beyond, before) > 0
            if direction * (flag.y - other.y) >= ROW_HEIGHT:  # other's pole passes flag's row
                assert not min(ends) <= other.x <= max(ends)


def test_large_files_are_measured_in_mib():
    assert size_accuracy_chart([stage("train", 0.5, 17_000_000, 9_000_000)]).size_unit == "MiB"
    assert size_accuracy_chart([stage("train", 0.5, 900_000, 800_000)]).size_unit == "KiB"


def test_operators_are_bars_from_zero_in_the_order_they_run_and_untold_ones_leave_a_gap():
    ops = [
        {"ms": ms, "ms_ci95": [0.8 * ms, 1.25 * ms], "resolved": ms > 0.1}
        for ms in (2.0, 0.01, 4.0)
    ]
    first, last = operator_chart([*ops, {"ms": None}]).bars
    assert (first.x, last.x) == (LEFT, pytest.approx(LEFT + 2 / 3 * (WIDTH - LEFT), abs=0.1))
    assert (
        last.height
        == pytest.approx(2 * first.height, abs=0.1)
        == pytest.approx(PLOT_HEIGHT / HEADROOM, abs=0.1)
    )
    assert last.high_y == 0 < last.y < last.low_y < PLOT_HEIGHT


def test_operators_of_which_none_can_be_told_have_no_chart():
    assert operator_chart([]) is None
    assert operator_chart([{"ms": 0.1, "ms_ci95": [-0.1, 0.2], "resolved": False}]) is None


losses = st.floats(0, 1e6)
fractions = st.floats(0, 1)
histories = st.lists(st.tuples(losses, fractions, losses, fractions), min_size=1, max_size=400)


@given(histories, st.integers(0, 1))
def test_curves_run_from_the_first_epoch_to_the_last_within_the_plot(rows, first):
    loss, accuracy, validation_loss, validation_accuracy = zip(*rows, strict=True)
    charts = curve_charts(
        {
            **{"epoch": range(first, first + len(rows)), "loss": loss, "accuracy": accuracy},
            **{"validation_loss": validation_loss, "validation_accuracy": validation_accuracy},
        }
    )
    assert [len(chart.curves) for chart in charts] == [1, 1, 2]
    for chart in charts:
        for curve in chart.curves:
            xs, ys = zip(*curve.points, strict=True)
            assert len(xs) == len(rows) and list(xs) == sorted(xs)
            assert xs[0] == LEFT and (len(rows) == 1 or xs[-1] == CURVES_RIGHT)
            assert 0 <= min(ys) <= max(ys) <= CURVES_HEIGHT
        for tick in chart.epoch_ticks:
            assert LEFT <= tick.position <= CURVES_RIGHT


def test_curves_show_accuracy_in_per_cent_and_better_is_higher():
    history = {
        **{"epoch": [1, 2], "loss": [2.0, 1.0], "validation_loss": [2.5, 1.5]},
        **{"accuracy": [0.1, 0.9], "validation_accuracy": [0.2, 0.8]},
    }
    training, held_out, top1 = curve_charts(history)
    assert [point[1] for point in training.curves[0].points] == [0, CURVES_HEIGHT]
    assert [point[1] for point in top1.curves[0].points] == [CURVES_HEIGHT, 0]
    assert (top1.curves[1].name, top1.curves[1].first, top1.curves[1].last) == (
        *("held out", "20", "80"),
    )
    assert [tick.label for tick in held_out.epoch_ticks] == ["1", "2"]
