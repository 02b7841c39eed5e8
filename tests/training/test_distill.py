"""Learning from another net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgenets.data.loading import UNLABELLED
from edgenets.errors import EdgenetsError
from edgenets.models.backend import keras, tf
from edgenets.models.inference import compile_inference, predict_logits
from edgenets.training.data import TrainingData
from edgenets.training.distill import distilled_loss
from edgenets.training.fit import _Loop, fit
from edgenets.training.settings import Distillation, FitSettings


def test_loss_is_the_weighted_sum_of_labels_and_softened_answers():
    logits, taught = np.float32([[2, 0, 1], [0, 1, 5]]), np.float32([[1, 1, 0], [3, 0, 3]])
    soft = np.exp(taught / 2) / np.exp(taught / 2).sum(axis=1, keepdims=True)
    log = logits / 2 - np.log(np.exp(logits / 2).sum(axis=1, keepdims=True))
    expected = 0.75 * 0.3 + 0.25 * 2**2 * -(soft * log).sum(axis=1).mean()
    loss = distilled_loss(Distillation(alpha=0.25, temperature=2), tf.constant(0.3), logits, taught)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_gradient_of_the_teacher_s_part_keeps_its_size_at_every_temperature():
    logits, taught = tf.constant([[0.3, -0.2, 0.1]]), tf.constant([[-0.1, 0.2, 0.4]])
    sizes = []
    for temperature in (10.0, 100.0):  # far above the logits, where the paper's limit holds
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = distilled_loss(
                Distillation(alpha=1, temperature=temperature), 0.0, logits, taught
            )
        sizes.append(float(tf.norm(tape.gradient(loss, logits))))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.slow
def test_the_teacher_alone_teaches_without_labels(
    build_net, training_data: TrainingData, tmp_path: Path
):
    settings = FitSettings(epochs=16, batch_size=16, learning_rate=0.01, augment=0)
    options = {"seed": 0, "key": "", "description": ""}
    teacher, pupil = build_net(), build_net()
    fit(teacher, training_data, settings, checkpoint=tmp_path / "teacher", **options)
    wrong = TrainingData(
        training_data.images,
        1 - training_data.labels,
        training_data.validation_images,
        training_data.validation_labels,
        flip=False,
    )
    alone = settings.model_copy(update={"distillation": Distillation(alpha=1.0)})
    fit(pupil, wrong, alone, checkpoint=tmp_path / "pupil", teacher=teacher, **options)
    answers = [
        predict_logits(compile_inference(net), training_data.validation_images).argmax(axis=1)
        for net in (teacher, pupil)
    ]
    assert np.mean(answers[0] == training_data.validation_labels) >= 0.9
    assert np.mean(answers[0] == answers[1]) >= 0.9


@pytest.mark.slow
def test_unlabelled_images_teach_by_the_teacher_s_answers(
    build_net, training_data: TrainingData, tmp_path: Path
):
    settings = FitSettings(epochs=16, batch_size=16, learning_rate=0.01, augment=0)
    options = {"seed": 0, "key": "", "description": ""}
    teacher, pupil = build_net(), build_net()
    fit(teacher, training_data, settings, checkpoint=tmp_path / "teacher", **options)
    unlabelled = replace(training_data, labels=np.full(len(training_data.images), UNLABELLED))
    with pytest.raises(EdgenetsError, match="unlabelled images teach by a teacher's answers; pass"):
        fit(pupil, unlabelled, settings, checkpoint=tmp_path / "alone", **options)
    taught = {"checkpoint": tmp_path / "taught", "teacher": teacher}
    history = fit(pupil, unlabelled, settings, **taught, **options)
    assert max(history["validation_accuracy"]) >= 0.9


def test_unlabelled_images_have_no_part_in_the_loss_of_the_labels(
    build_net, training_data: TrainingData, tmp_path: Path
):
    half = np.where(np.arange(len(training_data.images)) < 40, training_data.labels, UNLABELLED)
    settings = FitSettings(epochs=1, batch_size=80, augment=0, label_smoothing=0)
    model, teacher = build_net(), build_net()
    logits = predict_logits(compile_inference(model), training_data.images.take(range(40)))
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -log[np.arange(40), training_data.labels[:40]].sum() / 80
    loop = _Loop(model, replace(training_data, labels=half), settings, 0, (), teacher)
    all_logits = predict_logits(loop.inference, training_data.images.take(range(80)))
    assert float(loop._loss(all_logits, half)) == pytest.approx(expected, rel=1e-4)


def test_teacher_sees_what_its_pupil_sees_at_its_own_resolution(build_net, crop_data: TrainingData):
    """Crops are cut for both from the larger photographs; other views are resized for it."""
    image = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    teacher = keras.Model(image, keras.layers.Dense(2)(pooled), name="teacher")
    settings = FitSettings(epochs=1, batch_size=80)
    whole = replace(crop_data, sources=None)
    for data, sides in ((crop_data, [8, 16]), (whole, [8])):
        loop = _Loop(build_net(), data, settings, 0, (), teacher)
        ((indices, images),) = loop._batches(0)
        assert [views.shape[1:] for views in images] == [(side, side, 3) for side in sides]
        answers = loop.teach(images[-1], tf.constant([0, 0]))
        seen = loop._views(images[0], tf.constant([0, 0]))
        expected = teacher(tf.image.resize(seen, (16, 16), antialias=True))
        np.testing.assert_allclose(answers, expected, atol=0.03)
        means = data.images.take(indices).mean(axis=(1, 2))
        is_whole = np.allclose(images[0].mean(axis=(1, 2)), means, atol=1)
        assert is_whole == (data is whole)


def test_teacher_of_other_classes_gets_a_sentence(
    build_net, training_data: TrainingData, tmp_path: Path
):
    image = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    other = keras.Model(image, keras.layers.Dense(5)(pooled), name="other")
    with pytest.raises(EdgenetsError, match="the 2 classes that there are; other knows 5; pass"):
        fit(
            build_net(),
            training_data,
            FitSettings(epochs=1),
            seed=0,
            checkpoint=tmp_path / "c",
            key="",
            description="",
            teacher=other,
        )
