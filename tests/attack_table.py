"""The table of the attacks: what each kind of them gained, cost and reached in this test run. All of it has to be nought."""

from dataclasses import astuple, dataclass, fields

import pytest

TABLE = pytest.StashKey[list[tuple]]()


@dataclass
class Row:
    """One kind of attacks as one user met them, with sums over them."""

    kind: str
    where: str
    attacks: int = 0
    gained: float = 0.0  # points beyond what the answers are worth
    lost: float = 0.0  # points of right answers
    outside: int = 0  # things read or written outside
    harmed: int = 0  # other submissions
    silent: int = 0  # without a clear sentence

    def is_clean(self) -> bool:
        """Whether nothing came of them."""
        return not (self.gained or self.lost or self.outside or self.harmed or self.silent)


HEADS = ("kind of attack", "tried", "attacks", "points gained", "points lost", "outside", "harmed", "no sentence")


def note(config: pytest.Config, rows: list[Row]) -> None:
    """Keep rows for the end of the test run, where they are printed."""
    config.stash[TABLE] += [astuple(row) for row in rows]


def lines(table: list[tuple]) -> list[str]:
    """The table as text, with a last line of sums."""
    if not table:
        return []
    sums = ["all", "", *(sum(row[column] for row in table) for column in range(2, len(fields(Row))))]
    cells = [HEADS, *([f"{one:g}" if isinstance(one, float | int) else one for one in row] for row in [*table, sums])]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADS))]
    return [
        "  ".join(text.ljust(width) if place < 2 else text.rjust(width) for place, (text, width) in enumerate(zip(row, widths)))
        for row in cells
    ]
