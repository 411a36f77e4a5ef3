"""What the page computes, against harness.equity on the same random worlds and the same random numbers."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness import equity
from harness.equity import quantities, ranking, resampling, summary

pytestmark = pytest.mark.browser

ASSETS = Path(__file__).parents[2] / "leaderboard" / "assets"
SCALE, MISSING, UNKNOWN = 2_000, 65_535, 255
ALONE, OUT = -1, -2
RESAMPLES = 400
SCRIPTS = ("state.js", "intervals.js", "equity.js")


@dataclass(frozen=True)
class Choice:
    """What a reader may change; empty is as on the board."""

    definition: str = "sum"
    alpha: float = 1.0
    metric: str = "dice"
    seeds: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()

    @property
    def changes(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if value != ()}

    def quantity(self, overall: np.ndarray, groups: np.ndarray) -> np.ndarray:
        if self.definition == "worst":
            return groups.min(axis=-1)
        scattered = {"sum": quantities.sum_gap, "std": quantities.spread}[self.definition]
        return overall / (1 + self.alpha * scattered(overall, groups))


@dataclass(frozen=True)
class World:
    """Scores of methods, dice and nsd: [method, seed, sample], multiples of 1/SCALE, NaN a missing seed."""

    dice: np.ndarray
    nsd: np.ndarray
    groups: np.ndarray
    patients: np.ndarray
    seeds: tuple[int, ...]
    min_patients: int

    @property
    def kept(self) -> tuple[str, ...]:
        """The groups that the board shows, which are those that the page is told."""
        return self.scores(Choice()).kept

    def scores(self, choice: Choice) -> equity.Scores | None:
        """Return the scores under a reader's choice, None where no sample or no group is left."""
        values = {"dice": self.dice, "nsd": self.nsd, "iou": self.dice / (2 - self.dice)}[choice.metric]
        groups, stay, least = self.groups, np.ones(len(self.groups), bool), self.min_patients
        if choice.groups:
            to = {ALONE: None, OUT: "out"} | {i: f"{i} {name}" for i, name in enumerate(self.kept)}
            moved = dict(zip(self.kept, (to[place] for place in choice.groups), strict=True))
            groups = np.array([moved.get(group) for group in groups], object)
            stay, least = groups != "out", 1
        if choice.seeds:
            values = values[:, list(choice.seeds)]
        rows = {f"m{m}": row[:, stay] for m, row in enumerate(values) if not np.isnan(row).all()}
        if not rows or not any(group is not None for group in groups[stay]):
            return None
        return equity.Scores(rows, groups[stay], self.patients[stay], min_patients=least)


def a_world(seed: int) -> World:
    """Return 2 to 8 groups of 1 to 30 patients, 1 to 4 samples each; scores smooth, tied or constant."""
    rng = np.random.default_rng([13, seed])
    names = [f"g{i}" for i in range(rng.integers(2, 9))]
    sizes = [int(rng.choice([1, 2, 5, 12, 30])) for _ in names]
    at_most = int(rng.choice([1, 4]))
    groups, patients = [], []
    for name, size in zip([*names, None], [*sizes, int(rng.choice([0, 1, 6]))], strict=True):
        for _ in range(size):
            patient = f"p{rng.integers(len(patients), len(patients) + 2):05d}"  # now and then one more time
            for _ in range(rng.integers(1, at_most + 1)):
                groups.append(name)
                patients.append(patient)
    order = np.argsort(patients, kind="stable")
    groups, patients = np.array(groups, object)[order], np.array(patients)[order]
    methods, seeds = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    dice = _some_scores(rng, names, groups, (methods, seeds, len(groups)))
    nsd = _some_scores(rng, names, groups, dice.shape)
    if methods > 1 and rng.random() < 0.3:
        dice[1], nsd[1] = dice[0], nsd[0]
    for m in range(1, methods):
        gone = rng.random(seeds) < rng.choice([0, 0.3])
        gone[rng.integers(seeds)] = False
        dice[m, gone], nsd[m, gone] = np.nan, np.nan
    return World(dice, nsd, groups, patients, tuple(range(3, 3 + seeds)), int(rng.choice([1, 10])))


def _some_scores(rng, names, groups, shape) -> np.ndarray:
    level = {name: rng.uniform(0.4, 0.9) for name in [*names, None]}
    centre = np.array([level[group] for group in groups])
    kind = rng.choice(
        ["smooth", "smooth", "smooth", "ties", "constant", "constant within groups", "equal groups"]
    )
    if kind == "ties":
        values = rng.choice([0.0, 0.5, 1.0], shape)
    elif kind == "constant":
        values = np.full(shape, rng.uniform())
    elif kind == "constant within groups":
        values = np.broadcast_to(centre, shape)
    else:
        middle = 0.7 if kind == "equal groups" else centre
        effect = 0.02 * rng.standard_normal((shape[0], shape[1], 1))
        values = middle + effect + 0.1 * rng.standard_normal(shape)
    return np.rint(np.clip(values, 0, 1) * SCALE) / SCALE


def packed(world: World, members: np.ndarray | None = None) -> dict[str, object]:
    """Return what leaderboard.payload writes; `members`: bool [U, N], where whole groups travel."""
    code = {group: i for i, group in enumerate(world.kept)}
    codes = np.array([code.get(group, UNKNOWN) for group in world.groups], np.uint8)
    methods = [f"m{m}" for m in range(len(world.dice))]
    values, metrics = np.stack([world.dice, world.nsd], axis=2), ["dice", "nsd"]
    _, patients = np.unique(world.patients, return_inverse=True)
    weights = None
    if members is not None:
        values = np.concatenate([values, (world.dice / (2 - world.dice))[:, :, None]], axis=2) @ members.T
        weights = members.sum(axis=1)
        values, metrics, codes = values / weights, [*metrics, "iou"], codes[members.argmax(axis=1)]
    steps = np.where(np.isnan(values), MISSING, np.rint(values * SCALE))
    return {
        "version": 1,
        "section": "any",
        "methods": methods,
        "titles": methods,
        "seeds": list(world.seeds),
        "groups": list(world.kept),
        "metrics": metrics,
        "scale": SCALE,
        "units": len(codes),
        "codes": _text(codes.tobytes()),
        "weights": None if weights is None else weights.tolist(),
        "patients": None if members is not None else _planes(patients),
        "values": _planes(steps),
    }


def _planes(numbers: np.ndarray) -> str:
    """All low bytes, then all high ones."""
    whole = numbers.ravel().astype(int)
    return _text(bytes((whole % 256).tolist()) + bytes((whole // 256).tolist()))


def _text(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data)).decode()


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """A page with nothing but the scripts that compute."""
    scripts = "".join(f"<script src='{(ASSETS / name).as_uri()}'></script>" for name in SCRIPTS)
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'><a class='skip'></a>{scripts}", encoding="utf-8")
    page = browser.new_page()
    page.set_default_timeout(180_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert errors == []


def choices(world: World, seed: int) -> list[Choice]:
    """Return every definition and metric of the board, and some choices of a reader's own."""
    rng = np.random.default_rng([14, seed])
    found = [Choice(definition, metric=metric) for definition in DEFINITIONS for metric in METRICS]
    n_groups, n_seeds = len(world.kept), len(world.seeds)
    for _ in range(4):
        seeds = np.flatnonzero(rng.random(n_seeds) < 0.6)
        moves = [
            place if rng.random() < 0.6 else int(rng.integers(OUT, n_groups)) for place in range(n_groups)
        ]
        found.append(
            Choice(
                str(rng.choice(DEFINITIONS)), float(rng.choice([0, 0.5, 1, 3])), str(rng.choice(METRICS)),
                tuple(map(int, seeds)), tuple(moves),
            )
        )  # fmt: skip
    return found


DEFINITIONS, METRICS = ("sum", "std", "worst"), ("dice", "nsd", "iou")


def told(page, script: str, *asked: object) -> Any:
    """Return what a function of the page answers. One long text passes much faster than many numbers."""
    call = f"async text => JSON.stringify(await ({script})(...JSON.parse(text)))"
    return json.loads(page.evaluate(call, json.dumps(asked)))


RANK = """(...worlds) => Promise.all(worlds.map(async ([packed, choices]) => {
    const data = await Board.equity.load(packed);
    return choices.map(changes => Board.equity.rank(data, {...Board.equity.preset(data), ...changes}));
}))"""


def expected(scores: equity.Scores | None, choice: Choice) -> dict[str, list[float]]:
    """Return each method's score, overall, gap and group means by harness.equity."""
    if scores is None or len(scores.kept) < 2:
        return {}
    draws = equity.resample(scores, resamples=50)
    overall, groups = draws.means @ draws.weights, draws.means[:, :-1]
    numbers = [choice.quantity(overall, groups), overall, equity.gap(overall, groups), *groups.T]
    return dict(zip(scores.methods, np.transpose(numbers).tolist(), strict=True))


@pytest.mark.parametrize("start", range(0, 120, 30))
def test_every_estimate_is_that_of_harness_equity(page, start):
    worlds = [(seed, a_world(seed)) for seed in range(start, start + 30)]
    asked = [(packed(world), choices(world, seed)) for seed, world in worlds]
    answers = told(page, RANK, *([data, [choice.changes for choice in own]] for data, own in asked))
    for (seed, world), (_, own), rankings in zip(worlds, asked, answers, strict=True):
        for choice, ranked in zip(own, rankings, strict=True):
            wanted = expected(world.scores(choice), choice)
            found = {
                row["method"]: [row["score"], row["overall"], row["gap"], *row["groups"]]
                for row in ranked["rows"]
            }
            assert found.keys() == wanted.keys(), (seed, choice)
            for method, numbers in found.items():
                assert numbers == pytest.approx(wanted[method], abs=1e-12), (seed, choice, method)
            # Scores that are equal but for rounding may stand in either order.
            scores = [round(wanted[row["method"]][0], 12) for row in ranked["rows"]]
            assert scores == sorted(scores, reverse=True), (seed, choice)


def test_equal_methods_stand_in_the_order_given_as_in_harness_equity(page):
    world = a_world(0)
    world = replace(world, dice=np.repeat(world.dice[:1], 3, axis=0), nsd=np.repeat(world.nsd[:1], 3, axis=0))
    ((ranked,),) = told(page, RANK, [packed(world), [{}]])
    expected = equity.rank(equity.resample(world.scores(Choice()), resamples=50))["method"].tolist()
    assert [row["method"] for row in ranked["rows"]] == expected == ["m0", "m1", "m2"]


ALTERNATIVES = """async (packed, changes) => {
    const data = await Board.equity.load(packed);
    const found = Board.equity.alternatives(data, {...Board.equity.preset(data), ...changes});
    return found.map(({words, rows}) => [words, rows.map(row => [row.method, row.score])]);
}"""


def single_changes(world: World, choice: Choice) -> dict[str, Choice]:
    """Return the choices that differ from a full one in one thing, by the page's words for them."""
    found = {
        f"ES (sum), α = {alpha:g}": replace(choice, definition="sum", alpha=alpha) for alpha in (0.5, 1, 2)
    }
    found["ES (std), α = 1"] = replace(choice, definition="std")
    found["worst group"] = replace(choice, definition="worst")
    for metric, words in (("dice", "Dice"), ("iou", "IoU"), ("nsd", "NSD")):
        found[words] = replace(choice, metric=metric)
    for g, name in enumerate(world.kept):
        moves = tuple(OUT if i == g else to for i, to in enumerate(choice.groups))
        found[f"without {name}"] = replace(choice, groups=moves)
    if len(choice.seeds) > 1:
        for seed in choice.seeds:
            left = tuple(s for s in choice.seeds if s != seed)
            found[f"without seed {world.seeds[seed]}"] = replace(choice, seeds=left)
    return {words: other for words, other in found.items() if other != choice}


def test_every_single_change_leads_to_the_order_of_harness_equity(page):
    for seed in range(12):
        world = a_world(seed)
        choice = Choice(seeds=tuple(range(len(world.seeds))), groups=tuple(range(len(world.kept))))
        found = dict(told(page, ALTERNATIVES, packed(world), choice.changes))
        wanted = {
            words: expected(world.scores(other), other)
            for words, other in single_changes(world, choice).items()
        }
        wanted = {words: {m: n[0] for m, n in rows.items()} for words, rows in wanted.items() if rows}
        assert found.keys() == wanted.keys()
        for words, rows in found.items():
            assert dict(rows) == pytest.approx(wanted[words], abs=1e-12), (seed, words)
            assert [score for _, score in rows] == sorted((s for _, s in rows), reverse=True)


INTERVALS = """async (packed, changes, resamples, below, normals, gammas) => {
    const data = await Board.equity.load(packed);
    const choice = {...Board.equity.preset(data), ...changes};
    const next = values => { let i = 0; return () => values[i++]; };
    const quantity = (o, g) => Board.equity.score(o, g, choice.definition, choice.alpha);
    const random = {below: next(below), normal: next(normals)};
    const units = Board.equity.unitsOf(data, data.patients, choice);
    const draws = Board.intervals.resample(units, resamples, random);
    const told = draws.methods.map(({seeds}, m) => {
        if (!seeds.length) return null;
        const drawn = next(gammas[data.methods[m]]);
        const freedoms = [];
        let drawings = 0;
        const gamma = shape => {
            if (drawings++ % resamples === 0) freedoms.push(2 * shape);
            return drawn() ?? 1;
        };
        const found = Board.intervals.of(draws, m, quantity, choice.definition === "worst", {gamma});
        return {...found, freedoms};
    });
    const first = Board.intervals.first(draws, quantity);
    const all = told.map((one, m) => [data.methods[m], one && {...one, first: first[m]}]);
    return [Object.fromEntries(all.filter(([, one]) => one)), random.below() === undefined];
}"""


@pytest.mark.parametrize("start", range(0, 60, 10))
def test_every_interval_is_that_of_harness_equity_from_the_same_random_numbers(page, monkeypatch, start):
    ends, firsts = [], []
    for seed in range(start, start + 10):
        world = a_world(seed)
        for choice in choices(world, seed)[::2]:
            scores = world.scores(choice)
            if scores is None or len(scores.kept) < 2:
                continue
            draws = equity.resample(scores, resamples=RESAMPLES, seed=seed)
            wanted = intervals(draws, choice, monkeypatch)
            drawn = below(draws), normals(draws, world, choice), gammas(draws, wanted)
            answer, used_up = told(page, INTERVALS, packed(world), choice.changes, RESAMPLES, *drawn)
            assert used_up
            assert answer.keys() == wanted.keys()
            for method, own in wanted.items():
                found, width = answer[method], own["high"] - own["low"]
                ends += [abs(found[end] - own[end]) / (width + 1e-4) for end in ("low", "high")]
                firsts.append(abs(found["first"] - own["first"]))
                # Of scores that do not vary, this is rounding over rounding.
                if width > 1e-9:
                    freedoms = [one for one in (own["of_mean"], own["freedom"]) if one <= 1_000]
                    assert found["freedoms"] == pytest.approx(freedoms, rel=1e-4), (seed, choice, method)
    # Where scores tie, a rounding there (in float32) or here decides a few of the 400 draws.
    assert len(ends) > 80
    assert max(ends) < 0.03
    assert np.quantile(ends, 0.9) < 0.001
    assert max(firsts) < 0.02
    assert np.quantile(firsts, 0.9) < 1e-9


def intervals(draws, choice: Choice, monkeypatch) -> dict[str, dict[str, float]]:
    """Return what summarise and rank say of a choice's quantity, and the freedom that widened its draws."""
    name, used = "worst_group" if choice.definition == "worst" else "es_sum", []

    def spied(freedom, *others):
        used.append(freedom)
        return resampling.tails(freedom, *others)

    with monkeypatch.context() as patch:
        for module in (summary, ranking):
            patch.setattr(module, "quantities", lambda higher_is_better: {name: choice.quantity})
        patch.setattr(summary, "tails", spied)
        table = equity.summarise(draws).query("quantity == @name").set_index("method")
        order = equity.rank(draws, by=name, tested=pd.DataFrame(columns=equity.PAIRS)).set_index("method")
    # First the quantity's of all methods, who are looked at together, then each one's mean's and groups'.
    assert draws.at_once >= len(table)
    of_quantity, others = used[: len(table)], used[len(table) :]
    each = len(others) // len(table)
    return {
        method: {
            "low": table.loc[method, "low"],
            "high": table.loc[method, "high"],
            "first": order.loc[method, "p_best"],
            "freedom": of_quantity[m],
            "of_mean": others[m * each],
        }
        for m, method in enumerate(table.index)
    }


def below(draws) -> list[int]:
    """Return the patients that `equity.resample` draws by stratum, then for the strata of one patient."""
    rng = np.random.default_rng([draws.seed, 0])
    counts = [int(n) for n in draws.patients if n > 1]
    drawn = [int(i) for n in counts for i in rng.integers(0, n, (RESAMPLES, n), dtype=np.int32).ravel()]
    others = int(draws.patients.sum()) - 1
    for k in np.flatnonzero(draws.patients == 1).tolist() if others else []:
        drawn += np.random.default_rng([draws.seed, 2, k]).integers(0, others, RESAMPLES).tolist()
    return drawn


def normals(draws, world: World, choice: Choice) -> list[float]:
    """Return the seeds' random weights, draw after draw, for every seed that counts."""
    drawn = np.zeros((RESAMPLES, len(choice.seeds or world.seeds)))
    drawn[:, : draws.seeds_normal.shape[1]] = draws.seeds_normal
    return drawn.ravel().tolist()


def gammas(draws, wanted: dict[str, dict[str, float]]) -> dict[str, list[float]]:
    """Return the gamma numbers from which `tails` makes Student's t, by method: of its mean, then its own."""
    return {
        method: [
            number
            for freedom in (own["of_mean"], own["freedom"])
            if freedom <= 1_000
            for number in draws.random(2).standard_gamma(freedom / 2, RESAMPLES).tolist()
        ]
        for method, own in wanted.items()
    }


SHAPES = [0.5, 0.8, 2.5, 40.0]


def test_random_numbers_have_their_distributions(page):
    script = """(n, shapes) => {
        const many = make => Array.from({length: n}, make);
        const {below, normal, gamma} = Board.intervals.chance(3);
        return [many(() => below(7)), many(normal), shapes.map(shape => many(() => gamma(shape)))];
    }"""
    whole, normal, by_shape = told(page, script, 20_000, SHAPES)
    assert stats.chisquare(np.bincount(whole, minlength=7)).pvalue > 0.01
    assert stats.kstest(normal, "norm").pvalue > 0.01
    for shape, drawn in zip(SHAPES, by_shape, strict=True):
        assert stats.kstest(drawn, "gamma", args=(shape,)).pvalue > 0.01, shape


def test_a_section_whose_groups_travel_whole_is_ranked_alike(page):
    for seed in range(20):
        world = a_world(seed)
        shown = [group if group in world.kept else None for group in world.groups]
        members = np.array([[group == name for group in shown] for name in dict.fromkeys(shown)])
        asked = [choice for choice in choices(world, seed) if not choice.seeds]
        changes = [choice.changes for choice in asked]
        samples, groups = told(page, RANK, [packed(world), changes], [packed(world, members), changes])
        for choice, fine, coarse in zip(asked, samples, groups, strict=True):
            assert len(fine["rows"]) == len(coarse["rows"])
            scores = [{row["method"]: row["score"] for row in one["rows"]} for one in (fine, coarse)]
            # A group's mean travels in steps of 1/2000; the penalty adds up to 8 of them, three times.
            assert scores[0] == pytest.approx(scores[1], abs=30 / SCALE), (seed, choice)
