"""A report that is not as it was written is refused by its key."""

import json

import pytest

from edgenets.errors import EdgenetsError
from edgenets.export.report.page import load_report


def test_report_is_loaded_as_it_was_written(tmp_path, make_report):
    (tmp_path / "report.json").write_text(json.dumps(make_report()))
    assert load_report(tmp_path) == make_report()


def test_unfinished_run_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(EdgenetsError, match=r"has no report.json; run `edgenets run .* first"):
        load_report(tmp_path)


@pytest.mark.parametrize(
    "path",
    [("stages",), ("seed",), ("model", "macs"), ("stages", 1, "top1"), ("layers", 0, "kind")],
)
def test_report_that_lacks_a_key_is_refused(tmp_path, path, make_report):
    report = make_report()
    inner = report
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    name = ".".join(key for key in path if isinstance(key, str))
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(EdgenetsError, match=f"lacks '{name}': .*; finish the run again"):
        load_report(tmp_path)


@pytest.mark.parametrize("content", ["[]", "null", '{"stages": [1]}', "{"])
def test_report_that_is_something_else_is_refused(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(EdgenetsError, match=r"lacks|is not valid JSON|finish the run again"):
        load_report(tmp_path)


@pytest.mark.parametrize(
    "path, value",
    [
        (("stages", 1, "top1"), 1.5),
        (("stages", 1, "top1"), "0.9"),
        (("stages", 0, "ci95"), [0.5]),
        (("stages", 0, "size_bytes"), -1),
        (("stages", 0, "samples"), 0),
        (("stages", 0, "history", "loss"), [1.0]),
        (("stages", 0, "history", "accuracy"), [0.4, 0.7, 9.0]),
        (("reduction", "vs_float"), 0),
        (("latency_ms", "median"), None),
        (("benchmark", "warm_up"), 5),
        (("per_class", 0, "samples"), 1.5),
        (("model", "macs"), [1]),
        (("config", "benchmark", "min_seconds"), True),
    ],
)
def test_value_that_cannot_be_is_refused_by_its_key(tmp_path, path, value, make_report):
    report = make_report()
    inner = report
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(EdgenetsError, match=f"{path[0]}.*; finish the run again") as raised:
        load_report(tmp_path)
    assert "\n" not in str(raised.value)


def test_confusion_of_other_classes_is_refused(tmp_path, make_report):
    report = make_report()
    report["confusion"][0].append(0)
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(EdgenetsError, match="confusion must have 3 rows and columns; it was"):
        load_report(tmp_path)


def test_value_that_is_not_finite_is_refused(tmp_path, make_report):
    text = json.dumps(make_report()).replace("26.29", "1e999")
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(EdgenetsError, match="1e999 is not finite"):
        load_report(tmp_path)
