from pathlib import Path

from edgenets.cache import cache_folder


def test_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    for variable in ("EDGENETS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert cache_folder() == Path("/home/someone/.cache/edgenets")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/edgenets")
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
