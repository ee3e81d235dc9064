from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesparse.errors import EXIT_INPUT_REFUSED, RecipeError
from edgesparse.patterns import parse_pattern
from edgesparse.recipe import FineTune, Quantize, Recipe, Schedule, dumps, load_recipe, loads, named_recipes

GOOD = """
version = 1
name = "mine"
[prune]
pattern = "block 4x1"
sparsity = 0.8
exclude = ["head.*"]
"""

INT8 = GOOD.replace("version = 1", "version = 2") + "[quantize]\nkind = 'int8'\n"


@pytest.mark.parametrize("name", named_recipes())
def test_the_recipes_that_ship_are_valid_and_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert loads(dumps(recipe)) == recipe
    parse_pattern(recipe.pattern)


def test_the_three_of_the_demo_are_there() -> None:
    assert {"unstructured-80", "block-4x1-80", "block-16x1-80", "two-four", "filter-50"} <= set(named_recipes())


def test_a_file_is_read_and_saved_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    recipe = load_recipe(path)
    path.write_text(dumps(recipe))
    assert load_recipe(str(path)) == recipe
    assert load_recipe(path).digest() == recipe.digest()


@given(
    st.builds(
        Recipe,
        name=st.from_regex(r"[a-c][a-z0-9._-]{0,9}", fullmatch=True),
        pattern=st.sampled_from(["unstructured", "filter", "block 16x1", "block 2x4"]),
        sparsity=st.floats(0.5, 0.99),
        description=st.text(),
        include=st.lists(st.text().map(re.escape), min_size=1).map(tuple),
        exclude=st.lists(st.text().map(re.escape)).map(tuple),
        first_layer=st.booleans(),
        schedule=st.builds(Schedule, begin=st.floats(0, 0.5), end=st.floats(0.5, 1), updates=st.integers(1, 99)),
        fine_tune=st.builds(FineTune, epochs=st.integers(1, 99), learning_rate=st.floats(1e-9, 1)),
        quantize=st.builds(Quantize, kind=st.sampled_from(["none", "int8", "dynamic"]), samples=st.integers(1, 99)),
    )
)
def test_a_saved_recipe_reads_as_an_equal_one(recipe: Recipe) -> None:
    again = loads(dumps(recipe))
    assert again == recipe
    assert again.digest() == recipe.digest()


def test_a_quantising_recipe_reads_as_an_equal_one() -> None:
    recipe = loads(INT8 + "method = 'aware'\nepochs = 7")
    assert recipe.quantize == Quantize(kind="int8", method="aware", epochs=7)
    assert recipe.quantize.aware
    assert loads(dumps(recipe)) == recipe
    assert recipe.digest() != loads(INT8).digest()


def test_without_a_pattern_the_board_gives_the_block_for_the_kind_of_weights() -> None:
    left = INT8.replace('pattern = "block 4x1"', "")
    assert loads(left).pattern == "block"
    assert loads(left).for_block("8x1", "8x4").pattern == "block 8x4"
    assert loads(left.replace("'int8'", "'none'")).for_block("8x1", "8x4").pattern == "block 8x1"
    assert loads(left.replace("'int8'", "'dynamic'")).for_block("8x1", "8x4").pattern == "block 8x1"
    assert loads(INT8).for_block("8x1", "8x4") == loads(INT8)
    assert loads(dumps(loads(left).for_block("8x1", "8x4"))).pattern == "block 8x4"


def test_layers_are_selected_by_whole_names() -> None:
    recipe = Recipe(name="a", pattern="unstructured", sparsity=0.5, include=("conv.*",), exclude=("conv_1",))
    assert recipe.unselected("conv_2") is None
    assert recipe.unselected("conv_12") is None
    assert "conv_1" in (recipe.unselected("conv_1") or "")
    assert "include" in (recipe.unselected("my_conv") or "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "sparsety = 0.5", "unknown field `sparsety`.*Keys of .prune.: pattern, sparsity"),
        (GOOD + "[scedule]", "unknown field `scedule`.*top level: version, name"),
        (GOOD + "[schedule]\nkind = 'linear'", "linear.*Keys of .schedule."),
        (GOOD.replace("version = 1", "version = 4"), "expected version = 3, found 4"),
        (GOOD.replace("version = 1", "version = true"), "found True"),
        (GOOD.replace("version = 1", ""), "found None"),
        (GOOD.replace("block 4x1", "block 0x4"), "empty block"),
        (GOOD.replace("block 4x1", "diagonal"), "no pattern 'diagonal'.*unstructured"),
        (GOOD.replace("0.8", "1.0"), "prune.sparsity: expected above 0 and below 1, found 1.0"),
        (GOOD.replace("0.8", "'much'"), "Expected `float"),
        (GOOD.replace("sparsity = 0.8", ""), "needs one"),
        (GOOD.replace("head.*", "head["), "no regular expression"),
        (GOOD.replace("mine", "../mine"), "letters, digits"),
        (GOOD.replace("mine", "dense"), "unpruned"),
        (GOOD.replace("= 0.8", "= "), "no TOML.*line 6"),
        (GOOD + "[schedule]\nbegin = 0.9", "schedule.end"),
        (GOOD + "[schedule]\ninitial_sparsity = 0.9", "at most the lowest share of zeros, 0.8"),
        (GOOD + "[fine_tune]\nepochs = 0", "fine_tune.epochs"),
        (GOOD + "[fine_tune]\nlearning_rate = nan", "fine_tune.learning_rate"),
        (GOOD + "[fine_tune]\noptimizer = 'lion'", "lion"),
        (GOOD + "[quantize]\nkind = 'int8'", "quantize. needs version = 2, found 1"),
        (INT8.replace("'int8'", "'int4'"), "int4.*Keys of .quantize.: kind, method"),
        (INT8 + "bits = 4", "unknown field `bits`.*Keys of .quantize."),
        (INT8 + "samples = 0", "quantize.samples: expected at least 1"),
        (INT8 + "epochs = 0", "quantize.epochs"),
        (INT8 + "learning_rate = 0", "quantize.learning_rate: expected above 0"),
        (INT8.replace("'int8'", "'dynamic'") + "method = 'aware'", "aware training is for kind int8, found .*dynamic"),
        (GOOD.replace("block 4x1", "2:4"), "has the sparsity 0.5, found 0.8"),
        (GOOD.replace("block 4x1", "2:4").replace("sparsity = 0.8", ""), "one sparsity"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str) -> None:
    with pytest.raises(RecipeError, match=f"(?s){says}") as caught:
        loads(text, "mine.toml")
    assert str(caught.value).startswith("mine.toml")
    assert caught.value.exit_code == EXIT_INPUT_REFUSED
    assert caught.value.hint


def test_a_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'unstructured-81'.*unstructured-80"):
        load_recipe("unstructured-81")
    with pytest.raises(RecipeError, match="does not exist"):
        load_recipe("no/such/recipe.toml")


def test_a_recipe_made_in_python_is_held_to_the_same_rules() -> None:
    with pytest.raises(RecipeError, match="one sparsity"):
        Recipe(name="a", pattern="2:4")
    with pytest.raises(RecipeError, match=r"schedule.kind: there is no 'linear'.*polynomial, constant"):
        Recipe(name="a", pattern="filter", sparsity=0.5, schedule=Schedule(kind="linear"))  # type: ignore[arg-type]
    assert Recipe(name="a", pattern="2:4", schedule=Schedule(kind="constant")).sparsity is None


LAYERS = """
version = 3
name = "mine"
[prune]
pattern = "block 4x1"
[prune.layers]
"point[12]" = 0.5
"point.*" = 0.9
head = 0
"""


def test_layers_have_shares_of_their_own_and_the_first_that_matches_decides() -> None:
    recipe = loads(LAYERS)
    assert [recipe.sparsity_of(name) for name in ("point1", "point3", "head", "other")] == [0.5, 0.9, 0, None]
    assert recipe.unselected("point3") is None
    assert "is 0" in (recipe.unselected("head") or "")
    assert "does not name it" in (recipe.unselected("other") or "")
    assert loads(dumps(recipe)) == recipe
    assert list(loads(dumps(recipe)).layers) == ["point[12]", "point.*", "head"]
    assert loads(LAYERS.replace("[prune.layers]", "sparsity = 0.8\n[prune.layers]")).sparsity_of("other") == 0.8
    assert recipe.digest() != loads(LAYERS.replace("0.9", "0.8")).digest()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("0.9", "1.0"), "prune.layers.'point.*': expected at least 0 and below 1, found 1.0"),
        (("0.9", "-0.1"), "'point.*': expected at least 0"),
        (("0.9", "true"), "got `bool`"),
        (("0.9", "nan"), "'point.*': expected at least 0"),
        (('"point.*"', '"point("'), "no regular expression"),
        (("[prune.layers]", "[prune.layer]"), "layer"),
        (("[prune.layers]", "scope = 'global'\n[prune.layers]"), "needs one"),
        (
            ("head = 0", "head = 0\n[schedule]\ninitial_sparsity = 0.6"),
            "expected at most the lowest share of zeros, 0.5",
        ),
    ],
)
def test_shares_of_layers_that_cannot_be(change: tuple[str, str], says: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(says)):
        loads(LAYERS.replace(*change))


def test_an_expression_of_layers_that_matches_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'point\.\*' matches no layer") as error:
        Recipe(name="mine", pattern="block 4x1", layers={"head": 0.5, "point.*": 0.9}).check_layers(["head", "Point1"])
    assert "head" in error.value.hint
