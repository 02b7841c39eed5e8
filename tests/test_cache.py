from pathlib import Path

import pytest

from edgenets.cache import cache_folder
from edgenets.errors import EdgenetsError


def test_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/someone")
    for variable in ("EDGENETS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert cache_folder() == Path("/home/someone/.cache/edgenets")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/edgenets")
    monkeypatch.setenv("EDGENETS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    for variable in ("HOME", "EDGENETS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 9)  # whom the system does not list
    with pytest.raises(EdgenetsError, match=r"no home.*set EDGENETS_CACHE to a folder"):
        cache_folder()
