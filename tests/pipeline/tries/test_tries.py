"""The search within a loss: what is tried, taken, kept and resumed, and how it is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import edgenets as en
from edgenets.cli.budget import print_tries
from edgenets.errors import DivergedError, EdgenetsError, UnfaithfulError
from edgenets.intervals import wilson_interval
from edgenets.models.folder import Model
from edgenets.pipeline.stages import compress as stages_module
from edgenets.pipeline.tries import candidates as table_module
from edgenets.pipeline.tries import search as search_module
from edgenets.pipeline.tries.candidates import PRICES, SPEEDUPS, candidates, words_of
from edgenets.pipeline.tries.measured import front_of_tries
from edgenets.pipeline.tries.objectives import OBJECTIVES
from edgenets.pipeline.tries.page import render_page
from edgenets.pipeline.tries.search import _Search, _Try
from edgenets.quantize.recipe import Recipe
from edgenets.quantize.settings import PruneSettings, RateSettings, SlimSettings
from edgenets.quantize.slim.cost import estimate_net
from edgenets.results.models import CompressTry, try_rows

CLASSES = ("dark", "left", "right")
BYTES, INSTRUCTIONS, SAMPLES = 200_000, 1_000_000, 1000


class Pretended(_Search):
    """A search in which each stage costs so many points by a formula, and nothing is trained."""

    def __init__(self, word: str, max_drop: float, most_speedup: float = 9.0) -> None:
        self.word, self.objective, self.max_drop = word, OBJECTIVES[word], max_drop
        self.instructions = INSTRUCTIONS
        self.table = candidates(self.objective, 45_000, "rpi4", most_speedup)
        self.found, self.tries, self.refused = {}, [], []

    def attempt(self, recipe: Recipe) -> _Try:
        drop, stored, instructions = 0.0, float(BYTES), float(INSTRUCTIONS)
        for stage in recipe:
            match stage:
                case SlimSettings():
                    drop += 2 * (stage.speedup - 1)
                    stored, instructions = stored / stage.speedup, instructions / stage.speedup
                case RateSettings():
                    drop += 3e5 * stage.price * (1 if stage.epochs == 0 else 0.5)
                    stored *= 0.01 * stage.price**-0.25
                case PruneSettings():
                    drop, stored = drop + stage.sparsity, stored * (1 - stage.sparsity)
        made = _Try(recipe, Path(), [], row(words_of(recipe), drop, stored, instructions))
        self.tries.append(made)
        return made


def row(recipe: str, drop: float, stored: float, instructions: float | None) -> CompressTry:
    top1 = 0.9 - drop / 100
    return CompressTry(
        recipe=recipe,
        stages=(),
        top1=top1,
        ci95=wilson_interval(top1, SAMPLES),
        samples=SAMPLES,
        drop=drop,
        drop_ci95=(drop - 0.4, drop + 0.4),
        stored_bytes=round(stored),
        size_bytes=2 * BYTES,
        instructions=None if instructions is None else round(instructions),
        seconds=60.0,
    )


def searched(word: str, max_drop: float, most_tries: int | None = None, **more: Any) -> Pretended:
    search = Pretended(word, max_drop, **more)
    search.try_all(most_tries)
    return search


def test_the_strongest_price_within_the_loss_is_found_by_four_tries():
    search = searched("size", 0.5, most_speedup=1.0)
    found = search.found["rate"]
    assert 3e5 * PRICES[found] <= 0.5 < 3e5 * PRICES[found + 1]
    untrained = [t for t in search.tries if t.row.recipe.startswith("rate") and not trains(t)]
    assert len(untrained) == 4


def trains(made: _Try) -> bool:
    return "trained" in made.row.recipe


def test_the_smallest_within_the_loss_is_taken_and_the_usual_bound_is_kept():
    search = searched("size", 0.5)
    best = search.require_best().row
    within = [made.row for made in search.tries if made.row.drop <= 0.5]
    assert best.stored_bytes == min(each.stored_bytes for each in within)
    assert best.recipe.endswith("trained")
    assert len(search.tries) <= 18


def test_no_try_begins_after_the_time_is_over_but_the_first():
    search = Pretended("size", 0.5)
    search.try_all(None, seconds=1e-9)
    assert [made.row.recipe for made in search.tries] == ["int8"]
    assert search.require_best().row.recipe == "int8"


def test_training_is_tried_where_the_highest_price_still_holds():
    trained = [made.recipe[-1].price for made in searched("size", 100.0).tries if trains(made)]
    assert trained and set(trained) == {PRICES[-1]}


def test_slim_takes_half_of_the_loss_where_the_rest_makes_it_smaller():
    halved, whole = searched("size", 2.0), searched("speed", 2.0)
    assert SPEEDUPS[halved.found["slim, int8"]] == 1.5  # costs 1 point
    assert SPEEDUPS[whole.found["slim, int8"]] == 2.0


def test_the_fastest_has_the_fewest_instructions_and_then_the_fewest_bytes():
    search = searched("speed", 1.2)
    best = search.require_best().row
    within = [made.row for made in search.tries if made.row.drop <= 1.2]
    assert best.instructions == min(each.instructions for each in within)
    alike = [each for each in within if each.instructions == best.instructions]
    assert best.stored_bytes == min(each.stored_bytes for each in alike) < BYTES / 1.5


def test_what_cannot_be_the_fastest_is_not_tried():
    words = [made.row.recipe for made in searched("speed", 1.2).tries]
    assert words[0] == "int8"
    assert all(each.startswith("slim") for each in words[1:])
    unslimmed = [made.row.recipe for made in searched("speed", 1.2, most_speedup=1.0).tries]
    assert any(each.startswith("rate") for each in unslimmed)


def test_few_tries_are_those_that_take_little_time():
    words = [made.row.recipe for made in searched("size", 0.5, 5).tries]
    assert len(words) == 5 and words[0] == "int8"
    assert all(re.fullmatch(r"rate [0-9.e-]+", each) for each in words[1:])


@pytest.mark.parametrize("error", [UnfaithfulError, DivergedError])
def test_a_recipe_whose_file_is_refused_counts_as_one_that_loses_too_much(
    error: type[EdgenetsError],
    folder: Path,
    image_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    model, run_recipe = en.Model.load(folder), search_module.run_recipe

    def refused(net: Model, images: Any, recipe: Recipe, *more: Any) -> Any:
        if words_of(recipe) in unfaithful:
            raise error("the int8 file gives logits at 3.0 dB; it was not kept")
        return run_recipe(net, images, recipe, *more)

    monkeypatch.setattr(search_module, "run_recipe", refused)
    monkeypatch.setattr(table_module, "PRICES", (1e-6,))
    unfaithful: tuple[str, ...] = ("rate 1e-06",)
    made = model.compress(image_folder, out=tmp_path / "net", max_drop=100, tries=2)
    assert [each["recipe"] for each in made.record.tries] == ["int8"]
    (refused_because,) = made.record.refused
    assert refused_because.startswith("rate 1e-06: the int8 file gives logits at 3.0 dB")
    unfaithful = ("int8", "rate 1e-06")
    with pytest.raises(EdgenetsError, match=r"none of the recipes .* \(int8: the int8 file gives"):
        model.compress(image_folder, out=tmp_path / "none", max_drop=100, tries=2)


def test_nothing_within_the_loss_is_a_sentence_with_the_nearest_and_a_loss_that_holds():
    search = searched("size", 0.0, 3)
    search.tries = [made for made in search.tries if made.row.drop > 0]
    with pytest.raises(EdgenetsError, match="lose more than 0 points on the held-out") as raised:
        search.require_best()
    sentence = str(raised.value)
    nearest = min(search.tries, key=lambda made: made.row.drop).row
    assert nearest.recipe in sentence and "\n" not in sentence
    enough = float(re.search(r"--max-drop ([0-9.]+)", sentence)[1])
    assert nearest.drop <= enough < nearest.drop + 0.011


def test_front_has_what_no_other_is_as_small_as_fast_and_as_accurate_as():
    rows = [
        row("int8", 0.0, 200, 100).to_json(),
        row("worse", 1.0, 210, 100).to_json(),
        row("smaller", 1.0, 90, 100).to_json(),
        row("faster", 1.0, 150, 50).to_json(),
    ]
    assert front_of_tries(rows) == [2, 3, 0]
    rows = [{**each, "instructions": None} for each in rows]
    assert front_of_tries(rows) == [2, 0]


# With real stages


@pytest.fixture(scope="module")
def folder(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of a small net, trained so far that it is not thrown by losing channels."""
    place = tmp_path_factory.mktemp("tries") / "net"
    small = {"resolution": 32, "output_stride": 8, "base_expand": 32, "expand_increment": 16}
    training = {"weights": "none", "epochs": 10, "batch_size": 16}
    en.train("squeezenet", data=image_folder, out=place, **training, **small)
    return place


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One price and one speedup, and few rounds to it."""
    monkeypatch.setattr(table_module, "PRICES", (1e-6,))
    monkeypatch.setattr(table_module, "SPEEDUPS", (1.3,))
    monkeypatch.setattr("edgenets.quantize.slim.choice.ROUNDS", 1)


ASKED = {"max_drop": 100, "objective": "speed", "target": "rpi5", "epochs": 2, "tries": 3}


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_search_goes_on_where_it_was_stopped_and_keeps_the_fastest(
    folder: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    slimmed, slim = [], stages_module.COMPRESS["slim"]

    def counted(*arguments: Any, **more: Any) -> Model:
        slimmed.append(1)
        return slim(*arguments, **more)

    monkeypatch.setitem(stages_module.COMPRESS, "slim", counted)
    model, out = en.Model.load(folder), tmp_path / "fast"
    row_of = search_module.row_of

    def stopped_at_the_third(recipe: Recipe, *arguments: Any, **more: Any) -> CompressTry:
        if words_of(recipe) == "slim 1.3x, rate 1e-06":
            raise KeyboardInterrupt
        return row_of(recipe, *arguments, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(search_module, "row_of", stopped_at_the_third)
        model.compress(image_folder, out=out, **ASKED)
    done = {file: file.stat().st_mtime_ns for file in out.glob("stages/*/*/stage.json")}
    assert len(done) == 2 + 3 + 3  # the model as it was is in each

    seen = []
    keep = search_module.keep_result

    def watched(*arguments: Any, **more: Any) -> dict[str, Any]:
        seen.append({file: file.stat().st_mtime_ns for file in done})
        return keep(*arguments, **more)

    monkeypatch.setattr(search_module, "keep_result", watched)
    fast = model.compress(image_folder, out=out, **ASKED)
    assert seen == [done] and slimmed == [1]

    record = fast.record
    assert [each["recipe"] for each in record.tries] == [
        "int8",
        "slim 1.3x, int8",
        "slim 1.3x, rate 1e-06",
    ]
    taken = record.tries[record.chosen]
    assert record.chosen in record.front and record.objective == "speed"
    core_instructions = estimate_net(Model.load(out).net, "cortex-a76")
    assert taken["instructions"] == core_instructions < record.before["instructions"]
    held_out, tested = record.before["samples"], record.stages[-1]["samples"]
    assert {each["samples"] for each in record.tries} == {held_out} and held_out != tested
    assert all("right" not in stage for stage in record.stages)
    assert record.stages[-1]["stored_bytes"] == taken["stored_bytes"]
    stored = json.loads((out / "compress.json").read_text())
    assert stored["tries"] == json.loads(json.dumps(record.to_json()["tries"]))
    assert fast.evaluate(image_folder).samples == tested
    assert taken["recipe"] in (out / "tries.html").read_text()
    assert not (out / "stages").exists()
    assert taken["recipe"] in record._repr_html_()


def test_a_net_whose_instructions_nobody_measured_is_not_made_fast(
    folder: Path, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unknown(*_: object) -> None:
        raise EdgenetsError("the instructions of it were not measured")

    monkeypatch.setattr(search_module, "instructions_range", unknown)
    with pytest.raises(EdgenetsError, match="were not measured"):
        en.Model.load(folder).compress(image_folder, out=tmp_path / "fast", **ASKED)


# How it is shown


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    tries = [
        row("int8", 0.1, 209_767, 4_816_252),
        row("rate 1.7e-06", 1.4, 49_615, 4_816_252),
        row("rate 3.4e-07", 0.4, 79_174, 4_816_252),
        row("slim 1.5x, int8", 0.3, 160_000, 3_200_000),
        row("slim 1.5x, rate 3.4e-07", 0.45, 61_000, 3_200_000),
    ]
    rows = [each.to_json() for each in tries]
    before = {"top1": 0.9, "ci95": [0.88, 0.92], "samples": SAMPLES, "instructions": 4_816_252}
    asked = {"objective": "size", "target": "rpi4", "max_drop": 0.5, "before": before}
    asked["refused"] = ["rate 2.9e-05: the int8 file gives logits at 3.0 dB"]
    return {"tries": rows, "front": front_of_tries(rows), "chosen": 4, **asked}


TESTED = {"top1": 0.8912, "ci95": [0.87, 0.91]}


def test_page_needs_nothing_but_itself_and_is_the_same_again(result: dict[str, Any]):
    page = render_page(result, TESTED)
    assert render_page(result, TESTED) == page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert page.count("<svg") == 2 and page.count('class="halo"') == 2
    assert page.count('class="level"') == 4
    assert "89.12 %" in page and "Smallest within 0.5 points" in page
    assert "losing too much: rate 2.9e-05: the int8 file gives logits at 3.0 dB." in page


def test_page_without_instructions_has_bytes_alone(result: dict[str, Any]):
    rows = [{**each, "instructions": None} for each in result["tries"]]
    before = {**result["before"], "instructions": None}
    page = render_page({**result, "tries": rows, "before": before}, TESTED)
    assert page.count("<svg") == 1 and "instructions" not in page
    equal = [{**each, "instructions": 4_816_252} for each in result["tries"]]
    assert render_page({**result, "tries": equal}, TESTED).count("<svg") == 1


def test_names_in_a_page_are_shown_and_not_obeyed(result: dict[str, Any]):
    odd = json.loads(json.dumps(result))
    odd["tries"][0]["recipe"] = "<script>alert(1)</script>\u202e"
    page = render_page(odd, TESTED)
    assert "<script>" not in page and "\u202e" not in page


def test_table_is_ordered_by_size_with_the_front_and_what_was_taken_marked(
    result: dict[str, Any], capsys: pytest.CaptureFixture
):
    marks = {recipe: mark for mark, recipe, *_ in try_rows(result)}
    assert marks == {
        **{"rate 1.7e-06": "*", "slim 1.5x, rate 3.4e-07": "*<", "rate 3.4e-07": "*"},
        **{"slim 1.5x, int8": "*", "int8": "*"},
    }
    assert next(each[1] for each in try_rows(result)) == "rate 1.7e-06"
    print_tries(result)
    shown = capsys.readouterr().out
    assert "counts as a recipe that loses too much: rate 2.9e-05: the int8 file gives" in shown
    assert "taken of 5 recipes: slim 1.5x, rate 3.4e-07, stored: 61,000 bytes" in shown
    assert "3,200,000 instructions an image on rpi4 of 4,816,252, 0.45 points lost of 0.5" in shown
