import copy
import tomllib

import pytest

from harness import protocol
from harness.errors import HarnessError


@pytest.fixture
def table():
    return tomllib.loads(protocol.shipped()["quick"].read_text())


def changed(table, path, value):
    table = copy.deepcopy(table)
    *parents, last = path.split(".")
    inner = table
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return table


@pytest.mark.parametrize("name", ["quick", "null", "fairseg"])
def test_the_shipped_protocols_load(name):
    assert protocol.load(name).name == name


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("recipe.learning_rat", 1, "'recipe.learning_rat' is not a key here. Did you mean 'learning_rate'?"),
        ("attributs", {}, "'attributs' is not a key here. Did you mean 'attributes'?"),
        ("attributes.race.bin", [1], "'attributes.race.bin' is not a key here. Did you mean 'bins'?"),
        ("recipe.epochs", 0, "recipe.epochs: Input should be greater than or equal to 1 .got 0."),
        ("recipe.optimizer", "adam", "recipe.optimizer: Input should be 'adamw' or 'sgd' .got 'adam'."),
        ("ranked_by", "cop", "Did you mean 'cup'?"),
        ("seeds", [1, 1], "seeds has a value twice"),
        ("seeds", [], "seeds: "),
        ("recipe.augmentation", "fairseg", "use 'dihedral'"),
        ("recipe.selection", "best-validation", "needs split.validation above 0"),
    ],
)
def test_what_does_not_fit_is_one_sentence_that_names_the_key(table, path, value, message):
    with pytest.raises(HarnessError, match=message) as caught:
        protocol.parse(changed(table, path, value), "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_that_is_required_is_answered_with_the_right_one(table):
    table["recipe"]["epoch"] = table["recipe"].pop("epochs")
    with pytest.raises(HarnessError, match="'recipe.epoch' is not a key here. Did you mean 'epochs'?"):
        protocol.parse(table, "mine.toml")
    table["recipe"]["epochs"] = table["recipe"].pop("epoch")
    table["cohort"]["sorce"] = table["cohort"].pop("source")
    with pytest.raises(HarnessError, match="'cohort.source' is missing; .* Is 'sorce' meant to be it?"):
        protocol.parse(table, "mine.toml")


def test_a_missing_key_is_named(table):
    del table["recipe"]["epochs"]
    with pytest.raises(HarnessError, match="mine.toml: 'recipe.epochs' is missing"):
        protocol.parse(table, "mine.toml")


def test_a_misspelt_protocol_is_answered_with_the_right_one():
    with pytest.raises(HarnessError, match="no protocol 'quik'. Did you mean 'quick'?"):
        protocol.load("quik")


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path):
    with pytest.raises(HarnessError, match="gone.toml: No such file"):
        protocol.load(tmp_path / "gone.toml")
    (tmp_path / "bad.toml").write_text("name = \n")
    with pytest.raises(HarnessError, match="bad.toml: not TOML"):
        protocol.load(tmp_path / "bad.toml")


def test_labels_become_classes_in_their_order(table):
    table["structures"] = {"tumour": [255], "core": [7]}
    table["ranked_by"] = "tumour"
    loaded = protocol.parse(table, "mine.toml")
    assert loaded.label_values == (7, 255)
    assert loaded.n_classes == 3
    assert loaded.classes("tumour") == (2,)
