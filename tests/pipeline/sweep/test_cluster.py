"""A sweep on a real Ray cluster of two nodes on this machine, of which one is lost."""

import re
import socket
import threading
import time
from collections import Counter

import pytest

from edgenets.errors import EdgenetsError
from edgenets.pipeline.config_file import load_config
from edgenets.pipeline.sweep.config import check_sweep
from edgenets.pipeline.sweep.page import PAGE
from edgenets.pipeline.sweep.store import Store

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgenets[ray]'")

CACHE = "EDGENETS_CACHE"


def sweep(folder, source="digits", **values):
    nets = [{"net": "squeezenet", "base_expand": [8, 16, 24], "expand_increment": 8}]
    nets[0] |= {"resolution": 32, "output_stride": 8}
    run = {
        "data": {"source": str(source), "flip": False},
        "train": {"epochs": 2, "batch_size": 60, "augment": 0},
        "export": {"calibration_images": 20},
    }
    values = {"nets": nets, "recipes": ["int8"], "halving": {"rungs": 0}, "run": run, **values}
    return Store(folder, check_sweep(values, "sweep.yaml"))


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path):
    from edgenets.pipeline.sweep.cluster import search_on_cluster

    for address in ("auto", "127.0.0.1:1", "here"):
        with pytest.raises(EdgenetsError, match=f"no Ray cluster is reached at {address}"):
            search_on_cluster(sweep(tmp_path / "sweep"), address, None)


def test_ray_that_is_not_installed_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "edgenets.pipeline.sweep.cluster", raising=False)
    with pytest.raises(EdgenetsError, match=r"needs ray, .*pip install 'edgenets\[ray\]'"):
        import edgenets.pipeline.sweep.cluster  # noqa: F401


def test_what_listens_but_is_no_ray_is_told_in_seconds(tmp_path, monkeypatch):
    from edgenets.pipeline.sweep import cluster

    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        for form in (address, f"ray://{address}"):
            with pytest.raises(EdgenetsError, match="what listens there is no Ray"):
                cluster.search_on_cluster(sweep(tmp_path / "sweep"), form, None)
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(EdgenetsError, match=f"no Ray cluster is reached at {address}"):
            cluster.search_on_cluster(sweep(tmp_path / "sweep"), "auto", None)


def test_a_node_without_the_folder_or_the_images_is_named(tmp_path):
    from edgenets.pipeline.sweep.cluster import _task
    from edgenets.pipeline.sweep.search import plan_work

    images = tmp_path / "images"
    images.mkdir()
    store = sweep(tmp_path / "sweep", images)
    piece = plan_work(store)[0]
    told = _task._function(str(tmp_path / "elsewhere"), piece)
    assert re.match(r"on the node [\d.]+: there is no folder .*elsewhere; pass --out in a", told)
    images.rmdir()
    told = _task._function(str(store.folder), piece)
    assert re.match(r"on the node [\d.]+: .*sweep\.yaml: no data folder '.*images'", told)
    assert {trial.state for trial in store.trials()} == {"chosen"}  # no fault of the trial


@pytest.mark.slow
@pytest.mark.parametrize("is_stored", [False, True], ids=["sharing a folder", "sharing storage"])
def test_a_node_that_is_killed_costs_its_work_alone_and_nothing_is_counted_twice(
    is_stored, image_folder, tmp_path, capfd
):
    if is_stored:
        pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'edgenets[ray]'")
    from ray.cluster_utils import Cluster

    from edgenets.pipeline.sweep.cluster import search_on_cluster

    store = sweep(tmp_path / "sweep", image_folder)
    sharing = None
    if is_stored:
        from edgenets.pipeline.sweep.away import SharingStorage

        sharing = SharingStorage(store, f"file://{tmp_path}/storage")
    nodes = [{"num_cpus": 1, "env_vars": {CACHE: str(tmp_path / name)}} for name in "ab"]
    cluster = Cluster(initialize_head=True, head_node_args=nodes[0])
    try:
        other = cluster.add_node(**nodes[1])
        cluster.wait_for_nodes()

        def lose_a_node():
            while not any(trial.state == "inside" for trial in Store(store.folder).trials()):
                time.sleep(0.2)
            cluster.remove_node(other, allow_graceful=False)

        loser = threading.Thread(target=lose_a_node)
        loser.start()
        search_on_cluster(store, cluster.address, None, sharing)
        loser.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert Counter(trial.state for trial in store.trials()) == {"finished": 3}
    for trial in store.trials():
        log = (store.folder_of(trial) / "log").read_text()
        assert {log.count(f"train {epoch}/2: ") for epoch in (1, 2)} == {1}
        assert (store.folder / trial.measured[0]["run"] / "report.html").exists()
        config = load_config(store.folder / trial.measured[0]["run"] / "config.yaml")
        assert config.data.source == str(image_folder)  # wherever the node had read it
    if is_stored:
        images = [path for path in (tmp_path / "a/sweeps/images").glob("*/*") if path.is_dir()]
        assert [path.name for path in images] == [image_folder.name]
        sharing.tell_what_was_moved()
        assert "nodes fetched images" in capfd.readouterr().err
        stored = {path.name for path in (tmp_path / "storage").iterdir()}
        assert stored == {"images", "trials", "sweep.yaml", "sweep.journal", "sweep.json", PAGE}
