from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.training import fit as fit_module
from edgenets.training.data import TrainingData
from edgenets.training.fit import Paused, fit, pace_of
from edgenets.training.settings import FitSettings

SETTINGS = FitSettings(epochs=4, batch_size=16, learning_rate=0.01, warmup_epochs=1)


def train(model: keras.Model, data: TrainingData, folder: Path, **changes: object) -> dict:
    settings = SETTINGS.model_copy(update=changes)
    checkpoint = folder / "checkpoint.safetensors"
    return fit(model, data, settings, seed=1, checkpoint=checkpoint, key="key", description="")


def test_training_learns(build_net: Callable, training_data: TrainingData, tmp_path: Path):
    model = build_net()
    history = train(model, training_data, tmp_path, epochs=8)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    logits = predict_logits(compile_inference(model), training_data.validation_images)
    assert np.mean(logits.argmax(1) == training_data.validation_labels) >= 0.9


def test_epochs_are_told_as_they_end_and_events_change_nothing(
    build_net: Callable, training_data: TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture
):
    plain, logged = build_net(), build_net()
    history = train(plain, training_data, tmp_path / "a")
    capsys.readouterr()
    fit(
        logged,
        training_data,
        SETTINGS,
        seed=1,
        checkpoint=tmp_path / "b" / "checkpoint.safetensors",
        key="key",
        description="train",
        log_dir=tmp_path / "log",
    )
    _, *lines = capsys.readouterr().err.splitlines()  # the first one tells the pace
    assert [line.split(",")[0] for line in lines] == [
        f"train {i}/4: loss {loss:.3f}" for i, loss in enumerate(history["loss"], start=1)
    ]
    assert len(list((tmp_path / "log" / "train").iterdir())) == 1
    for a, b in zip(plain.get_weights(), logged.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_same_seed_gives_the_same_weights(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    results = []
    for name in ("a", "b"):
        model = build_net()
        history = train(model, training_data, tmp_path / name)
        results.append((history, model.get_weights()))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("views", ["training_data", "crop_data"])
def test_interrupted_training_ends_as_an_undisturbed_one(
    build_net: Callable,
    views: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    training_data = request.getfixturevalue(views)
    undisturbed = build_net()
    history = train(undisturbed, training_data, tmp_path / "undisturbed")

    run_epoch = fit_module._Loop.run_epoch

    def stop_in_the_third_epoch(self, epoch, advance):
        if epoch == 2:
            raise KeyboardInterrupt
        return run_epoch(self, epoch, advance)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit_module._Loop, "run_epoch", stop_in_the_third_epoch)
        train(build_net(), training_data, tmp_path / "stopped")
    resumed = build_net()
    assert train(resumed, training_data, tmp_path / "stopped") == history
    for a, b in zip(undisturbed.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_paused_training_goes_on_as_an_undisturbed_one(
    build_net: Callable, training_data: TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture
):
    undisturbed, paused = build_net(), build_net()
    history = train(undisturbed, training_data, tmp_path / "a")
    checkpoint = tmp_path / "b" / "checkpoint.safetensors"
    for _ in range(2):  # asked again, it trains nothing
        with pytest.raises(Paused) as told:
            fit(
                *(build_net(), training_data, SETTINGS),
                **{"seed": 1, "checkpoint": checkpoint, "key": "key", "description": "train"},
                pause=0.3,
            )
        assert told.value.history["loss"] == history["loss"][:2]  # of 4 epochs 1.2, rounded up
    assert capsys.readouterr().err.count("train 2/4") == 1
    assert train(paused, training_data, tmp_path / "b") == history
    for a, b in zip(undisturbed.get_weights(), paused.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_training_s_checkpoint_is_refused(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    train(build_net(), training_data, tmp_path, epochs=1)
    with pytest.raises(EdgenetsError, match="belongs to a training with other settings"):
        fit(
            build_net(),
            training_data,
            SETTINGS,
            seed=1,
            checkpoint=tmp_path / "checkpoint.safetensors",
            key="another",
            description="",
        )


def test_net_without_batch_norm_gets_a_quarter_of_the_usual_learning_rate(build_net: Callable):
    image = keras.Input((8, 8, 3))
    plain = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    assert pace_of(FitSettings(), build_net(), 80).learning_rate == 0.004
    assert pace_of(FitSettings(), plain, 80).learning_rate == 0.001
    assert pace_of(FitSettings(learning_rate=0.01), plain, 80).learning_rate == 0.01


def test_further_outputs_help_to_train_and_the_first_one_answers(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    net = build_net()
    head = keras.layers.Dense(net.output_shape[-1], name="head")
    with_head = keras.Model(net.input, [net.output, head(net.layers[-2].output)])
    untrained = head.get_weights()
    train(with_head, training_data, tmp_path)
    assert not np.array_equal(head.get_weights()[0], untrained[0])
    images = training_data.validation_images
    np.testing.assert_array_equal(
        predict_logits(compile_inference(with_head), images),
        predict_logits(compile_inference(net), images),
    )


def test_learning_rate_warms_up_and_falls_to_zero(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    history = train(build_net(), training_data, tmp_path)
    rates = history["learning_rate"]  # of each epoch's last step; an epoch has 5
    peak, start = SETTINGS.learning_rate, SETTINGS.learning_rate / 100
    assert rates[0] == pytest.approx(start + (peak - start) * 4 / 5)
    assert rates[1:] == pytest.approx(
        [peak * (1 + np.cos(np.pi * step / 15)) / 2 for step in (4, 9, 14)],
        rel=1e-5,  # the schedule computes in float32
    )


def test_exploding_training_is_one_sentence(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    with pytest.raises(EdgenetsError, match="pass a lower learning rate than"):
        train(build_net(), training_data, tmp_path, learning_rate=1e30)


def test_no_epochs_leave_the_model_as_it_was(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    model = build_net()
    before = model.get_weights()
    assert train(model, training_data, tmp_path, epochs=0) == {}
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_batch_larger_than_the_set_is_the_set(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    history = train(build_net(), training_data, tmp_path, batch_size=1000, epochs=1)
    assert len(history["loss"]) == 1


def test_mixed_bfloat16_trains_float32_variables(
    build_net: Callable, training_data: TrainingData, tmp_path: Path
):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build_net()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    history = train(model, training_data, tmp_path, epochs=2)
    assert model.get_layer("conv").compute_dtype == "bfloat16"
    assert all(weight.dtype == np.float32 for weight in model.get_weights())
    assert np.isfinite(history["loss"]).all()


def test_the_best_epoch_is_chosen_only_where_the_caller_says(
    build_net: Callable,
    training_data: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    scores = iter([0.9, 0.8, 0.1, 0.2])
    monkeypatch.setattr(fit_module, "_score", lambda values: next(scores))
    history = fit(
        build_net(),
        training_data,
        SETTINGS,
        seed=1,
        checkpoint=tmp_path / "checkpoint.safetensors",
        key="key",
        description="",
        select_from_epoch=3,
    )
    assert history["kept"] == [0, 0, 0, 1]
