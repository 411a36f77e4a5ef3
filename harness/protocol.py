"""A protocol: everything a comparison holds fixed, as one TOML file."""

from __future__ import annotations

import difflib
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from harness.errors import HarnessError, did_you_mean, shown

Fraction = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]

IGNORED = 255
"""In the masks of a cohort on its grid: not annotated, neither trained on nor scored."""
BACKGROUND, IGNORE = "background", "ignore"
"""The names in `[labels]` that are no part of a structure."""
_COLOUR = 1 << 24  # a colour's label is this plus 0xRRGGBB; greys are their own level


def label_of(given: object) -> int:
    """Return a label as masks are read: a value as it is, a colour "#rrggbb" as a number above them.

    A grey colour is its level, so that "#ffffff" in one file and 255 in another are one label. Raises
    ValueError for what is neither.
    """
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 65_535:
        return given
    if isinstance(given, str) and re.fullmatch("#[0-9a-fA-F]{6}", given):
        red, green, blue = (int(given[at : at + 2], 16) for at in (1, 3, 5))
        return red if red == green == blue else colour_label(red, green, blue)
    raise ValueError('a label is a whole number from 0 to 65535, or a colour as "#ff0000"')


def colour_label(red: int, green: int, blue: int) -> int:
    """Return the label of a colour that is not grey."""
    return _COLOUR + (red << 16) + (green << 8) + blue


def label_text(label: int) -> str:
    """Return a label as a protocol writes it."""
    return f'"#{label - _COLOUR:06x}"' if label >= _COLOUR else str(label)


def _checked_label(given: object) -> object:
    label_of(given)
    return given.lower() if isinstance(given, str) else given


def _several(given: object) -> object:
    return given if isinstance(given, list | tuple) else [given]


Label = Annotated[int | str, BeforeValidator(_checked_label)]
Labels = Annotated[tuple[Label, ...], BeforeValidator(_several), Field(min_length=1)]


def _checked_part(given: object) -> object:
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise ValueError("a part of a structure is a label or a name in [labels]")  # noqa: TRY004 - pydantic's
    return given


Part = Annotated[int | str, BeforeValidator(_checked_part)]
"""Of a structure: a label, or a name in `[labels]`."""
Selection = Literal["last", "best-validation"]

CHECKPOINTS: dict[Selection, str] = {
    "last": "last checkpoint",
    "best-validation": "best-validation checkpoint",
}
"""What the control under another rule for the checkpoint is called."""

BASELINE = "erm"
"""The method that the others are compared with, and that controls are made of."""

ORACLE = "oracle"
"""The method that is told the cause of a gap: it runs where the protocol tells it, in `[methods.oracle]`."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _without_later_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the keys that earlier protocols lack, where nothing is said: they keep their digest."""
        table: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        for key in _LATER.get(type(self).__name__, ()):
            if key in table and getattr(self, key) == fields[key].get_default(call_default_factory=True):
                del table[key]
        return table


_LATER = {
    "Protocol": ("labels", "scoring"),
    "AttributeSpec": ("unknown",),
    "SplitSpec": ("folds", "fold"),
    "BackboneSpec": ("heads", "normalise"),
    "Recipe": ("last_batch", "rate_lag", "label_resize"),
}
"""Table to keys that were added to it since the first records."""


class CohortSpec(BaseModel):
    """`[cohort]`: where the samples come from. Further keys belong to the source."""

    model_config = ConfigDict(extra="allow", frozen=True)

    source: str
    size: Annotated[int, Field(ge=16, le=4096)] = 256
    """Side in pixels of the square grid that images and masks are brought to, and scored on."""

    @property
    def options(self) -> dict[str, Any]:
        """The keys that the source itself validates."""
        return dict(self.model_extra or {})


class SplitSpec(_Table):
    """`[split]`: by patient, stratified by every attribute, unless the cohort brings its own."""

    test: Fraction = 0.25
    validation: Fraction = 0.0
    """Share of the *training* patients held out for validation."""
    tuning: Fraction = 0.0
    """Above 0, the test patients are left out and this share of the training patients is scored in their
    stead: `harness tune` sets it."""
    seed: Seed = 0
    folds: Annotated[int, Field(ge=1, le=20)] = 1
    """Above 1, cross-validation by patient: under each seed every patient is tested once, by the model of the
    fold that left it out, and the scores of all folds are pooled. `test` then says nothing."""
    fold: tuple[Seed, Annotated[int, Field(ge=0)]] | None = None
    """Of a trial in folds, the seed that dealt the patients and the fold that it tests: a run sets it."""


class AttributeSpec(_Table):
    """`[attributes.NAME]`: how a column becomes groups."""

    column: str | None = None
    """Column of the cohort; the attribute's own name when not given."""
    bins: tuple[float, ...] = ()
    """Inner edges of a numeric column: `[60]` makes the groups "<60" and ">=60"."""
    merge: dict[str, tuple[str, ...]] = {}
    """Group name to the values it takes in; values not named keep their own name."""
    unknown: tuple[str, ...] = ()
    """Values that stand for unknown in this column, beside the usual spellings."""


class BackboneSpec(_Table):
    """`[backbone]`: the segmentation network and which part of it is trained."""

    name: str
    adapt: Literal["frozen", "lora", "full"] = "frozen"
    variant: str = ""
    """Size of the network where there are several: "vit_b", "resnet18"; empty is its default."""
    rank: Annotated[int, Field(ge=1)] = 4
    """Rank of the low-rank adapters (adapt = "lora")."""
    heads: Literal["pretrained", "random"] = "pretrained"
    """Of SAM: mask tokens and hypernetwork heads begin as in its checkpoint, or at random as SAMed's do."""
    normalise: Literal["pretrained", "none"] = "pretrained"
    """Of images in [0, 1]: by the mean and deviation that the weights were trained with, or not at all."""


class FinetuneSpec(_Table):
    """`[recipe.finetune]`: the further training of a method that starts from another's weights."""

    epochs: Annotated[int, Field(ge=1)] = 5
    planned_epochs: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    batch_size: Annotated[int, Field(ge=1)] | None = None


class Recipe(_Table):
    """`[recipe]`: how every method is trained. The method has no say in any of it."""

    epochs: Annotated[int, Field(ge=1)]
    planned_epochs: Annotated[int, Field(ge=1)] | None = None
    """Horizon of the schedule when training stops before it (SAMed: 100 planned, 70 run)."""
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; AdamW keeps its betas of 0.9 and 0.999."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    schedule: Literal["polynomial", "constant"] = "polynomial"
    power: Annotated[float, Field(gt=0)] = 0.9
    augmentation: Literal["none", "flip", "dihedral", "fairseg"] = "none"
    precision: Literal["float32", "bfloat16"] = "float32"
    dice_weight: Annotated[float, Field(ge=0, le=1)] = 0.8
    selection: Selection = "last"
    last_batch: Literal["drop", "keep"] = "drop"
    """Of an epoch, the samples that no longer fill a batch: left out, or a smaller batch of their own."""
    rate_lag: Annotated[int, Field(ge=0)] = 0
    """Steps by which the rate comes late: 1 where it is set after the optimiser's step, as in SAMed."""
    label_resize: Literal["centre", "corner"] = "centre"
    """Masks come to the logits' size by the nearest pixel: of each target pixel's centre, or of a grid whose
    corner pixels stay the corners (`scipy.ndimage.zoom` of order 0)."""
    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one trial; part of the recipe because it changes the last bits."""
    finetune: FinetuneSpec = FinetuneSpec()


class ClaimsSpec(_Table):
    """`[claims]`: what the board's words mean. Nothing in it changes a trial."""

    equivalence_margin: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.01
    """ES-Dice by which two methods may differ and still be called equally fair."""


class ScoringSpec(_Table):
    """`[scoring]`: what is scored as one, and which score ranks."""

    unit: Literal["sample", "patient"] = "sample"
    """"patient": the samples of a patient are scored as one volume, one Dice a patient and structure."""
    rank: Literal["auto", "all", "present"] = "auto"
    """Dice over all truths, or over those with the structure in them; "auto" is the latter where more than
    a tenth of the truths are empty."""
    tolerance: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)] = 2.0
    """Distance within which a boundary counts as found by NSD: pixels, or mm where the cohort has them."""


class Protocol(_Table):
    """Everything held fixed: cohort, split, structures, attributes, backbone, recipe, seeds."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    description: str = ""
    cohort: CohortSpec
    split: SplitSpec = SplitSpec()
    labels: dict[str, Labels] = {}
    """Name to the values or colours in the masks; `background` (0 where not given) and `ignore` are no
    part of a structure."""
    structures: Annotated[dict[str, Annotated[tuple[Part, ...], Field(min_length=1)]], Field(min_length=1)]
    """Structure name to the mask labels that make it up, `disc = [1, 2]`, or their names in `labels`."""
    ranked_by: str
    """The structure whose equity-scaled Dice ranks the board first."""
    attributes: Annotated[dict[str, AttributeSpec], Field(min_length=1)]
    backbone: BackboneSpec
    recipe: Recipe
    methods: dict[str, dict[str, Any]] = {}
    """Hyper-parameters by method, where they differ from the method's own defaults."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    scoring: ScoringSpec = ScoringSpec()
    claims: ClaimsSpec = ClaimsSpec()

    @model_validator(mode="after")
    def _labelled(self) -> Protocol:
        known = [name for name in self.labels if name not in (BACKGROUND, IGNORE)]
        for name, parts in self.structures.items():
            for part in parts:
                if isinstance(part, str) and not part.startswith("#"):
                    if part not in known:
                        raise ValueError(
                            f"structures.{name}: '{part}' is not in labels.{did_you_mean(part, known)}"
                        )
                else:
                    try:
                        label_of(part)
                    except ValueError as error:
                        raise ValueError(f"structures.{name}: {error} (got {part!r})") from None
        where = {label: f"labels.{role}" for role in (BACKGROUND, IGNORE) for label in self._role(role)}
        for name in self.structures:
            for label in self._labels_in(name):
                if label in where:
                    raise ValueError(
                        f"structures.{name}: the label {label_text(label)} is {where[label]}, which is no "
                        "part "
                        "of a structure; name the background's own label in [labels]."
                    )
        both = set(self._role(BACKGROUND)) & set(self._role(IGNORE))
        if both:
            raise ValueError(f"labels: {label_text(min(both))} is background and ignore; keep one.")
        if len(self.label_values) >= IGNORED:
            raise ValueError(
                f"structures: {len(self.label_values)} labels; at most {IGNORED - 1} are told apart."
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        if self.ranked_by not in self.structures:
            raise ValueError(
                f"ranked_by names '{self.ranked_by}'.{did_you_mean(self.ranked_by, self.structures)}"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds has a value twice; list each seed once.")
        if self.backbone.adapt == "frozen" and self.recipe.augmentation == "fairseg":
            raise ValueError(
                "recipe.augmentation 'fairseg' turns images by any angle, so no embedding of a frozen "
                "backbone can be cached for it; use 'dihedral', or backbone.adapt = 'lora'."
            )
        if self.backbone.heads == "random" and self.backbone.name not in ("sam", "mobile-sam"):
            raise ValueError(
                f"backbone.heads is of SAM's mask decoder, which '{self.backbone.name}' lacks; leave it out."
            )
        if self.recipe.selection == "best-validation" and self.split.validation == 0:
            raise ValueError("recipe.selection 'best-validation' needs split.validation above 0.")
        return self

    @property
    def label_values(self) -> tuple[int, ...]:
        """The mask labels of all structures, sorted; label k is class `label_values.index(k) + 1`."""
        return tuple(sorted({label for name in self.structures for label in self._labels_in(name)}))

    @property
    def background(self) -> tuple[int, ...]:
        """The mask labels of the background, 0 where nothing is said."""
        return self._role(BACKGROUND)

    @property
    def ignored(self) -> tuple[int, ...]:
        """The mask labels of what is neither trained on nor scored."""
        return self._role(IGNORE)

    @property
    def n_classes(self) -> int:
        """Background and one class for each label."""
        return len(self.label_values) + 1

    def classes(self, structure: str) -> tuple[int, ...]:
        """Return the class indices that make up a structure."""
        return tuple(self.label_values.index(label) + 1 for label in self._labels_in(structure))

    def _labels_in(self, structure: str) -> tuple[int, ...]:
        parts = self.structures[structure]
        given = [self.labels.get(part, (part,)) if isinstance(part, str) else (part,) for part in parts]
        return tuple(label_of(label) for labels in given for label in labels)

    def _role(self, role: str) -> tuple[int, ...]:
        given = self.labels.get(role, (0,) if role == BACKGROUND else ())
        return tuple(label_of(label) for label in given)


def shipped() -> dict[str, Path]:
    """Return the protocols that come with the harness: name to file."""
    folder = Path(str(resources.files("harness"))) / "protocols"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(name_or_file: str | Path) -> Protocol:
    """Read a protocol by the name of a shipped one or from a file.

    Raises HarnessError, one sentence, for a file that is missing, is not TOML or does not fit.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        known = shipped()
        if str(name_or_file) not in known:
            raise HarnessError(
                f"There is no protocol '{name_or_file}'.{did_you_mean(str(name_or_file), known)} "
                "Give a name or a .toml file."
            )
        path = known[str(name_or_file)]
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: {error.strerror}; give the path of a protocol file.") from None
    except ValueError as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise HarnessError(f"{path}: not TOML: {error}.") from None
    return parse(table, str(path))


def parse(table: dict[str, Any], where: str) -> Protocol:
    """Validate a protocol's table; `where` is the file named in the error."""
    try:
        return Protocol.model_validate(table)
    except ValidationError as error:
        raise HarnessError(f"{where}: {explain(error, Protocol)}") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn one of pydantic's complaints into one sentence that names the key and the fix.

    The first, unless that is a missing key: where another is not known, it may be the same, misspelt.
    """
    errors = error.errors()
    first = errors[0]
    if first["type"] == "missing":
        first = next((one for one in errors if one["type"] == "extra_forbidden"), first)
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, first["loc"][:-1])
        return f"'{key}' is not a key here.{did_you_mean(str(first['loc'][-1]), known)}"
    if first["type"] == "missing" and not isinstance(first["input"], dict):
        key = ".".join(str(part) for part in first["loc"][:-1])
        return f"{key}: a value is missing (got {first['input']!r})."
    if first["type"] == "missing":
        near = difflib.get_close_matches(str(first["loc"][-1]), list(first["input"]), n=1)
        hint = f" Is '{near[0]}' meant to be it?" if near else ""
        return f"'{key}' is missing; every protocol needs it.{hint}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    got = f" (got {shown(first['input'], 200)})" if key else ""
    return f"{key + ': ' if key else ''}{message}{got}."


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the table at `loc` may have."""
    for part in loc:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return list(AttributeSpec.model_fields) if "attributes" in loc else []
        model = annotation
    return list(model.model_fields)
