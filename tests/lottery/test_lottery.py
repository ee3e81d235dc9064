"""Tickets, controls, and rounds that are not drawn twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesparse import lottery, patterns
from edgesparse.errors import RecipeError, UsageError
from edgesparse.lottery import Lottery, make_recipe
from edgesparse.lottery.results import ARMS
from edgesparse.prune import load_data, load_model, read_report
from edgesparse.prune.layers import kernel, weighted_layers
from edgesparse.recipe import Quantize

# Networks are trained or converted here, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(900)

DIGITS = "edgesparse.examples.digits:lenet"


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_data("digits")


@pytest.fixture(scope="module")
def drawn(digits: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lottery, Path]:
    out = tmp_path_factory.mktemp("lottery") / "out"
    return lottery(DIGITS, digits, out, rounds=2, seeds=3), out


def test_the_ticket_beats_both_controls_in_every_seed(drawn: tuple[Lottery, Path]) -> None:
    found, _ = drawn
    last = found.levels[-1]
    assert last.sparsity == pytest.approx(0.8)
    assert last.wins == 3
    assert last.accuracy["ticket"][0] > 0.85
    assert all(last.accuracy["ticket"][0] > last.accuracy[arm][0] + 0.02 for arm in ARMS[1:])
    assert "in 3 of 3 seeds" in found.verdict
    assert [round(level.sparsity, 3) for level in found.levels] == [0, 0.553, 0.8]
    assert len(found.rows) == 3 * (1 + 2 * 3)


def test_table_figure_and_a_ticket_that_can_be_converted(drawn: tuple[Lottery, Path]) -> None:
    found, out = drawn
    assert sorted(each.name for each in out.parent.iterdir()) == ["out"]
    assert json.loads((out / "lottery.json").read_bytes())["seeds"] == 3
    assert (out / "lottery.svg").read_text().startswith("<svg")
    report, model = read_report(out / "ticket"), load_model(out / "ticket")
    best = max(row.accuracy for row in found.rows if row.round == 2 and row.arm == "ticket")
    assert report.accuracy_after == best
    for name, layer, _ in weighted_layers(model):
        zeros = 1 - patterns.density(kernel(layer))
        assert zeros == pytest.approx(0.8, abs=0.01), name


def test_the_same_again_is_read(drawn: tuple[Lottery, Path], digits: Any) -> None:
    found, out = drawn
    said: list[str] = []
    assert lottery(DIGITS, digits, out, rounds=2, seeds=3, progress=said.append) == found
    assert said == []


def test_rounds_go_on_after_an_interruption_to_the_same_result(
    drawn: tuple[Lottery, Path], digits: Any, tmp_path: Path
) -> None:
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lottery(DIGITS, digits, tmp_path / "out", rounds=2, seeds=1, progress=stop)
    again: list[str] = []
    found = lottery(DIGITS, digits, tmp_path / "out", rounds=2, seeds=1, progress=again.append)
    # The round that was told of when it stopped had not been kept yet.
    assert again == said[-1:]
    assert found.rows == [row for row in drawn[0].rows if row.seed == 0]


def test_late_rewinding_starts_from_a_later_epoch(digits: Any, tmp_path: Path) -> None:
    said: list[str] = []
    found = lottery(DIGITS, digits, tmp_path / "out", rounds=1, seeds=1, rewind_epoch=2, progress=said.append)
    assert "weights after epoch 2" in found.verdict
    # The one epoch that is left would not train new weights far.
    assert found.levels[-1].accuracy["ticket"][0] > found.levels[-1].accuracy["new weights"][0] + 0.1


def test_masked_weights_stay_zero_and_the_rest_is_rewound(digits: Any, tmp_path: Path) -> None:
    from edgesparse.lottery.drawing import Drawing

    drawing = Drawing(load_model(DIGITS), digits, make_recipe(epochs=1), 1, 0, tmp_path / "out", lambda text: None)
    drawing.draw(0)
    dense, ticket = drawing._kept(0, 0), drawing._kept(0, 1)
    assert dense is not None
    assert ticket is not None
    mask = patterns.to_keras(ticket["mask hidden1"])
    start = drawing._masked([dense[f"rewound-{number}"] for number in range(6)], drawing._masks(ticket))
    assert np.array_equal(start.get_layer("hidden1").kernel.numpy(), dense["rewound-0"] * mask)
    assert not ticket["weights-0"][~mask].any()
    assert (ticket["weights-0"][mask] != dense["rewound-0"][mask]).mean() > 0.5
    expected = patterns.mask(patterns.from_keras(dense["weights-0"]), patterns.Unstructured(), 0.8)
    assert np.array_equal(ticket["mask hidden1"], expected)


def test_a_network_whose_loss_takes_other_labels_than_the_data_has(digits: Any, tmp_path: Path) -> None:
    model = load_model(DIGITS)
    model.compile("sgd", "categorical_crossentropy")
    assert digits.y_train.ndim == 1
    found = lottery(model, digits, tmp_path / "out", recipe=make_recipe(epochs=1), rounds=1, seeds=1)
    assert found.levels[0].accuracy["ticket"][0] > 0.5


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"rounds": 0}, UsageError, "Expected rounds from 1"),
        ({"seeds": 0}, UsageError, "Expected seeds from 1"),
        ({"rewind_epoch": 3}, UsageError, "Expected rewind_epoch from 0 to 2, found 3"),
        ({"recipe": make_recipe(exclude=(".*",))}, RecipeError, "prunes no layer"),
    ],
)
def test_what_is_refused(how: dict[str, Any], error: type[Exception], says: str, digits: Any, tmp_path: Path) -> None:
    with pytest.raises(error, match=says):
        lottery(DIGITS, digits, tmp_path / "out", **how)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_is_not_for_this_is_refused(digits: Any, tmp_path: Path) -> None:
    import msgspec

    for change in ({"quantize": Quantize(kind="int8")}, {"scope": "global"}, {"layers": {"a": 0.5}}):
        with pytest.raises(RecipeError, match="a lottery needs one share"):
            lottery(DIGITS, digits, tmp_path / "out", recipe=msgspec.structs.replace(make_recipe(), **change))
