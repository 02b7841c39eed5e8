import os
import shutil

from edgenets.data.opened import last_dataset_kept, listing, open_again

SETTINGS = {"seed": 0, "strict": False, "test_fraction": 0.2}


def test_a_folder_is_opened_once_until_a_file_in_it_changes(image_folder, tmp_path):
    folder = shutil.copytree(image_folder, tmp_path / "images")

    def opened(**others):
        with last_dataset_kept():
            return open_again(str(folder), **{**SETTINGS, **others})

    first = opened()
    assert opened() is first
    assert open_again(str(folder), **SETTINGS) is not first  # who did not ask for it
    os.utime(next(path for path in folder.rglob("*") if path.is_file()), (0, 0))
    changed = opened()
    assert changed is not first
    assert changed.fingerprint == first.fingerprint
    assert opened(seed=1) is not changed


def test_links_to_a_folder_around_are_listed_and_not_followed(image_folder, tmp_path):
    folder = shutil.copytree(image_folder, tmp_path / "images")
    before = listing(folder)
    for name in ("one", "other"):  # followed, they would make 2 ** 40 paths
        (folder / "train" / "dark" / name).symlink_to(folder)
    assert listing(folder) == before
