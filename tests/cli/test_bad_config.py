"""A bad config or `--set` is one sentence that names the line or the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenets.progress import printable


@pytest.mark.parametrize(
    "text, message",
    [
        ("seed: 1\nseed: 2\n", "line 2: the key 'seed' is there twice (first in line 1)"),
        ("train:\n  epochs: 1\n  epochs: 2\n", "line 3: the key 'epochs' is there twice"),
        ("compress:\n- stage: prune\n  stage: share\n", "line 3: the key 'stage' is there twice"),
        ("model:\n  name: mobilenet_v1\n  widht: 1\n", "line 3: model: unknown argument"),
        ("model:\n  name: mobilenet_v9\n", "line 2: model: unknown model 'mobilenet_v9'; did you"),
        ("data:\n  sorce: x\n", "line 2: unknown key 'data.sorce'; did you mean source?"),
        ("seed: 1\nexport: {fromat: int8}\n", "line 2: unknown key 'export.fromat'"),
        ("benchmark: {thread: 1}\n", "line 1: unknown key 'benchmark.thread'; did you mean thr"),
        ("compress:\n- {stage: share, cluster: 4}\n", "line 2: unknown key 'compress.0.cluster'"),
        ("compress:\n- {stage: prunne}\n", "line 2: compress.0: unknown stage 'prunne'; did you"),
        ("compress:\n- {sparsity: 0.5}\n", "line 2: compress.0: stage is missing; add one of"),
        ("compress: {stage: prune}\n", "line 1: compress: input should be a list"),
        ("seed: 0\ntrain:\n", "line 2: train: input should be keys and values, got None"),
        ("data: digits\n", "line 1: data: input should be keys and values, got 'digits'"),
        ("data: {source: ''}\n", "line 1: data.source: string should have at least 1 character"),
        ("seed: 9000000000\n", "line 1: seed: input should be less than 2147483648"),
        ("seed: 2020-13-45\n", "is not valid YAML: month must be in 1..12"),
        (f"seed: {'9' * 5000}\n", "is not valid YAML: Exceeds the limit"),
        ("1: 2\n", "line 1: 1: keys should be strings"),
        ("? [a]\n: 1\n? [a]\n: 2\n", "is not valid YAML: found unhashable key"),
        ("- seed\n", "must hold keys and values, such as `seed: 0`"),
        ("seed: 0\n\ttrain: 1\n", "line 2 is not valid YAML: found character '\\t'"),
        ("seed: 0\n--- \nseed: 1\n", "line 2 is not valid YAML"),
        ("!!python/object/apply:os.system [ls]\n", "is not valid YAML: could not determine"),
        ("[" * 5000, "is not valid YAML"),
        (b"\x7fELF\0\1\2\xff", "is not valid YAML"),
    ],
)
def test_config_that_is_wrong_is_named_with_its_line(
    text: str | bytes, message: str, tmp_path, failure
):
    config = tmp_path / "config.yaml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    sentence = failure("run", config, "--out", tmp_path / "run")
    assert sentence.startswith(str(config)) and message in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("trian.epochs=3", "unknown key 'trian'; did you mean train?"),
        ("train.epochs.x=3", "train.epochs: input should be a valid integer"),
        ("train.epochs=[", "is not valid YAML"),
        ("seed=2020-13-45", "is not valid YAML: month must be in 1..12"),
        ("seed={a: 1, a: 2}", "the key 'a' is there twice"),
        ("compress.prune.sparsity=0.5", "or a stage's by its number, such as compress.0.sparsity"),
        ("compress.²=1", "there is no such key; give one such as train.epochs"),
        ("model.name=mobilnet_v1", "unknown model 'mobilnet_v1'; did you mean mobilenet_v1?"),
        ("train.epochs", "--set needs KEY=VALUE, such as train.epochs=5"),
        (f"{'9' * 5000}=1", "unknown key '999"),
        (f"compress.{'9' * 5000}=1", "or a stage's by its number, such as compress.0.sparsity"),
        (f"seed={'9' * 5000}", "is not valid YAML: Exceeds the limit"),
        ("train.epochs=9999999999", "train.epochs: input should be less than 2147483648, got 9999"),
        ("train={[1]: 2}", "is not valid YAML: found unhashable key"),
        ("train={? [1]: 2, ? [1]: 3}", "is not valid YAML: found unhashable key"),
        ("train=&a {b: *a}", "unknown key 'train.b'"),
        ("model.name=[1]", "unknown model '[1]'"),
        ("compress=[{stage: {a: 1}}]", "unknown stage \"{'a': 1}\""),
    ],
)
def test_assignment_that_is_wrong_is_named(assignment: str, message: str, tmp_path: Path, failure):
    config = tmp_path / "config.yaml"
    config.write_text("seed: 3\n")
    for arguments in ((config,), ()):
        sentence = failure("run", *arguments, "--set", assignment, "--out", tmp_path / "run")
        assert message in sentence and assignment in sentence


@pytest.mark.parametrize(
    "key", ["data.source", "data.unlabelled", "train.teacher", "train.weights"]
)
def test_path_that_no_system_has_is_one_sentence(key: str, tmp_path: Path, failure):
    assert r"a\x00b" in printable(
        failure("run", "--set", f'{key}="a\\0b"', "--out", tmp_path / "run")
    )


def test_config_that_cannot_be_read_is_one_sentence(tmp_path: Path, failure):
    (tmp_path / "birds.yaml").touch()
    sentence = failure("run", tmp_path / "brids.yaml")
    assert "No such file or directory; did you mean birds.yaml?" in sentence
    assert "Is a directory; pass a file" in failure("run", tmp_path)
