"""The recipe: what to prune and how, one TOML file with a version. Unknown keys are errors.

version = 3
name = "block-16x1-80"

[prune]
pattern = "block 16x1"     # unstructured, block RxC (outputs x inputs), N:M (non-zeros in M), filter; left out, or
                           # "block": the block that fits the board which `prune` is told of, and its kind of weights
sparsity = 0.8             # share of zeros; not for N:M, which has its own; left out beside layers: only those
scope = "layer"            # the share in every layer; global: over all pruned layers, by one threshold of magnitude
include = [".*"]           # regular expressions that match whole layer names
exclude = []
first_layer = false        # the first weighted layer is small and sensitive, so it is left unless asked for
permute = false            # N:4 only: reorder channels inside the model so that more magnitude is kept
layers = {"head.*" = 0.5}  # another share for layers whose name matches, the first expression that does; 0: left dense

[schedule]
kind = "polynomial"        # from initial_sparsity to sparsity; constant: sparsity at once
begin = 0.0                # shares of the fine-tuning steps
end = 0.6
initial_sparsity = 0.0
power = 3
updates = 30               # how often masks are chosen anew between begin and end

[fine_tune]
epochs = 4
batch_size = 32
optimizer = "adam"         # adam, adamw, sgd, rmsprop
learning_rate = 0.001      # falls to zero along a cosine
seed = 0
early_stop = 0             # stop when that many epochs gave no lower loss, once the schedule has ended; 0: never
validation = 0.1           # share of the training half that this is judged on, and that is then not trained on

[quantize]                 # after pruning; zeros stay zeros
kind = "int8"              # none; int8: weights (symmetric, a scale for each output), activations, inputs and outputs;
                           # dynamic: int8 weights, float activations, quantised anew at each inference
method = "post-training"   # int8 only: ranges of the activations from samples; aware: from training with rounding
samples = 128              # of the training half, that ranges are taken from
epochs = 2                 # aware: of training with rounded weights and activations
learning_rate = 0.0001     # aware: falls to zero along a cosine
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import tomli_w

from edgesparse.errors import RecipeError
from edgesparse.patterns import NM, Pattern, parse_pattern
from edgesparse.permutation import GROUP

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# History of the recipe. A change that an older reader would misread raises the number.
#   1  first.
#   2  [quantize]; a pattern may be left to the board. Recipes of version 1 are read.
#   3  prune.scope, prune.layers, prune.permute, fine_tune.early_stop and validation. Recipes of versions 1 and 2 are
#      read.
VERSION = 3

Kind = Literal["polynomial", "constant"]
Scope = Literal["layer", "global"]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Precision = Literal["none", "int8", "dynamic"]
Method = Literal["post-training", "aware"]

# A pattern that says nothing of its size: `for_board` gives the board's.
BLOCK = "block"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sparsity grows over the fine-tuning steps; `begin` and `end` are shares of them. After Zhu and Gupta,
    2017."""

    kind: Kind = "polynomial"
    begin: float = 0.0
    end: float = 0.6
    initial_sparsity: float = 0.0
    power: float = 3.0
    updates: int = 30


class FineTune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training while and after the masks are chosen; the learning rate falls to zero along a cosine."""

    epochs: int = 4
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    seed: int = 0
    early_stop: int = 0
    validation: float = 0.1


class Quantize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of the pruned float weights: `samples` are for post-training ranges, `epochs` and `learning_rate`
    for quantisation-aware training. After Jacob et al., 2018."""

    kind: Precision = "none"
    method: Method = "post-training"
    samples: int = 128
    epochs: int = 2
    learning_rate: float = 1e-4

    @property
    def aware(self) -> bool:
        return self.kind == "int8" and self.method == "aware"


class _Prune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pattern: str = BLOCK
    sparsity: float | None = None
    scope: Scope = "layer"
    include: tuple[str, ...] = (".*",)
    exclude: tuple[str, ...] = ()
    first_layer: bool = False
    permute: bool = False
    layers: dict[str, float] = {}


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    name: str
    prune: _Prune
    description: str = ""
    schedule: Schedule = Schedule()
    fine_tune: FineTune = FineTune()
    quantize: Quantize = Quantize()


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to prune and how; the module's text shows every key.

    Raises:
        RecipeError: on construction too, for an impossible pattern or a value out of range.
    """

    name: str
    pattern: str = BLOCK
    sparsity: float | None = None
    description: str = ""
    version: int = VERSION
    scope: Scope = "layer"
    include: tuple[str, ...] = (".*",)
    exclude: tuple[str, ...] = ()
    first_layer: bool = False
    permute: bool = False
    layers: dict[str, float] = {}
    schedule: Schedule = Schedule()
    fine_tune: FineTune = FineTune()
    quantize: Quantize = Quantize()

    def __post_init__(self) -> None:
        _check(self)

    def unselected(self, layer: str) -> str | None:
        """Why a layer of this name is not selected; None when it is."""
        if not any(re.fullmatch(expression, layer) for expression in self.include):
            return "no expression of include matches its name"
        excluding = next((expression for expression in self.exclude if re.fullmatch(expression, layer)), None)
        if excluding:
            return f"excluded by {excluding!r}"
        if self.layers and not self.sparsity_of(layer):
            named = self.sparsity_of(layer) is not None
            return "its share of zeros in layers is 0" if named else "layers does not name it, and there is no sparsity"
        return None

    def sparsity_of(self, layer: str) -> float | None:
        """The share of zeros of a layer of this name; None for N:M, and where neither layers nor sparsity has any."""
        own = (share for expression, share in self.layers.items() if re.fullmatch(expression, layer))
        return next(own, self.sparsity)

    def check_layers(self, names: Sequence[str]) -> None:
        """Make sure that every expression of `layers` is of one of these layers: a misspelt one would do nothing.

        Raises:
            RecipeError: one is of none.
        """
        for expression in self.layers:
            if not any(re.fullmatch(expression, name) for name in names):
                raise RecipeError(
                    f"prune.layers: {expression!r} matches no layer of the model.",
                    hint=f"Its layers with weights are {', '.join(names) or 'none'}.",
                )

    def for_block(self, block: str, block_int8: str) -> Recipe:
        """The recipe with a pattern of its own: where it has none, the block given for its kind of weights.

        Args:
            block: for float weights, such as "8x1".
            block_int8: for int8 weights, such as "8x4".
        """
        if self.pattern != BLOCK:
            return self
        size = block_int8 if self.quantize.kind == "int8" else block
        return msgspec.structs.replace(self, pattern=f"{BLOCK} {size}")

    def digest(self) -> str:
        """SHA-256 of everything in it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


def load_recipe(name_or_path: str | Path) -> Recipe:
    """A recipe by name, or from a file: anything that ends in .toml or has a directory in it.

    Raises:
        RecipeError: no such recipe, or one that is not valid; names the key.
    """
    text = str(name_or_path)
    named = named_recipes()
    path = named.get(text) or Path(text)
    if text not in named and path.suffix != ".toml" and len(path.parts) == 1 and not path.is_file():
        raise RecipeError(f"There is no recipe {text!r}.", hint=f"There are {', '.join(named)}; or give a .toml file.")
    try:
        return loads(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        hint = f"Named recipes are {', '.join(named)}."
        raise RecipeError(f"The recipe file {path} does not exist.", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe file {path} cannot be read: {error}.", hint="Give a TOML file.") from None


def named_recipes() -> dict[str, Path]:
    """The recipes that ship with edgesparse, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob("*.toml"))}


def loads(text: str, source: str = "recipe") -> Recipe:
    """A recipe from TOML text.

    Args:
        text: the TOML.
        source: what to call it in errors.

    Raises:
        RecipeError: no TOML, another version, unknown or missing keys, wrong types, values out of range.
    """
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source} is no TOML: {error}.", hint="Mend that line.") from None
    version = found.get("version")
    if version not in range(1, VERSION + 1) or isinstance(version, bool):
        raise RecipeError(
            f"{source}: expected version = {VERSION}, found {version!r}.",
            hint=f"Write version = {VERSION} at its top, or use the edgesparse that it was written for.",
        )
    if version == 1 and "quantize" in found:
        raise RecipeError(f"{source}: [quantize] needs version = 2, found 1.", hint="Write version = 2 at its top.")
    try:
        file = msgspec.convert(found, _File)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{source}: {error}.", hint=_keys_hint(str(error))) from None
    try:
        return Recipe(
            name=file.name, description=file.description, version=file.version, schedule=file.schedule,
            fine_tune=file.fine_tune, quantize=file.quantize, **msgspec.structs.asdict(file.prune),
        )  # fmt: skip
    except RecipeError as error:
        raise RecipeError(f"{source}: {error.message}", hint=error.hint) from None


def dumps(recipe: Recipe) -> str:
    """The recipe as TOML; `loads` gives an equal one."""
    prune = {name: getattr(recipe, name) for name in _Prune.__struct_fields__ if getattr(recipe, name) is not None}
    tuning = msgspec.structs.asdict(recipe.fine_tune)
    if recipe.version < 3:  # as it was, for readers of then
        prune = {name: value for name, value in prune.items() if name not in ("scope", "layers", "permute")}
        tuning = {name: value for name, value in tuning.items() if name not in ("early_stop", "validation")}
    tables = {
        "version": recipe.version,
        "name": recipe.name,
        "description": recipe.description,
        "prune": prune,
        "schedule": msgspec.structs.asdict(recipe.schedule),
        "fine_tune": tuning,
    }
    if recipe.quantize != Quantize():
        tables["quantize"] = msgspec.structs.asdict(recipe.quantize)
    return tomli_w.dumps(tables)


def _keys_hint(error: str) -> str:
    """The keys that exist in the table that an error of msgspec names (its path ends like `$.prune`)."""
    path = error.rpartition("`$")[2].strip("`. ")
    table = {"prune": _Prune, "schedule": Schedule, "fine_tune": FineTune, "quantize": Quantize}.get(
        path.split(".")[0], _File
    )
    where = f"[{path.split('.')[0]}]" if table is not _File else "the top level"
    return f"Keys of {where}: {', '.join(table.__struct_fields__)}."


def _check(recipe: Recipe) -> None:
    pattern = None if recipe.pattern == BLOCK else parse_pattern(recipe.pattern)
    if not _NAME.fullmatch(recipe.name):
        raise RecipeError(
            f"name: expected letters, digits, dots, dashes and underscores, found {recipe.name!r}.",
            hint="The name becomes a file's name.",
        )
    if recipe.name == "dense":
        raise RecipeError("name: 'dense' is what the unpruned model is called.", hint="Give the recipe another name.")
    if isinstance(pattern, NM):
        _check_nm(recipe, pattern)
    elif recipe.sparsity is None and (not recipe.layers or recipe.scope == "global"):
        raise RecipeError(
            f"prune.sparsity: pattern {recipe.pattern} needs one.", hint="Write sparsity = 0.8, for example."
        )
    elif recipe.sparsity is not None:
        _in_range("prune.sparsity", recipe.sparsity, 0, 1, above=True)
    for key in ("include", "exclude"):
        for expression in getattr(recipe, key):
            _check_expression(key, expression)
    _check_shares(recipe, pattern)
    _check_quantize(recipe)
    schedule, tuning = recipe.schedule, recipe.fine_tune
    if schedule.kind not in get_args(Kind):
        there = ", ".join(get_args(Kind))
        raise RecipeError(f"schedule.kind: there is no {schedule.kind!r}.", hint=f"There are {there}.")
    _in_range("schedule.begin", schedule.begin, 0, 1)
    _in_range("schedule.end", schedule.end, 0, 1, closed=True)
    if schedule.end < schedule.begin:
        hint = f"It ends at {schedule.end} and begins at {schedule.begin}."
        raise RecipeError("schedule.end: expected no less than schedule.begin.", hint=hint)
    _in_range("schedule.initial_sparsity", schedule.initial_sparsity, 0, 1)
    lowest = min((share for share in (recipe.sparsity, *recipe.layers.values()) if share), default=None)
    if lowest is not None and schedule.kind == "polynomial" and schedule.initial_sparsity > lowest:
        raise RecipeError(
            f"schedule.initial_sparsity: expected at most the lowest share of zeros, {lowest}, "
            f"found {schedule.initial_sparsity}.",
            hint="A polynomial schedule goes up.",
        )
    _in_range("schedule.power", schedule.power, 0, 100, above=True)
    _in_range("schedule.updates", schedule.updates, 1, 100_000)
    _in_range("fine_tune.epochs", tuning.epochs, 1, 100_000)
    _in_range("fine_tune.batch_size", tuning.batch_size, 1, 1_000_000)
    _in_range("fine_tune.learning_rate", tuning.learning_rate, 0, 10, above=True)
    _in_range("fine_tune.seed", tuning.seed, 0, 2**31)
    _in_range("fine_tune.early_stop", tuning.early_stop, 0, 100_000)
    _in_range("fine_tune.validation", tuning.validation, 0, 0.9, above=True)
    if tuning.optimizer not in get_args(Optimizer):
        there = ", ".join(get_args(Optimizer))
        raise RecipeError(f"fine_tune.optimizer: there is no {tuning.optimizer!r}.", hint=f"There are {there}.")


def _check_shares(recipe: Recipe, pattern: Pattern | None) -> None:
    newer = recipe.scope != "layer" or recipe.layers or recipe.permute or recipe.fine_tune.early_stop
    if newer and recipe.version < 3:
        raise RecipeError(
            f"prune.scope, layers and permute, and fine_tune.early_stop need version = 3, found {recipe.version}.",
            hint="Write version = 3.",
        )
    if recipe.permute and not (isinstance(pattern, NM) and pattern.m == GROUP):
        raise RecipeError(
            f"prune.permute: expected a pattern N:{GROUP}, found {recipe.pattern}.", hint="Leave permute out."
        )
    if recipe.scope not in get_args(Scope):
        raise RecipeError(
            f"prune.scope: there is no {recipe.scope!r}.", hint=f"There are {', '.join(get_args(Scope))}."
        )
    if (recipe.scope == "global" or recipe.layers) and isinstance(pattern, NM):
        key = "scope" if recipe.scope == "global" else "layers"
        raise RecipeError(
            f"prune.{key}: pattern {pattern} has the same share of zeros everywhere.", hint=f"Leave {key} out."
        )
    if recipe.scope == "global" and recipe.layers:
        raise RecipeError(
            'prune.layers: with scope = "global" one threshold decides for all layers.', hint="Leave one of them out."
        )
    for expression, share in recipe.layers.items():
        _check_expression("layers", expression)
        _in_range(f"prune.layers.{expression!r}", share, 0, 1)


def _check_expression(key: str, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        raise RecipeError(
            f"prune.{key}: {expression!r} is no regular expression: {error}.", hint="Escape it, or mend it."
        ) from None


def _check_quantize(recipe: Recipe) -> None:
    quantize = recipe.quantize
    if quantize != Quantize() and recipe.version == 1:
        raise RecipeError("quantize: needs version = 2, found 1.", hint="Write version = 2.")
    for key, value, known in (("kind", quantize.kind, Precision), ("method", quantize.method, Method)):
        if value not in get_args(known):
            there = ", ".join(get_args(known))
            raise RecipeError(f"quantize.{key}: there is no {value!r}.", hint=f"There are {there}.")
    if quantize.method == "aware" and quantize.kind != "int8":
        raise RecipeError(
            f"quantize.method: aware training is for kind int8, found kind {quantize.kind!r}.",
            hint='Write kind = "int8", or leave method out.',
        )
    _in_range("quantize.samples", quantize.samples, 1, 1_000_000)
    _in_range("quantize.epochs", quantize.epochs, 1, 100_000)
    _in_range("quantize.learning_rate", quantize.learning_rate, 0, 10, above=True)


def _check_nm(recipe: Recipe, pattern: NM) -> None:
    fixed = 1 - pattern.n / pattern.m
    if recipe.sparsity is not None and abs(recipe.sparsity - fixed) > 1e-9:
        raise RecipeError(
            f"prune.sparsity: pattern {pattern} has the sparsity {fixed:g}, found {recipe.sparsity}.",
            hint="Leave sparsity out.",
        )
    if recipe.schedule.kind != "constant" or recipe.schedule.begin:
        raise RecipeError(
            f"schedule: pattern {pattern} has one sparsity, so nothing can grow towards it.",
            hint='Write kind = "constant" and begin = 0.0.',
        )


def _in_range(key: str, value: float, low: float, high: float, *, above: bool = False, closed: bool = False) -> None:
    """`low` itself is allowed unless `above`; `high` itself only if `closed`."""
    if not (low < value or (value == low and not above)) or not (value < high or (value == high and closed)):
        first, last = "above" if above else "at least", "at most" if closed else "below"
        raise RecipeError(f"{key}: expected {first} {low} and {last} {high}, found {value}.", hint="Mend the value.")
