"""Names of networks and variants, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesparse.errors import RecipeError, UsageError
from edgesparse.networks import Network, Spec, Zeros, make_zeros, names, parse_network, parse_variant
from edgesparse.networks.specs import is_dense
from edgesparse.patterns import NM, Block, Unstructured


@pytest.mark.parametrize("name", [*names(), "mobilenetv2-96", "mlp-512", "mobilenetv1-64-conforming"])
def test_network_names_go_there_and_back(name: str) -> None:
    assert str(parse_network(name)) == name


def test_a_network_name_says_family_size_and_form() -> None:
    assert parse_network("mobilenetv1-96-conforming") == Network("mobilenetv1", 96, conforming=True)


@pytest.mark.parametrize(
    "name", ["mobilenetv2", "mobilenetv9-224", "resnet50-224-conforming", "mlp-", "MLP-64", "mlp-64 "]
)
def test_unknown_networks_are_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(UsageError, match="There is no network") as raised:
        parse_network(name)
    assert "mobilenetv2-224" in raised.value.hint


@pytest.mark.parametrize("name", ["mobilenetv2-16", "mlp-0"])
def test_sizes_that_leave_nothing_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="Expected a size of at least"):
        parse_network(name)


@pytest.mark.parametrize(
    ("text", "zeros"),
    [
        ("dense", Zeros()),
        ("unstructured-80", Zeros(Unstructured(), 0.8)),
        ("unstructured-87.5", Zeros(Unstructured(), 0.875)),
        ("block-16x1-90", Zeros(Block(16, 1), 0.9)),
        ("2-of-4", Zeros(NM(2, 4))),
    ],
)
def test_variants(text: str, zeros: Zeros) -> None:
    assert parse_variant(text) == zeros
    assert str(zeros) == text


@given(st.sampled_from(["unstructured", "block 16x1", "block 2x4"]), st.integers(0, 999))
def test_every_variant_goes_there_and_back(pattern: str, permille: int) -> None:
    zeros = make_zeros(pattern, permille / 1000)
    again = parse_variant(str(zeros))
    assert again.pattern == zeros.pattern
    assert again.sparsity == pytest.approx(zeros.sparsity)


@pytest.mark.parametrize(
    "text", ["", "sparse", "unstructured", "unstructured-", "block-16-80", "2:4", "unstructured-100"]
)
def test_unknown_variants_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_variant(text)


def test_patterns_of_a_command_line() -> None:
    assert make_zeros("block-8x1", 0.5) == make_zeros("block 8x1", 0.5) == Zeros(Block(8, 1), 0.5)
    assert make_zeros("2:4", None) == Zeros(NM(2, 4))
    with pytest.raises(RecipeError):
        make_zeros("3y3", 0.5)
    with pytest.raises(UsageError, match="found none"):
        make_zeros("unstructured", None)
    with pytest.raises(UsageError, match="sets its own"):
        make_zeros("2:4", 0.5)


def test_is_dense() -> None:
    assert is_dense(Zeros())
    assert is_dense(Zeros(Unstructured(), 0.0))
    assert not is_dense(Zeros(NM(2, 4)))
    assert not is_dense(Zeros(Block(4, 1), 0.1))


def test_a_spec_names_all_that_decides_its_weights() -> None:
    spec = Spec(parse_network("mlp-64"), parse_variant("2-of-4"))
    assert str(spec) == "mlp-64.2-of-4"
    assert str(Spec(spec.network, spec.zeros, seed=3, weights="float16")) == "mlp-64.2-of-4.float16.seed-3"
