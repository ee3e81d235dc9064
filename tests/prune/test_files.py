"""Data in files: archives of numpy's, JPEG images, CIFAR-10 as it is published."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse.errors import InputRefused
from edgesparse.prune import Data, cifar10, load_data

N = 12
X = np.random.default_rng(0).random((N, 8, 8, 3), np.float32)
Y = np.arange(N) % 4
ARRAYS: dict[str, Any] = {"x_train": X, "y_train": Y, "x_test": X[:4], "y_test": Y[:4]}
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return f"npz:{path}"


@pytest.fixture(scope="module")
def jpeg() -> dict[str, Any]:
    from edgesparse.prune.legacy_keras import tf

    found: dict[str, Any] = {}
    for half, count in (("train", 5), ("test", 2)):
        coded = [tf.io.encode_jpeg(np.full((8, 8, 3), 40 * each, np.uint8)).numpy() for each in range(count)]
        found[f"{half}_jpeg"] = np.frombuffer(b"".join(coded), np.uint8)
        found[f"{half}_offset"] = np.cumsum([0, *map(len, coded)])
        found[f"{half}_label"] = np.arange(count, dtype=np.uint8)
    return found


def test_arrays_by_name(tmp_path: Path) -> None:
    assert load_data(npz(tmp_path / "a.npz", more=X, **ARRAYS)).digest() == Data(**ARRAYS).digest()


@pytest.mark.parametrize("end", [True, False])
def test_jpeg_images(end: bool, jpeg: dict[str, Any], tmp_path: Path) -> None:
    arrays = jpeg if end else {**jpeg, "train_offset": jpeg["train_offset"][:-1]}
    data = load_data(npz(tmp_path / "a.npz", **arrays))
    assert data.x_train.shape == (5, 8, 8, 3)
    assert data.x_train.dtype == np.float32
    assert np.abs(data.x_train - 40 * np.arange(5).reshape(5, 1, 1, 1)).max() < 4
    assert data.y_train.tolist() == [0, 1, 2, 3, 4]
    assert data.x_test.shape == (2, 8, 8, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"y_train": np.array([{}] * N, object)}, "y_train in .* cannot be read: Object arrays"),
        ({"x_train": np.where(X > 0.99, np.nan, X)}, "finite numbers in x_train"),
        ({"y_test": np.full((4, 4), np.nan)}, "finite numbers in y_test"),
        ({"y_train": Y[:-1]}, f"as many x_train as y_train.*found {N} and {N - 1}"),
        ({"x_test": np.array(["a"] * 4)}, "x_test .* array of numbers"),
        ({"x_test": None}, "holds x_train, y_test, y_train"),
    ],
)
def test_archives_that_are_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    arrays = {name: array for name, array in {**ARRAYS, **change}.items() if array is not None}
    with pytest.raises(InputRefused, match=says):
        load_data(npz(tmp_path / "a.npz", **arrays))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read as an .npz file"),
        (b"hello", "cannot be read as an .npz file"),
        (pickle.dumps(ARRAYS), "cannot be read as an .npz file"),
        ("cut", "cannot be read as an .npz file"),
        ("damaged", "x_train in .* cannot be read: Bad CRC"),
        ("array", "found one array"),
        (None, "found nothing at"),
    ],
)
def test_files_that_are_no_archives(content: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "array":
        with path.open("wb") as file:
            np.save(file, X)
    elif content is not None:
        np.savez(path, **ARRAYS)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == "cut" else whole[:900] + b"?" + whole[901:])
    with pytest.raises(InputRefused, match=says):
        load_data(f"npz:{path}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train_jpeg": lambda each: each.astype(np.float32)}, "train_jpeg .* row of bytes"),
        ({"train_offset": lambda each: each[:0]}, "train_offset .* rise"),
        ({"train_offset": lambda each: each[::-1]}, "train_offset .* rise"),
        ({"train_offset": lambda each: each * 100}, "train_offset .* rise"),
        ({"train_offset": lambda each: each * 0.5}, "train_offset .* rise"),
        ({"test_offset": lambda each: each // 2}, "Image 0 of test_jpeg in .* is no JPEG image: "),
        ({"test_label": lambda each: each[:-1]}, "as many x_test as y_test"),
    ],
)
def test_jpeg_images_that_are_refused(change: dict[str, Any], says: str, jpeg: dict[str, Any], tmp_path: Path) -> None:
    changed = {**jpeg, **{name: how(jpeg[name]) for name, how in change.items()}}
    with pytest.raises(InputRefused, match=says) as caught:
        load_data(npz(tmp_path / "a.npz", **changed))
    assert "node" not in caught.value.message


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def batch(number: int) -> dict[bytes, Any]:
    pixels = np.random.default_rng(number).integers(0, 256, (4, 3072), dtype=np.uint8)
    return {b"data": pixels, b"labels": [number, 1, 2, 3], b"batch_label": b"one of six", b"filenames": [b"a"] * 4}


PYTHON = {f"cifar-10-batches-py/{name}": pickle.dumps(batch(n), protocol=2) for n, name in enumerate(BATCHES)}
BINARY = {
    f"cifar-10-batches-bin/{name}.bin": np.column_stack(
        (np.array(batch(n)[b"labels"], np.uint8), batch(n)[b"data"])
    ).tobytes()
    for n, name in enumerate(BATCHES)
}


@pytest.mark.parametrize("files", [PYTHON, BINARY])
@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar10_as_it_is_published(
    files: dict[str, bytes], unpacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "a.tar.gz", files)
    if unpacked:
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "out", filter="data")
        path = tmp_path / "out"
    monkeypatch.setenv(cifar10.VARIABLE, str(path))
    data = load_data("cifar10")
    assert (data.x_train.shape, data.x_test.shape) == ((20, 32, 32, 3), (4, 32, 32, 3))
    assert data.x_train[5, 3, 7, 2] == batch(1)[b"data"][1, 2 * 1024 + 3 * 32 + 7]
    assert data.y_train.tolist() == [0, 1, 2, 3, 1, 1, 2, 3, 2, 1, 2, 3, 3, 1, 2, 3, 4, 1, 2, 3]
    assert data.y_test.tolist() == [5, 1, 2, 3]


def test_cifar10_that_keras_fetched_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cifar10.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras" / "datasets").mkdir(parents=True)
    archive(tmp_path / ".keras" / "datasets" / "cifar-10-batches-py.tar.gz", PYTHON)
    assert len(load_data("cifar10").x_train) == 20


def test_cifar10_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgesparse.prune.legacy_keras import keras

    def fetch(*args: Any, **options: Any) -> None:
        print("Downloading data")
        raise Exception("URL fetch failure")

    monkeypatch.delenv(cifar10.VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", fetch)
    with pytest.raises(InputRefused, match=r"is not in .*datasets, and could not be fetched: URL") as caught:
        load_data("cifar10")
    assert "EDGESPARSE_CIFAR10=FILE" in caught.value.hint
    assert capsys.readouterr().out == ""


class Malicious:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({name: pickle.dumps(Malicious()) for name in PYTHON}, "mkdir, which is no array"),
        (dict(list(PYTHON.items())[:3]), "lacks data_batch_4, data_batch_5, test_batch"),
        ({**BINARY, "cifar-10-batches-bin/test_batch.bin": b"short"}, "cannot be read as CIFAR-10"),
        ({**PYTHON, "cifar-10-batches-py/test_batch": pickle.dumps({b"data": 1})}, "cannot be read as CIFAR-10"),
        ({**PYTHON, "cifar-10-batches-py/test_batch": pickle.dumps([1])}, "cannot be read as CIFAR-10"),
        (b"no archive", "cannot be read as CIFAR-10"),
        (None, "where nothing is"),
    ],
)
def test_cifar10_that_is_refused(files: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar.gz"
    if isinstance(files, bytes):
        path.write_bytes(files)
    elif files is not None:
        archive(path, files)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cifar10.VARIABLE, str(path))
    with pytest.raises(InputRefused, match=says):
        load_data("cifar10")
    assert not Path("made-by-a-pickle").exists()
