"""The digits, and data of a user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgesparse.errors import InputRefused, UsageError
from edgesparse.prune import Data, load_data
from edgesparse.prune.data import as_data, class_numbers

X, Y = np.zeros((6, 4), np.float32), np.arange(6) % 2


def test_digits_are_real_fixed_and_stratified() -> None:
    digits, again = load_data("digits"), load_data("digits")
    assert digits.x_train.shape == (1347, 32, 32, 3)
    assert digits.x_test.shape == (450, 32, 32, 3)
    assert digits.x_train.dtype == np.float32
    assert (digits.x_train.min(), digits.x_train.max()) == (0, 1)
    assert np.bincount(digits.y_test).min() >= 43  # of 450 / 10
    assert digits.digest() == again.digest()
    seen = {image.tobytes() for image in digits.x_train}
    assert not any(image.tobytes() in seen for image in digits.x_test)


def test_pairs_dict_and_data_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data.py").write_text(
        "import numpy as np\n"
        "x, y = np.zeros((6, 4), np.float32), np.arange(6) % 2\n"
        "def pairs():\n    return (x, y), (x[:2], y[:2])\n"
        "def names():\n    return dict(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    wanted = Data(X, Y, X[:2], Y[:2]).digest()
    assert load_data("own_data:pairs").digest() == wanted
    assert load_data("own_data:names").digest() == wanted
    assert as_data(Data(X, Y, X[:2], Y[:2]), "here").digest() == wanted
    with pytest.raises(UsageError, match="no function 'pears'"):
        load_data("own_data:pears")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "it returned NoneType"),
        ((X, Y), "it returned tuple"),
        ({"x_train": X, "y_train": Y}, "lacks x_test, y_test"),
        (((X, Y[:5]), (X, Y)), "found 6 and 5"),
        (((X, Y), (X[:0], Y[:0])), "found 0 and 0"),
        (((X.astype(str), Y), (X, Y)), "array of numbers"),
        (((X, Y), (X + np.inf, Y)), "x_test of here, found NaN or infinity"),
    ],
)
def test_what_is_no_data(found: object, message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        as_data(found, "here")


def test_unknown_name() -> None:
    with pytest.raises(InputRefused, match="found 'mnist'"):
        load_data("mnist")


def test_class_numbers() -> None:
    for labels in (np.array([2, 0, 1]), np.array([[2], [0], [1]]), np.eye(3)[[2, 0, 1]]):
        assert class_numbers(labels).tolist() == [2, 0, 1]
