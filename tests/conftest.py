"""What many tests share: images, one real run on them, and a server on loopback."""

from __future__ import annotations

import datetime
import fcntl
import functools
import gc
import ipaddress
import json
import os
import re
import shutil
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import flatbuffers
import hypothesis
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from edgenets import flatbuffer
from edgenets.errors import EdgenetsError
from edgenets.export.devices import environments
from edgenets.export.devices.emulator import Board, find_board
from edgenets.export.devices.emulator_setup import COMPILERS, set_up
from edgenets.export.metadata import ENTRY, with_labels

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
CLASSES = ("dark", "left", "right")
IMAGES_PER_CLASS = {"train": 40, "test": 12}

# Its limit of 200 ms for an example is wall time, which other processes on the machine take.
hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays for good, such as TensorFlow: 7 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function from a name and what fills a new folder to that folder, filled.

    All processes of pytest-xdist have it in common: the first that asks fills it, the others wait.
    So tests read what is in it and change copies.
    """
    base = tmp_path_factory.getbasetemp()
    common = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        common.mkdir(exist_ok=True)
        folder = common / name
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                filling = common / f"{name}.filling"
                shutil.rmtree(filling, ignore_errors=True)  # of a process that failed at it
                filling.mkdir()
                fill(filling)
                filling.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data beside the checkout, which the project does not contain."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the development data (shared/data) is not beside the checkout")
    return SHARED_DATA


@pytest.fixture
def shared_file():
    """A function from a name to a file of the shared data; skips the test where there is none."""

    def find(name):
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"{path} is not here")
        return path

    return find


@pytest.fixture(scope="session")
def image_folder(make_once: Callable[..., Path]) -> Path:
    """Three classes of noisy 32 x 32 images, told apart by where they are bright."""
    return make_once("images", fill_with_images)


def fill_with_images(folder: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in IMAGES_PER_CLASS.items():
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 120, (32, 32, 3), dtype=np.uint8)
                columns = {"dark": slice(0), "left": slice(16), "right": slice(16, None)}[label]
                pixels[:, columns] += 120
                Image.fromarray(pixels).save(folder / split / label / f"{i:02}.png")


@pytest.fixture(scope="session")
def boards_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache, if all that tests set up is there, else one of the tests', for all of it."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            find_board()
            environments.find_environment(environments.TOSA)
        except EdgenetsError:
            # Beside the folder of this run: the next run finds it, and so do parallel workers.
            cache = tmp_path_factory.getbasetemp().parent / "edgenets-cache"
            patch.setenv("EDGENETS_CACHE", str(cache))
        yield


@pytest.fixture(scope="session")
def emulated_board(boards_cache: None) -> Board:
    """The emulated board, set up if it is not."""
    if not shutil.which("qemu-aarch64"):
        pytest.skip("qemu-aarch64 is not installed (Debian: qemu-user)")
    if not any(map(shutil.which, COMPILERS)):
        pytest.skip("there is no C compiler")
    try:
        return find_board()
    except EdgenetsError:
        return set_up()


@pytest.fixture(scope="session")
def tosa(boards_cache: None) -> None:
    """TOSA's reference model, set up if it is not."""
    try:
        environments.find_environment(environments.TOSA)
    except EdgenetsError:
        try:
            environments.set_up([environments.TOSA])
        except EdgenetsError as error:  # there may be no network, or no wheels for this Python
            pytest.skip(str(error))


TINY_CONFIG = """\
model: {{name: mobilenet_v1, width: 0.25, resolution: 32, output_stride: 8}}
data: {{source: "{source}", flip: false}}
train: {{weights: none, epochs: 18, batch_size: 16, augment: 0}}
compress:
  - {{stage: prune, sparsity: 0.6, epochs: 4, batch_size: 16, augment: 0}}
  - {{stage: share, clusters: 16, epochs: 2, batch_size: 16, augment: 0}}
export: {{calibration_images: 50}}
benchmark: {{min_seconds: 0.2}}
"""


@pytest.fixture(scope="session")
def tiny_config(image_folder: Path, make_once: Callable[..., Path]) -> Path:
    """The config of a run on `image_folder` that takes less than a minute."""
    text = TINY_CONFIG.format(source=image_folder)
    return make_once("config", lambda folder: (folder / "tiny.yaml").write_text(text)) / "tiny.yaml"


@pytest.fixture(scope="session")
def tiny_run(tiny_config: Path, make_once: Callable[..., Path]) -> Path:
    """The folder of a finished run of `tiny_config`; tests that change it copy it."""
    from edgenets.pipeline.config_file import load_config
    from edgenets.pipeline.run import run

    return make_once("run", lambda folder: run(load_config(tiny_config), folder / "tiny")) / "tiny"


SWEEP = """\
nets:
  - net: squeezenet
    base_expand: [8, 16, 512]
    expand_increment: 8
    resolution: 32
    output_stride: 8
recipes: [int8]
constraints: ["stored <= 300KB", "macs <= 100M"]
halving: {{factor: 2, rungs: 1}}
run:
  data: {{source: "{source}", flip: false}}
  train: {{weights: none, epochs: 2, batch_size: 60, augment: 0}}
  export: {{calibration_images: 20}}
"""


class Interrupted(Exception):
    """In place of a signal: nothing of edgenets catches it."""


@pytest.fixture(scope="session")
def sweep_file(image_folder: Path, make_once: Callable[..., Path]) -> Path:
    """The file of the sweep."""
    text = SWEEP.format(source=image_folder)
    return make_once("sweep-file", lambda f: (f / "sweep.yaml").write_text(text)) / "sweep.yaml"


@pytest.fixture(scope="session")
def tiny_sweep(sweep_file: Path, make_once: Callable[..., Path]) -> Path:
    """A finished sweep, of whose nets one is too large and one is stopped.

    It was interrupted between two rungs and amid the last run, and gone on with each time.
    """
    return (
        make_once("sweep", lambda folder: _fill_with_sweep(sweep_file, folder / "sweep")) / "sweep"
    )


def _fill_with_sweep(file: Path, folder: Path) -> None:
    import edgenets as en
    from edgenets.pipeline import run
    from edgenets.pipeline.sweep import work

    def dies(*arguments: object, **others: object) -> None:
        raise Interrupted

    for module, name in ((work, "finish_trial"), (run, "_account")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, dies)
            with pytest.raises(Interrupted):
                en.sweep(file, out=folder)
    en.sweep(file, out=folder)


@pytest.fixture
def nets_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let weights be read into one net for all tests that ask, where they are refused anyway."""
    from edgenets.models import folder
    from edgenets.models.weights import convolutions, keras_config

    for module in (convolutions, keras_config):
        monkeypatch.setattr(module, "create", _net)
    monkeypatch.setattr(
        folder, "build_model", lambda spec: _net(spec.name, spec.folded, **spec.arguments)
    )


@functools.cache
def _net(name: str, folded: bool = False, **arguments: object):
    from edgenets.models.fold import fold_batch_norm
    from edgenets.models.registry import create

    net = create(name, **arguments)
    return fold_batch_norm(net) if folded else net


@pytest.fixture(scope="session")
def training_data():
    """Two classes of 8 x 8 images, bright above or below: 80 to learn from, 20 to choose by."""
    from edgenets.data.dataset import Split
    from edgenets.data.images import Preparation
    from edgenets.training.data import TrainingData

    random = np.random.default_rng(0)
    labels = np.arange(100) % 2
    pixels = random.integers(0, 100, (100, 8, 8, 3), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[4 * label : 4 * label + 4] += 120
    split = Split(tuple(pixels), labels.astype(np.int64))
    return TrainingData.from_split(
        split, Preparation(8, 8), validation_fraction=0.2, flip=False, seed=0
    )


@pytest.fixture(scope="session")
def crop_data(training_data):
    """The same with photographs of twice the size, of which crops are learned from."""
    from dataclasses import replace

    from edgenets.data.dataset import Split
    from edgenets.data.images import Preparation

    pixels = training_data.images.take(range(len(training_data.images)))
    large = tuple(pixels.repeat(2, axis=1).repeat(2, axis=2))
    return replace(
        training_data, sources=Split(large, training_data.labels).load(Preparation(16, 16))
    )


@pytest.fixture(scope="session")
def build_net():
    """A function that builds a net small enough to train in a second, always the same."""
    from edgenets.models.backend import keras

    def build():
        keras.utils.set_random_seed(7)
        image = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False, name="conv")(image)
        x = keras.layers.BatchNormalization(name="bn")(x)
        x = keras.layers.ReLU(6.0, name="relu")(x)
        x = keras.layers.Conv2D(16, 1, use_bias=False, name="pointwise")(x)
        x = keras.layers.BatchNormalization(name="pointwise_bn")(x)
        x = keras.layers.ReLU(6.0, name="pointwise_relu")(x)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        x = keras.layers.Dropout(0.3, rng_type="stateful", name="dropout")(x)
        return keras.Model(image, keras.layers.Dense(2, name="logits")(x), name="tiny")

    return build


@pytest.fixture
def heeded_ctrl_c():
    """Let this process heed SIGINT, which a background job, as a test run may be, ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class FileServer(ThreadingHTTPServer):
    """Serves one content under every path, in ranges; can be told to misbehave.

    Notes which ranges were asked for.
    """

    daemon_threads = True
    content = b""
    etag: str | None = '"1"'
    has_ranges = True
    heeds_if_range = True
    tells_size = True
    status: int | None = None  # answer with this one instead
    location = ""  # redirect there
    cut_after: int | None = None  # close the connection after so many bytes of the body

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []

    def url(self, path: str = "weights.h5") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/release/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers["Range"]
        server.asked.append(asked)
        if server.status is not None:
            self.send_response(server.status)
            self.send_header("Location", server.location)
            self.end_headers()
            return
        start, total = 0, len(server.content)
        same = not server.heeds_if_range or self.headers["If-Range"] in (None, server.etag)
        if asked and server.has_ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= total > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if server.tells_size:
            self.send_header("Content-Length", str(total - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(server.content[start:][: server.cut_after])

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of 1,000,000 bytes; no proxy stands between."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer() as server:
        server.content = bytes(range(250)) * 4000
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def https_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], tuple[str, Path]]]:
    """A function that serves a folder over HTTPS; it returns the address and the certificate, which
    nobody signed but itself."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ExitStack() as running:

        def serve(folder: Path) -> tuple[str, Path]:
            certificate, private = tmp_path / "certificate.pem", tmp_path / "private.pem"
            write_certificate(certificate, private)
            handler = functools.partial(Handler, directory=str(folder))
            server = running.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, private)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            running.callback(server.shutdown)
            return f"https://127.0.0.1:{server.server_address[1]}", certificate

        yield serve


KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


def write_certificate(certificate: Path, private: Path) -> None:
    """Write a certificate for 127.0.0.1 that is signed by itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(KEY_USAGES, False) | {"digital_signature": True, "key_cert_sign": True}
    for extension in (  # all that Python asks for from 3.13 on
        address,
        x509.BasicConstraints(ca=True, path_length=0),
        x509.KeyUsage(**usage),
        own,
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own),
    ):
        builder = builder.add_extension(extension, isinstance(extension, x509.BasicConstraints))
    signed = builder.sign(key, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="session")
def colour_file(tmp_path_factory, colour_net) -> Path:
    """An int8 classifier by the brightest colour."""
    path = tmp_path_factory.mktemp("colours") / 'it\'s a "net".tflite'
    path.write_bytes(colour_net(8))
    return path


@pytest.fixture(scope="session")
def colour_net() -> Callable[[int], bytes]:
    """A function from a resolution to the content of such a file."""
    return build_colour_net


def build_colour_net(resolution: int) -> bytes:
    """Return the file of a net that takes the mean over height and width."""

    def tensor(name, shape, kind, buffer):
        t = schema.TensorT()
        t.name, t.shape, t.type, t.buffer = name, shape, kind, buffer
        if kind == schema.TensorType.INT8:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale, t.quantization.zeroPoint = [2 / 255], [-1]
        return t

    mean = schema.OperatorT()
    mean.opcodeIndex, mean.inputs, mean.outputs = 0, [0, 1], [2]
    mean.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
    mean.builtinOptions = schema.ReducerOptionsT()
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("image", [1, resolution, resolution, 3], schema.TensorType.INT8, 0),
        tensor("axes", [2], schema.TensorType.INT32, 1),
        tensor("scores", [1, 3], schema.TensorType.INT8, 0),
    ]
    graph.operators, graph.inputs, graph.outputs = [mean], [0], [2]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MEAN
    code.version = 2
    nothing, axes = schema.BufferT(), schema.BufferT()
    axes.data = np.frombuffer(np.int32([1, 2]).tobytes(), np.uint8)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, model.metadata = [nothing, axes], []

    preparation = {"resolution": resolution, "resize": resolution}
    preparation |= {"interpolation": "bilinear", "crop": "center"}
    about = json.dumps({"preparation": preparation}).encode()
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    content = flatbuffer.rewrite(bytes(builder.Output()), flatbuffer.set_metadata, {ENTRY: about})
    return with_labels(content, COLOURS)
