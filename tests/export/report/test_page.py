import html
import json
import os
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgenets.export.report.page import STAGE_MEANINGS, render_html, write_html
from edgenets.quantize.recipe import STAGE_SETTINGS

KIB = 1024
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def text_of(page):
    """What a reader sees, with single spaces."""
    body = page[page.index("<body>") :]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def table(page, name):
    """The cells of the rows of the table with that id."""
    body = re.search(rf'<table[^>]* id="{name}">.*?</table>', page, re.DOTALL)[0]
    return [
        [text_of(f"<body>{cell}") for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in body.split("<tr")[1:]
    ]


def test_headline_says_sizes_ratio_and_accuracies(make_report):
    text = text_of(render_html(make_report()))
    assert "mobilenet_v1 on pets" in text
    assert "400.0 KiB → 100.0 KiB as .tflite , 50.0 KiB as it travels: 8.0x smaller" in text
    assert "top-1 93.00 % against 95.00 % on 100 test images." in text


def test_headline_says_how_pictures_become_square_unless_the_report_is_older(make_report):
    report = make_report()
    assert "images:" not in text_of(render_html(report))
    report["model"]["preparation"] = "the whole picture squeezed to 32 x 32"
    assert "images: the whole picture squeezed to 32 x 32" in text_of(render_html(report))


def test_key_figures_say_what_they_are_compared_with(make_report):
    text = text_of(render_html(make_report()))
    assert "4.0x smaller than the float32 file" in text
    assert "packed as model.epk : 8.0x smaller than the float32 file" in text
    assert "1.25 ms 95 % interval 1.20 ms to 1.31 ms 1 thread, Cortex-A76" in text
    assert "93.00 % 2 images fewer than float32 (2.00 points) 95 % interval 88.8 to 97.8 %" in text
    assert "always cat , the commonest class: 33.33 %" in text


def test_runtimes_that_part_are_told_with_the_operator_below_their_table(make_report):
    page = render_html(make_report())
    assert table(page, "runtimes")[2] == ["xnnpack", "3", "0", "100.00 % (80.0-100.0)", "93.75 %"]
    text = text_of(page)
    assert "xnnpack parts at CONV_2D 3 (<stem>): 5 of the 64 values that it makes of 4" in text
    assert "ai-edge-litert 2.3.0: reference, xnnpack" in text


def test_alexnet_is_no_key_figure(make_report):
    page = render_html(make_report())
    assert "AlexNet" not in page[: page.index("<h2>")]
    assert table(page, "accounting")[0][-1] == "under AlexNet"


def test_warnings_stand_before_the_figures(make_report):
    report = make_report()
    report["warnings"] = ["top-1 35.00 % cannot be told from <chance>"]
    page = render_html(report)
    assert text_of(page[: page.index('<dl class="figures">')]).endswith(
        "Warning: top-1 35.00 % cannot be told from <chance>."
    )
    assert 'class="warnings"' not in render_html(make_report())


@pytest.mark.parametrize(
    "top1, sentence",
    [
        (0.93, "2 images fewer than float32 (2.00 points)"),
        (0.94, "1 image fewer than float32 (1.00 points)"),
        (0.95, "the same as float32"),
        (0.97, "2 images more than float32 (2.00 points)"),
    ],
)
def test_difference_to_float32_is_said_in_images_and_points(top1, sentence, make_report):
    report = make_report()
    report["stages"][-1]["top1"] = top1
    assert sentence in text_of(render_html(report))


def test_stages_stand_side_by_side(make_report):
    rows = table(render_html(make_report()), "stages")
    assert rows[0][:5] == ["stage", "top-1", "top-5", ".tflite", "stored"]
    assert "; ".join(rows[1][1:]) == (
        "95.00 % 88.8 to 97.8 %; -; 400.0 KiB; -; 0.00 %; 1,234; 2.0k / 2.0k; 2.5 s"
    )
    assert "; ".join(rows[2][1:]) == (
        "93.00 % 88.8 to 97.8 %; -; 100.0 KiB; 50.0 KiB; 60.00 %; 163; 800 / 2.0k; 2.5 s"
    )


def test_every_stage_of_a_run_has_a_meaning():
    assert STAGE_MEANINGS.keys() == {"train", "export", *STAGE_SETTINGS} - {"fp16"}  # float files


def test_chart_says_its_points_to_those_who_cannot_see_it(make_report):
    assert "train: 400.0 KiB, 95.00 %. export: 100.0 KiB, stored 50.0 KiB, 93.00 %." in render_html(
        make_report()
    )


def test_only_integer_files_have_a_mark_for_what_is_stored_and_all_have_an_interval(make_report):
    chart = make_report_chart(render_html(make_report()))
    assert re.findall("<title>(.*?), 9", chart) == [
        *("train, file: 400.0 KiB", "export, file: 100.0 KiB", "export, stored: 50.0 KiB")
    ]
    assert chart.count("<rect ") == chart.count('<path stroke-width="1.5"') == 2
    assert chart.count("<circle ") == 1


def make_report_chart(page):
    return page[page.index('<svg id="chart"') : page.index("</svg>", page.index('<svg id="chart"'))]


def test_curves_of_the_stages_that_train_say_their_ends_to_those_who_cannot_see_them(make_report):
    page = render_html(make_report())
    assert page.count('<polyline class="curve ') == 4
    assert "train, training loss from the first epoch to the last, training: 2.5 to 0.5." in page
    assert (
        "train, top-1 in % from the first epoch to the last, training: 40 to 90, "
        "held out: 50 to 95."
    ) in page
    report = make_report()
    report["stages"][0]["history"] = None
    assert "How it learned" not in render_html(report)


def make_mistake(label, answer, path="test/1.jpg"):
    return {
        **{"index": 17, "path": path, "label": label, "answer": answer},
        **{"score": 0.9876, "jpeg": "AAAA"},
    }


def test_wrong_pictures_stand_under_their_class_with_answer_and_probability(make_report):
    report = make_report()
    report["mistakes"] = [
        make_mistake("cat", "dog"),
        make_mistake("cat", "<elk>", None),
        make_mistake("elk", "cat"),
    ]
    page = render_html(report)
    pictures = page[page.index("Where it is sure and wrong") :]
    assert pictures.count('<img src="data:image/jpeg;base64,AAAA"') == 3
    assert "test image 17" in pictures
    text = text_of("<body>" + pictures)
    assert "cat taken for dog 98.76 % <elk> 98.76 % elk taken for cat 98.76 %" in text
    assert "Where it is sure and wrong" not in render_html(make_report())


def test_layers_show_their_cost_and_what_became_of_their_kernels(make_report):
    _, image, stem, total = table(render_html(make_report()), "layers")
    assert image[2:] == ["8 x 8 x 4", "0", "0", "", "1.0 KiB", "", ""]
    assert stem[2:] == (
        ["8 x 8 x 4", "108", "1,250", "25.0 %", "1.0 KiB", "12.50 %", "77"]  # 1,250 of 5,000 MACs
    )
    assert total[3:5] == ["108", "1,250"]


def make_op(index, ms, macs=0, resolved=True):
    return {
        "index": index,
        "op": "CONV_2D" if macs else "RESHAPE",
        "name": f"layer{index}",
        "macs": macs,
        "ms": ms,
        "ms_ci95": [0.9 * ms, 1.1 * ms],
        "share": ms / 1.5,
        "resolved": resolved,
        "instructions": None,
        "gmacs_per_s": macs / ms / 1e6 if macs else None,
    }


def test_operators_are_shown_if_they_were_measured_the_costliest_first(make_report):
    report = make_report()
    assert "Operator by operator" not in render_html(report)
    ops = [make_op(0, 0.5, 2_000_000), make_op(1, 0.001, resolved=False), make_op(2, 1.0)]
    sums = {"ops_sum_ms": 1.501, "ops_whole_ms": 1.6, "ops_resolution_ms": 0.01}
    report["benchmark"] |= {"ops": ops, **sums}
    page = render_html(report)
    _, first, second = table(page, "operators")
    assert first[:4] == ["layer2", "RESHAPE", "1.00 ms", "0.900 ms to 1.10 ms"]
    assert second == (
        ["layer0", "CONV_2D", "0.500 ms", "0.450 ms to 0.550 ms", "33.33 %", "2,000,000", "4.0"]
    )
    assert "Their sum is 1.50 ms; the whole file took 1.60 ms in the same rounds." in text_of(page)


def test_few_classes_have_a_confusion_matrix(make_report):
    rows = table(render_html(make_report()), "confusion")
    assert rows[0] == ["true class", "cat", "dog", "elk", "images", "top-1", "95 % interval"]
    assert rows[1] == ["cat", "93", "7", "0", "100", "93.00 %", "40.0 to 100.0 %"]


def test_many_classes_have_their_commonest_confusions(make_report):
    page = render_html(make_report(labels=[f"kind {i}" for i in range(26)]))
    assert 'id="confusion"' not in page
    table = "class images top-1 95 % interval kind 0 100 93.00 % 40.0 to 100.0 %"
    assert f"The 20 weakest of 26 classes. {table}" in text_of(page)
    assert "true class taken for images kind 0 kind 1 7 of 100" in text_of(page)


def test_names_from_outside_are_escaped(make_report):
    hostile = "<script>alert('x')</script>\" & 猫"
    report = make_report(labels=(hostile, "dog"))
    report["data"]["name"] = report["config"]["data"]["source"] = hostile
    report["data"]["skipped"] = [{"path": hostile, "reason": hostile}]
    page = render_html(report)
    assert "<script" not in page
    assert text_of(page).count("<script>alert('x')</script>\" & 猫") >= 6


def test_only_the_first_files_left_out_are_listed(make_report):
    report = make_report()
    report["data"]["skipped"] = [{"path": f"{i}.jpg", "reason": "is empty"} for i in range(30)]
    page = render_html(report)
    assert "30 files left out; these are the first 20." in text_of(page)
    assert len(table(page, "skipped")) == 1 + 20
    assert "No file was left out." in text_of(render_html(make_report()))


def test_unknown_processor_and_memory_do_not_stop_the_page(make_report):
    report = make_report()
    report["benchmark"]["device"]["processor"] = report["benchmark"]["peak_memory_bytes"] = None
    text = text_of(render_html(report))
    assert "1 thread, aarch64" in text
    assert "peak memory unknown" in text


def test_commands_quote_the_folder_of_images(make_report):
    report = make_report()
    report["config"]["data"]["source"] = "/home/ann/my pets"
    text = text_of(render_html(report))
    assert "edgenets run config.yaml --out ../again" in text
    assert "edgenets evaluate model.tflite --data '/home/ann/my pets'" in text
    assert "edgenets benchmark model.tflite --threads 1 --min-seconds 2 " in text


def test_equal_reports_give_equal_pages(make_report):
    assert render_html(make_report()) == render_html(json.loads(json.dumps(make_report())))


def test_page_refers_to_nothing_outside_itself(make_report):
    page = render_html(make_report())
    assert not re.search(r"https?:|//\w|<script|<iframe|@import|url\(", page)
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == [
        "data:,"
    ]  # the icon, so none is asked for


def test_written_page_is_the_rendered_one(tmp_path, make_report):
    report = make_report()
    (tmp_path / "report.html").write_text("old")
    path = write_html(report, tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render_html(report)
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def server(tmp_path):
    """A web server on this machine for the files of tmp_path: (address, paths asked for)."""
    paths = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            paths.append(self.path)

    handler = partial(Handler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


@pytest.mark.browser
def test_browser_shows_table_and_chart_and_fetches_nothing_else(tmp_path, server, make_report):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        pytest.skip("there is no Chromium; on Debian: apt-get install chromium")
    address, paths = server
    page = write_html(make_report(), tmp_path)
    net_log = tmp_path / "net.json"
    dom = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={net_log}"),
            *("--dump-dom", f"{address}/{page.name}"),
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout

    assert [row[1] for row in table(dom, "stages")] == [
        *("top-1", "95.00 % 88.8 to 97.8 %", "93.00 % 88.8 to 97.8 %")
    ]
    chart = dom[dom.index('<svg id="chart"') :].partition("</svg>")[0]
    assert (chart.count("<rect"), chart.count("<circle")) == (2, 1)
    assert paths == ["/report.html"]
    assert requests_of_pages(net_log) == [f"{address}/report.html"]


def requests_of_pages(net_log):
    """What pages from 127.0.0.1 asked for, wherever it is; the browser's own requests are not."""
    log = json.loads(net_log.read_text())
    start = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [event.get("params", {}) for event in log["events"] if event["type"] == start]
    return [
        request["url"]
        for request in requests
        if "127.0.0.1" in request.get("network_isolation_key", "")
    ]


def test_texts_of_a_page_are_printable(make_report):
    page = render_html(make_report(labels=("cat\x1b[31m", "\u202egod", "elk\x9b\x00")))
    assert r"cat\x1b[31m" in page and r"\u202egod" in page and r"elk\x9b\x00" in page
    assert page.replace("\n", "").isprintable()
