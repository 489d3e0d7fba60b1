"""Weak answers to chapter 02's open task: each misses a bar. Nothing of them is named to a reader."""

from autograder.judging.catalogue import mistake

# --- Exercise 10, open: the fewest rows


def _fitted(lengths, length, order, choose):
    rows, room = [], []
    for i in order:
        fitting = [r for r, left in enumerate(room) if left >= lengths[i]]
        if fitting:
            row = choose(fitting, room)
        else:
            row = len(rows)
            rows.append([])
            room.append(length)
        rows[row].append(i)
        room[row] -= lengths[i]
    return rows


def _longest_first(lengths):
    return sorted(range(len(lengths)), key=lambda i: -lengths[i])


@mistake("plan_rows")
def a_row_for_each_example(lengths, length):
    """Every example has a row of its own."""
    return [[i] for i in range(len(lengths))]


@mistake("plan_rows")
def one_after_the_other(lengths, length):
    """A row is closed as soon as one example does not fit."""
    rows, room = [], 0
    for i, tokens in enumerate(lengths):
        if tokens > room:
            rows.append([])
            room = length
        rows[-1].append(i)
        room -= tokens
    return rows


@mistake("plan_rows")
def shortest_first(lengths, length):
    """The short ones go first, and nothing is left to fill the gaps behind the long ones."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return _fitted(lengths, length, order, lambda fitting, room: fitting[0])


@mistake("plan_rows")
def first_that_fits(lengths, length):
    """The first row that has room, in the order in which the examples come."""
    return _fitted(lengths, length, range(len(lengths)), lambda fitting, room: fitting[0])


@mistake("plan_rows")
def longest_into_the_first_that_fits(lengths, length):
    """The longest first, each into the first row that has room."""
    return _fitted(lengths, length, _longest_first(lengths), lambda fitting, room: fitting[0])


@mistake("plan_rows")
def longest_into_the_fullest(lengths, length):
    """The longest first, each into the fullest row that has room."""
    return _fitted(lengths, length, _longest_first(lengths), lambda fitting, room: min(fitting, key=room.__getitem__))


@mistake("plan_rows")
def rows_too_long(lengths, length):
    """As many rows as the tokens need at least, whether the examples fit into them or not."""
    rows = -(-sum(lengths) // length)
    return [list(range(r, len(lengths), rows)) for r in range(rows)]


@mistake("plan_rows")
def what_does_not_fit_left_out(lengths, length):
    """The least number of rows, and what has no room in them is lost."""
    order = _longest_first(lengths)
    return _fitted(lengths, length, order, lambda fitting, room: fitting[0])[: -(-sum(lengths) // length)]


@mistake("plan_rows")
def short_ones_twice(lengths, length):
    """A full plan in which an example stands twice."""
    rows = _fitted(lengths, length, _longest_first(lengths), lambda fitting, room: fitting[0])
    return [*rows, [rows[-1][-1]]]


@mistake("plan_rows")
def numbered_from_one(lengths, length):
    """Examples counted from 1."""
    return [[i + 1 for i in row] for row in longest_into_the_fullest(lengths, length)]
