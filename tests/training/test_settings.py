"""The pace of a training by the number of images and what the net knows already."""

from __future__ import annotations

import pytest

from edgenets.quantize.settings import PruneSettings, QatSettings, ShareSettings
from edgenets.training.settings import (
    Distillation,
    FitSettings,
    Pace,
    TrainSettings,
    TransferSettings,
    batch_size_for,
)


@pytest.mark.parametrize(
    "settings, pace, transferred",
    [
        (TrainSettings(), Pace(30, 64, 4e-3, "trained"), Pace(20, 64, 4e-4, "frozen")),
        (PruneSettings(), Pace(10, 64, 2e-3, "trained"), Pace(10, 64, 1e-3, "frozen")),
        (ShareSettings(), Pace(4, 64, 1e-3, "trained"), Pace(4, 64, 5e-4, "frozen")),
        (QatSettings(), Pace(4, 64, 2e-4, "trained"), Pace(4, 64, 1e-4, "frozen")),
    ],
)
def test_digits_keep_their_pace_and_trained_weights_have_a_gentler_one(
    settings: FitSettings, pace: Pace, transferred: Pace
):
    assert settings.pace(1_293, has_batch_norm=True) == pace
    found = settings.pace(1_293, has_batch_norm=True, transferred=True)
    assert found._replace(learning_rate=0) == transferred._replace(learning_rate=0)
    assert found.learning_rate == pytest.approx(transferred.learning_rate)


@pytest.mark.parametrize("images", [24, 60, 119, 450, 1_000, 1_280, 5_000])
def test_small_sets_are_seen_as_often_as_1200_images_and_get_hundreds_of_updates(images: int):
    pace = TrainSettings().pace(images, has_batch_norm=True)
    assert images * pace.epochs >= 1_200 * 30 or pace.epochs == 20 * 30
    for transferred in (False, True):
        pace = TrainSettings().pace(images, has_batch_norm=True, transferred=transferred)
        assert images // pace.batch_size * pace.epochs >= 400


def test_what_is_given_is_kept():
    given = TrainSettings(epochs=0, batch_size=5, learning_rate=0.1, batch_norm="trained")
    assert given.pace(50, has_batch_norm=False, transferred=True) == Pace(0, 5, 0.1, "trained")


def test_rate_falls_without_batch_norm_and_of_trained_weights_with_the_features():
    def rate(**about: object) -> float:
        return TrainSettings().pace(450, **about).learning_rate  # type: ignore[arg-type]

    assert rate(has_batch_norm=False) == pytest.approx(1e-3)
    wide = rate(has_batch_norm=True, transferred=True, features=1_280)
    assert wide == pytest.approx(4e-4 * 256 / 1_280)
    assert rate(has_batch_norm=True, features=1_280) == 4e-3  # from random weights it does not


def test_a_teacher_of_trained_weights_makes_training_longer_and_faster():
    alone = TrainSettings().pace(450, has_batch_norm=True, transferred=True)
    taught = TrainSettings().pace(450, has_batch_norm=True, transferred=True, taught=True)
    assert (alone.epochs, taught.epochs) == (24, 60)  # 9 and 22.5 times 1,200 images
    assert taught.learning_rate == pytest.approx(2.5 * alone.learning_rate)
    from_scratch = [TrainSettings().pace(450, has_batch_norm=True, taught=t) for t in (False, True)]
    assert from_scratch[0] == from_scratch[1]


def test_many_images_train_batch_norm_and_all_layers():
    assert (
        TrainSettings().pace(5_000, has_batch_norm=True, transferred=True).batch_norm == "trained"
    )
    assert [TransferSettings().frozen_part(images) for images in (4_999, 5_000)] == [0.4, 0.0]
    assert TransferSettings(frozen_layers=0.1).frozen_part(4_999) == 0.1


def test_batches_leave_an_epoch_twenty_steps():
    assert [batch_size_for(n) for n in (5, 319, 320, 640, 1_280, 50_000)] == [8, 8, 16, 32, 64, 64]


def test_teacher_of_trained_weights_counts_nearly_alone():
    assert FitSettings().distillation_for(transferred=False) == Distillation()
    assert FitSettings().distillation_for(transferred=True).alpha == 0.9
    own = Distillation(alpha=0.2)
    assert FitSettings(distillation=own).distillation_for(transferred=True) == own
