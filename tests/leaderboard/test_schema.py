"""leaderboard.json and its schema: what a site writes fits, what is damaged does not."""

from __future__ import annotations

import copy
import json
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from leaderboard.write import exports

SHIPPED = resources.files("leaderboard") / "schemas"


@pytest.fixture(scope="module")
def export(small):
    return json.loads(small.page("leaderboard.json"))


@pytest.fixture(scope="module")
def schema(small):
    return json.loads(small.page("leaderboard.schema.json"))


def test_json_fits_the_schema_that_it_names_and_that_travels_with_it(export, schema, small):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.validate(export, schema)
    assert (small.out / export["$schema"]).is_file()
    assert export["schema_version"] == 2
    assert "version 2" in schema["title"]


def section(export):
    return export["protocols"][0]["sections"][0]


DAMAGES = {
    "another version": lambda export: export.update(schema_version=1),
    "no version": lambda export: export.pop("schema_version") and export.update(schema_version="2"),
    "no protocols": lambda export: export.pop("protocols"),
    "a section without a structure": lambda export: section(export).pop("structure"),
    "a status that there is not": lambda export: section(export)["methods"][0].update(status="finished"),
    "a way to get records that there is not": lambda e: section(e)["methods"][0].update(obtained="bought"),
    "a rank of 0": lambda export: section(export)["methods"][0].update(rank=0),
    "a probability above 1": lambda export: section(export)["methods"][0].update(p_best=1.5),
    "a seed as text": lambda export: section(export)["methods"][0].update(seeds=["0"]),
    "a score that is text": lambda e: section(e)["methods"][0]["scores"]["dice"]["es_sum"].update(low="0.7"),
    "a score without its interval": lambda e: section(e)["methods"][0]["scores"]["dice"]["gap"].pop("high"),
    "a method without its groups": lambda export: section(export)["methods"][0].pop("groups"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_does_not_fit(export, schema, damage):
    damaged = copy.deepcopy(export)
    DAMAGES[damage](damaged)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(damaged, schema)


def test_the_schema_of_this_version_is_the_one_that_ships():
    shipped = SHIPPED / f"leaderboard-{exports.SCHEMA_VERSION}.schema.json"
    # Where fields came: `python tests/leaderboard/test_schema.py` writes it anew. Where one went, or means
    # another thing: one more SCHEMA_VERSION and a file beside this one, and `harness.client` reads both.
    assert shipped.read_text(encoding="utf-8") == exports.schema()


if __name__ == "__main__":
    Path(str(SHIPPED), f"leaderboard-{exports.SCHEMA_VERSION}.schema.json").write_text(exports.schema())
