"""What a column of the board is: all that its declaration in `columns` says, and nothing said elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leaderboard.compute.metrics import Definition, Metric
from leaderboard.compute.row import Row


@dataclass(frozen=True)
class Fact:
    """What a method's entry in leaderboard.json has for a column, where `scores` and `groups` do not say it.

    type: of the value; of: takes it from a row; later: exports from before this field lack it.
    """

    key: str
    type: Any
    of: Callable[[Row], Any]
    description: str | None = None
    later: bool = False


@dataclass(frozen=True)
class Column:
    """One column.

    definition: what stands under its name. cell: the kind of its cells, a macro `KIND_cell` of table.html.j2.
    value: what a cell shows, from a row (and a group, where `by_group` makes it one column a group); None
    where the kind of cell takes several things from the row. metric: the score that it shows with, and whose
    digits and unit it has. own_unit: of the data, where the cells write their own. style: of the cells.
    menu: its name in the menu of columns, where that is another. fixed: whether it cannot be hidden.
    at_first: whether it is there before a reader asks for more. ascending: whether the lowest is the best,
    and so first when the table is sorted by it. on_method: its place on the method's page, ascending, None
    for none. defined: its row among the protocol's definitions.
    """

    key: str
    name: str
    definition: str
    value: Callable[..., Any] | None = None
    cell: str = "number"
    metric: Metric | None = None
    own_unit: str = ""
    style: str = ""
    menu: str = ""
    fixed: bool = False
    at_first: bool = False
    ascending: bool = False
    by_group: bool = False
    on_method: int | None = None
    defined: Definition | None = None
    facts: tuple[Fact, ...] = ()
    part_of: str = ""
    """The key of the column that this is one group of."""

    @property
    def digits(self) -> int:
        """Digits after the point."""
        return self.metric.digits if self.metric else 3

    @property
    def title(self) -> str:
        """The name, with the unit where the cells are bare numbers."""
        bare = self.metric.unit if self.metric and self.cell in ("number", "group") else ""
        return f"{self.name}, {bare}" if bare else self.name


@dataclass(frozen=True)
class Quantity:
    """A column of the table of every metric by group, on the method's page; digits None: the metric's."""

    key: str
    name: str
    digits: int | None = None
