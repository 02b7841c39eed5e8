"""A file that is no usable image is refused with its reason, before it takes memory."""

import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenets import memory
from edgenets.data.images import Preparation, load_prepared, load_rgb
from edgenets.errors import EdgenetsError

FORMATS = ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm")


def test_empty_file_is_named_so(tmp_path, reason):
    path = tmp_path / "a.png"
    path.touch()
    assert reason(path) == "empty file"


@pytest.mark.parametrize(
    "content", [b"hello", b"\x00" * 5000, b"<svg/>", b"\x89PNG\r\n", b"\xff\xd8"]
)
def test_file_that_is_no_image_is_named_so(tmp_path, content, reason):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert reason(path) == "not an image Pillow can read"


@pytest.mark.parametrize("extension", FORMATS)
def test_half_an_image_is_truncated(tmp_path, extension, noise, reason):
    path = tmp_path / f"a.{extension}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason(path).startswith("truncated or damaged: ")


def test_jpeg_without_its_last_bytes_is_truncated(tmp_path, noise, reason):
    path = tmp_path / "a.jpg"
    noise().save(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "truncated" in reason(path)


def test_png_with_a_flipped_byte_is_damaged(tmp_path, noise, reason):
    path = tmp_path / "a.png"
    noise().save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert reason(path).startswith("truncated or damaged: ")


@pytest.mark.parametrize("extension", FORMATS)
def test_mutated_files_are_read_or_refused_with_a_reason(tmp_path, extension, noise):
    random = np.random.default_rng(0)
    path = tmp_path / f"a.{extension}"
    noise(16, 20).save(path)
    original = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(40):
        content = original[: random.integers(1, len(original) + 1)].copy()
        where = random.integers(0, len(content), 5)
        content[where] = random.integers(0, 256, 5)
        path.write_bytes(content.tobytes())
        try:
            assert load_rgb(path).mode == "RGB"
        except EdgenetsError as error:
            assert str(error)


def test_missing_file_folder_and_link_to_itself_have_reasons(tmp_path, reason):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert reason(tmp_path / "missing.png") == "no such file or directory"
    assert reason(tmp_path) == "is a directory"
    assert reason(tmp_path / "loop") == "too many levels of symbolic links"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_read_permission_is_named_so(tmp_path, noise, reason):
    path = tmp_path / "a.png"
    noise().save(path)
    path.chmod(0)
    assert reason(path) == "permission denied"


def test_decompression_bomb_is_too_large(tmp_path, monkeypatch, noise, reason):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 48 * 64 = 3072 > 2 * 1000
    assert reason(path).startswith("too large: ")
    assert "3072 pixels" in reason(path)


def test_image_that_does_not_fit_in_memory_is_too_large(tmp_path, monkeypatch, noise, reason):
    path = tmp_path / "a.png"
    noise().save(path)

    def exhaust(*_):
        raise MemoryError

    monkeypatch.setattr(Image, "open", exhaust)
    assert reason(path) == "too large: not enough memory"


def declared(path: Path, width: int, height: int) -> Path:
    """Write a PNG of a few bytes that declares a size."""
    Image.new("RGB", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    return path


def test_picture_that_declares_more_than_the_bound_is_refused_before_memory_is_taken(
    tmp_path, reason
):
    path = declared(tmp_path / "a.png", 10_000, 10_000)
    with memory.at_most(10**9):
        assert reason(path).startswith(
            "too large: 10000 x 10000 pixels, which would take 1144.41 MiB of memory, where a file "
            "may take 953.67 MiB (as was passed)"
        )
    with memory.at_most(10**10):
        assert reason(path).startswith("truncated or damaged")


def test_file_larger_than_the_bound_is_refused(tmp_path, noise, reason):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    with memory.at_most(path.stat().st_size - 1):
        assert reason(path).startswith("too large, which would take ")


def test_preparation_to_more_than_the_bound_is_refused(tmp_path, noise):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    with pytest.raises(EdgenetsError, match=r"^too large: .* which would take "):
        load_prepared(path, Preparation(8, 10**9))


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused_and_not_read(kind, tmp_path, reason):
    path = tmp_path / "a.png"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    assert reason(path) == "not a regular file"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(
    "mode, name, options",
    [
        *(("L", "a.png", {}), ("RGB", "a.png", {}), ("RGBA", "a.png", {}), ("I;16", "a.png", {})),
        *(("RGB", "a.jpg", {"progressive": True}), ("RGBA", "a.webp", {}), ("RGB", "a.jp2", {})),
    ],
)
def test_pictures_take_no_more_memory_than_is_reckoned(mode, name, options, tmp_path):
    Image.new(mode, (1500, 1500)).save(tmp_path / name, **options)
    script = (
        "import sys; from pathlib import Path\n"
        "from edgenets import memory; from edgenets.data.images import load_rgb\n"
        "from edgenets.export.board.machine import forget_peak_memory, kilobytes\n"
        "reckoned = []\n"
        "load_rgb(Path(sys.argv[1]), 8)\n"  # loads the decoder
        "reserved = memory.reserved\n"
        "def reserve(size, what): reckoned.append(size); return reserved(size, what)\n"
        "memory.reserved = reserve\n"
        "forget_peak_memory(); before = kilobytes('/proc/self/status', 'VmRSS')\n"
        "load_rgb(Path(sys.argv[1]))\n"
        "print(kilobytes('/proc/self/status', 'VmHWM') - before, *reckoned)\n"
    )
    command = [sys.executable, "-c", script, tmp_path / name]
    peak, reckoned = map(int, subprocess.run(command, capture_output=True).stdout.split())
    assert peak <= reckoned <= 12 * peak + 2**22  # what was freed before may be used again


def test_postscript_is_refused_because_a_program_would_run(tmp_path, noise, reason):
    path = tmp_path / "a.eps"
    noise().save(path)
    assert "PostScript" in reason(path)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_grey_is_refused_with_what_to_do(tmp_path, mode, reason):
    path = tmp_path / "a.tif"
    Image.new(mode, (8, 8), 70000).save(path)
    assert reason(path) == f"32-bit grey (mode {mode}); convert it to 8 or 16 bits"


def test_pillow_warnings_do_not_leak(tmp_path, monkeypatch, noise):
    path = tmp_path / "a.png"
    noise(48, 64).save(path)
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 2000
    )  # Pillow warns between one and two times it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_rgb(path)
        before = len(warnings.filters)
        load_rgb(path)
        assert len(warnings.filters) == before
