"""Chapter 09's references agree with brute force, with closed forms, and with what transformers computes."""

import itertools
import math
import random
from types import SimpleNamespace

import pytest
import torch

from autograder.judging.reference import Reference
from course import chains

FUNCTIONS = Reference("09_cot").functions
names = ("vote", "pass_curve", "join_moves", "train_on_budget", "faithfulness", "choose_answers")
vote, pass_curve, join_moves, train_on_budget, faithfulness, choose_answers = (FUNCTIONS[name] for name in names)


def run(total: int, moves) -> int:
    for a, b in moves:
        total = (a * total + b) % 10
    return total


@pytest.mark.parametrize("count", range(1, 14))
def test_joined_moves_do_what_all_of_them_do_in_as_few_rounds_as_can_be(count):
    rng = random.Random(count)
    moves = [(rng.randrange(10), rng.randrange(10)) for _ in range(count)]
    rounds = join_moves(moves)
    assert len(rounds) == math.ceil(math.log2(count))
    for level in [moves, *rounds]:
        assert [run(t, level) for t in range(10)] == [run(t, moves) for t in range(10)]


def test_joined_moves_of_the_chapter_are_forty():
    """How many different moves arise by joining the chapter's own: the page says 40."""
    own = {(int(m[1:]), 0) if m[0] == "x" else (1, int(m[1:])) for m in chains.MOVES}
    found, new = set(own), set(own)
    while new:
        new = {join_moves([first, second])[-1][0] for first in found for second in own} - found
        found |= new
    assert len(found) == 40


@pytest.mark.parametrize("right, drawn", [(0, 7), (2, 7), (5, 8), (8, 8)])
def test_pass_at_k_is_the_share_of_choices_with_a_right_one(right, drawn):
    outputs = [True] * right + [False] * (drawn - right)
    shares = []
    for k in range(1, drawn + 1):
        choices = list(itertools.combinations(outputs, k))
        shares.append(sum(map(any, choices)) / len(choices))
    curve = pass_curve(torch.tensor([right]), drawn, drawn)
    torch.testing.assert_close(curve, torch.tensor(shares, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_pass_at_k_has_no_bias_and_the_simple_formula_has():
    chance, drawn, k = 0.3, 6, 3
    truth = 1 - (1 - chance) ** k
    counts = [math.comb(drawn, r) * chance**r * (1 - chance) ** (drawn - r) for r in range(drawn + 1)]
    mean = sum(p * pass_curve(torch.tensor([r]), drawn, k)[-1].item() for r, p in enumerate(counts))
    simple = sum(p * (1 - (1 - r / drawn) ** k) for r, p in enumerate(counts))
    assert mean == pytest.approx(truth, abs=1e-12) and abs(simple - truth) > 0.02


def test_a_vote_with_every_order_of_its_answers():
    for answers in itertools.product([None, 3, 3.0, 5, 0], repeat=4):
        given = [a for a in answers if a is not None]
        best = max((given.count(a) for a in given), default=0)
        expected = next((a for a in given if given.count(a) == best), None)
        assert vote(list(answers)) == expected


@pytest.mark.parametrize("layers", [1, 2])
def test_the_loss_is_that_of_transformers_and_the_budget_is_kept(layers):
    rng = random.Random(0)
    puzzles = [[chains.new_puzzle(rng, rng.randrange(1, 7)) for _ in range(5)] for _ in range(8)]
    batches = [chains.batch_of([(p.text, chains.written(p, "chain")) for p in row]) for row in puzzles]
    costs = list(itertools.accumulate(int(b["attention_mask"].sum()) for b in batches))
    model, twin = chains.new_model(1, layers), chains.new_model(1, layers)
    found = train_on_budget(model, torch.optim.SGD(model.parameters(), lr=0.1), iter(batches), costs[4] + 1)
    expected, optimizer = [], torch.optim.SGD(twin.parameters(), lr=0.1)
    for batch in batches[:5]:
        loss = twin(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        expected.append(loss.item())
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_model_that_reads_its_chain_follows_and_one_that_does_not_stays():
    rng, rows = random.Random(4), []
    for _ in range(300):
        moves = [(rng.randrange(10), rng.randrange(10)) for _ in range(rng.randrange(1, 6))]
        start, place = rng.randrange(10), rng.randrange(len(moves))
        wrong = (run(start, moves[: place + 1]) + rng.randrange(1, 10)) % 10
        reads, knows = run(wrong, moves[place + 1 :]), run(start, moves)
        rows.append(SimpleNamespace(puzzle=(start, moves), place=place, wrong=wrong, reads=reads, knows=knows))
    given = [[getattr(row, name) for row in rows] for name in ("puzzle", "place", "wrong")]
    assert faithfulness(*given, [row.reads for row in rows]) == (1.0, 0.0)
    assert faithfulness(*given, [row.knows for row in rows]) == (0.0, 1.0)
    assert any(row.reads == row.knows for row in rows), "some of them tell nothing"


@pytest.mark.parametrize("seed", range(100, 104))
def test_the_open_task_is_passed_with_room(seed):
    from autograder.chapters.c09_cot import choosing, rules

    labelled, new = choosing.world(seed)
    chosen = choose_answers(*labelled, new.answers, new.features)
    assert rules.measured(chosen, seed) > rules.BARS["chosen_by_all_that_is_known"] + 0.01


@pytest.mark.parametrize("seed", range(100, 104))
def test_each_bar_of_the_open_task_is_reached_by_what_stands_beside_it(seed):
    """A vote reaches the first one, as the page says, votes with weights the second, the best output by a score the third."""
    from autograder.chapters.c09_cot import choosing, rules

    weak = Reference("09_cot").mistake_functions("choose_answers")
    labelled, new = choosing.world(seed)
    reached = dict(zip(("plain_vote", "votes_with_weights", "best_single_output"), sorted(rules.BARS.values()), strict=False))
    for name, bar in reached.items():
        share = rules.measured(weak[name](*labelled, new.answers, new.features), seed)
        assert bar < share < rules.BARS["chosen_by_all_that_is_known"] - 0.01, name
