import copy
import re
import tomllib

import pytest
from pydantic import ValidationError

from harness import protocol
from harness.cohorts.folder import Options
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


@pytest.mark.parametrize("name", ["quick", "null", "planted", "papila", "fairseg", "lgg-flair"])
def test_a_protocol_that_says_nothing_of_later_keys_has_none_of_them(name):
    # A board's digest is over this table: earlier boards stay where they are.
    table = protocol.load(name).model_dump(mode="json")
    assert not {"labels", "scoring"} & set(table)
    assert all("unknown" not in spec for spec in table["attributes"].values())
    said = protocol.load(name).model_copy(update={"scoring": protocol.ScoringSpec(unit="patient")})
    assert said.model_dump(mode="json")["scoring"]["unit"] == "patient"


def labelled(**changes):
    return protocol.parse(tomllib.loads(protocol.shipped()["quick"].read_text()) | changes, "p.toml")


def test_labels_have_names_values_and_colours():
    table = {"background": 255, "ignore": [254, "#0000FF"], "cup": 0, "rim": [128, "#00ff00"]}
    one = labelled(labels=table, structures={"cup": ["cup"], "disc": ["cup", "rim", 7]}, ranked_by="cup")
    green = protocol.label_of("#00ff00")
    assert one.label_values == (0, 7, 128, green)
    assert (one.classes("cup"), one.classes("disc")) == ((1,), (1, 3, 4, 2))
    assert (one.background, one.ignored) == ((255,), (254, protocol.label_of("#0000ff")))
    assert protocol.label_of("#FFFFFF") == 255
    assert protocol.label_text(green) == '"#00ff00"'


@pytest.mark.parametrize(
    ("labels", "parts", "said"),
    [
        ({}, [0], "structures.cup: the label 0 is labels.background"),
        ({"ignore": 3}, [3], "structures.cup: the label 3 is labels.ignore"),
        ({"rim": 1}, ["rmi"], "structures.cup: 'rmi' is not in labels. Did you mean 'rim'"),
        ({}, ["#12345"], "a label is a whole number from 0 to 65535, or a colour"),
        ({}, [70_000], "a label is a whole number"),
        ({"background": 7, "ignore": 7}, [1], "labels: 7 is background and ignore"),
        ({"rim": True}, [1], "a label is a whole number"),
    ],
)
def test_labels_that_mean_two_things_are_refused(labels, parts, said):
    with pytest.raises(HarnessError, match=re.escape(said)):
        labelled(labels=labels, structures={"cup": parts}, ranked_by="cup")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"spacing": [1]}, "spacing: Tuple should have at least 2 items"),
        ({"scale": [1]}, "scale: a value is missing (got [1])"),
        ({"window": {"level": 1}}, "'window.width' is missing"),
        ({"slices": {"evry": 2}}, "'slices.evry' is not a key here."),
        ({"window": 40}, "window: Input should be"),
    ],
)
def test_what_a_folders_options_lack_is_said(given, said):
    with pytest.raises(ValidationError) as error:
        Options.model_validate(given)
    assert protocol.explain(error.value, Options).startswith(said)


def test_a_number_of_thousands_of_digits_is_refused_in_a_sentence(tmp_path):
    file = tmp_path / "long.toml"
    file.write_text(f"seeds = [{'9' * 5000}]")
    with pytest.raises(HarnessError, match="long.toml: not TOML"):
        protocol.load(file)
