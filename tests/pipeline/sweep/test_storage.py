"""What travels by storage; that nodes work with it is in test_cluster.py."""

import shutil
import tarfile

import pytest

import edgenets as en
from edgenets.errors import EdgenetsError
from edgenets.pipeline.sweep.config import check_sweep
from edgenets.pipeline.sweep.store import Store, Trial

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'edgenets[ray]'")
from edgenets.pipeline.sweep.storage import Storage, fetch_images, put_images


@pytest.fixture
def storage(tmp_path):
    return Storage(f"file://{tmp_path}/storage")


def sweep(folder, **values):
    nets = [{"net": "squeezenet", "base_expand": [8, 16], "resolution": 32}]
    return Store(folder, check_sweep({"nets": nets, **values}, "sweep.yaml"))


def test_images_are_sent_once_and_fetched_once_by_a_node(storage, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path / "cache"))
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    (photos / "cat").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "1.png").write_bytes(b"a dog")
    (photos / "dog").symlink_to(elsewhere)  # as a folder of images may have
    name = put_images(storage, str(photos))
    assert put_images(storage, str(photos)) == name
    copies = [fetch_images(storage, str(photos), name) for _ in range(2)]
    assert [moved for moved, _ in storage.moved] == [name, name]
    assert copies[0] == copies[1]
    assert copies[0].name == "photos"
    assert (copies[0] / "dog" / "1.png").read_bytes() == b"a dog"
    (photos / "cat" / "2.png").write_bytes(b"a cat")
    assert put_images(storage, str(photos)) != name
    shutil.rmtree(elsewhere)
    with pytest.raises(EdgenetsError, match=r"cannot pack .*photos/dog"):
        put_images(storage, str(photos))


def test_images_whose_sending_was_cut_off_are_sent_again(storage, tmp_path, monkeypatch):
    (tmp_path / "photos" / "cat").mkdir(parents=True)

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "copyfileobj", cut_off)
        put_images(storage, str(tmp_path / "photos"))
    name = put_images(storage, str(tmp_path / "photos"))
    assert [moved for moved, _ in storage.moved] == [name]
    assert [path.suffix for path in (tmp_path / "storage" / "images").iterdir()] == [".tar"]


def test_images_are_not_sent_before_there_is_a_cluster(storage, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgenets[ray]'")
    from edgenets.pipeline.sweep.away import SharingStorage
    from edgenets.pipeline.sweep.cluster import search_on_cluster

    photos = tmp_path / "photos"
    photos.mkdir()
    store = sweep(tmp_path / "sweep", run={"data": {"source": str(photos)}})
    nodes = SharingStorage(store, storage.url)
    with pytest.raises(EdgenetsError, match="no Ray cluster is reached"):
        search_on_cluster(store, "127.0.0.1:1", None, nodes)
    assert not (tmp_path / "storage" / "images").exists()
    assert storage.has_folder(nodes._job.images[str(photos)])


def test_storage_that_cannot_be_used_is_one_sentence(storage, tmp_path):
    with pytest.raises(EdgenetsError, match="fsspec knows, such as s3://BUCKET/FOLDER"):
        Storage("cloud://bucket")
    with pytest.raises(EdgenetsError, match=r"storage must be a URL.* got 'shared/here'"):
        Storage("shared/here")
    with pytest.raises(EdgenetsError, match=r"cannot fetch trials/0001-1\.tar from file://"):
        storage.fetch_folder("trials/0001-1", tmp_path / "folder")
    (tmp_path / "storage").write_text("no folder")
    with pytest.raises(EdgenetsError, match=r"the storage file://.* cannot be used for trials"):
        storage.put_folder(tmp_path, "trials/0001")
    with pytest.raises(EdgenetsError, match="pass ray, too"):
        en.sweep(data="digits", storage="file:///tmp", out=tmp_path / "sweep")


def test_a_truncated_archive_is_no_fault_of_the_trial(storage, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "weights").write_bytes(bytes(50_000))
    storage.put_folder(tmp_path / "folder", "trials/0001")
    stored = tmp_path / "storage" / "trials" / "0001.tar"
    stored.write_bytes(stored.read_bytes()[:30_000])
    with pytest.raises(EdgenetsError, match=r"cannot fetch trials/0001\.tar") as told:
        storage.fetch_folder("trials/0001", tmp_path / "fetched")
    assert isinstance(told.value.__cause__, OSError)
    assert not (tmp_path / "fetched").exists()


def test_an_archive_writes_in_its_folder_alone(storage, tmp_path):
    storage.put_folder(tmp_path, "trials/0001")
    with tarfile.open(tmp_path / "storage" / "trials" / "0001.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../beside"))
    with pytest.raises(
        EdgenetsError, match=r"cannot fetch .*: \.\./beside is no file of the folder"
    ):
        storage.fetch_folder("trials/0001", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_lost_folder_is_brought_back_and_another_sweeps_storage_refused(storage, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgenets[ray]'")
    from edgenets.pipeline.sweep.away import Job, SharingStorage, _task, open_storage
    from edgenets.pipeline.sweep.search import plan_work
    from edgenets.pipeline.sweep.work import Work

    store = sweep(tmp_path / "sweep")
    plan_work(store)  # which chooses the points
    SharingStorage(store, storage.url)
    open_storage(storage.url, store.folder)
    open_storage(storage.url, tmp_path / "again")
    assert Store(tmp_path / "again").trials() == store.trials()
    other = sweep(tmp_path / "other", seed=1)
    with pytest.raises(EdgenetsError, match="holds another sweep; pass another place"):
        open_storage(storage.url, other.folder)
    trial: Trial = store.trials()[0]
    job = Job(storage.url, store.config, {}, "0.0.1")
    told, _ = _task._function(job, trial, Work(0, 0, "count"), None)
    assert "a node has edgenets" in told
    assert "the sweep is of 0.0.1; install the same version" in told


def test_a_trial_goes_from_rung_to_rung_by_storage(storage, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgenets[ray]'")
    from edgenets.pipeline.sweep import work
    from edgenets.pipeline.sweep.away import SharingStorage, _stored_name, _task
    from edgenets.pipeline.sweep.search import plan_work

    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path / "cache"))
    epochs = "generic/stages/01-train"
    size = {"target": "generic", "stored_bytes": 1}

    def train(config, point, folder, target, part):
        done = folder / epochs
        done.mkdir(parents=True, exist_ok=True)
        (done / str(part)).write_text("")
        return {"score": 1 / point.arguments["base_expand"], "epochs": len(list(done.iterdir()))}

    def finish(config, point, folder, targets):
        assert sorted(path.name for path in (folder / epochs).iterdir()) == ["0.25", "0.5"]
        top1 = {"top1": 0.5, "ci95": [0.3, 0.7], "samples": 10, "right": None, "held_out": 0.5}
        epochs_taken = {"epochs": 4, "train_epochs": 4}
        return [{**size, **top1, **epochs_taken, "run": f"trials/{folder.name}/generic"}]

    monkeypatch.setattr(work, "count_trial", lambda config, point: [size])
    monkeypatch.setattr(work, "train_trial", train)
    monkeypatch.setattr(work, "finish_trial", finish)
    store = sweep(tmp_path / "sweep", recipes=["int8"], halving={"factor": 2, "rungs": 2})
    nodes = SharingStorage(store, storage.url)
    while works := plan_work(store):
        piece, trials = works[0], store.trials()
        ahead = work.trial_ahead(trials, trials[piece.number])
        taken = None if ahead is None else _stored_name(ahead)
        result = _task._function(nodes._job, trials[piece.number], piece, taken)
        for _ in range(2):  # the second time as if another command had done the same
            nodes.end(piece, result)
    assert [trial.state for trial in store.trials()] == ["finished", "stopped"]
    assert [len(trial.rungs) for trial in store.trials()] == [2, 1]
    stored = sorted(path.name for path in (tmp_path / "storage" / "trials").iterdir())
    assert stored == ["0000.tar", "0001-1.tar"]
    assert (tmp_path / "sweep/trials/0000" / epochs / "0.5").exists()
    assert not [*(tmp_path / "cache" / "sweeps").glob("*/*")]  # nothing is left on the node
