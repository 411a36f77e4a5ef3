"""The attacks on the doors, one after the other: none is let through, and each is one line.

python -m pytest -s tests/submission/test_attacks.py      prints the table
"""

from __future__ import annotations

import attacks


def test_no_attack_on_the_doors_gets_through(world, tmp_path):
    rows = []
    for name, one in attacks.ATTACKS.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        try:
            rows.append((name, one(world, folder), "held"))
        except AssertionError as error:
            rows.append((name, str(error), "FAILED"))
    print("\n" + attacks.table(rows))
    assert [name for name, _, verdict in rows if verdict != "held"] == []
    assert all("\n" not in got for _, got, _ in rows)
