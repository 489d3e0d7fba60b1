"""The worlds that chapter 09 measures in: puzzles that are held out, people who slip, word problems whose steps are right."""

import random
import re
import subprocess
import sys

import pytest
import torch

from autograder.judging.reference import ROOT, Reference
from course import chains, word_problems

extract_answer = Reference("09_cot").functions["extract_answer"]


def test_every_move_can_be_undone_so_that_all_answers_are_equally_likely():
    for move in chains.MOVES:
        assert sorted(chains.moved(t, move) for t in range(10)) == list(range(10))


def test_totals_are_what_the_moves_say():
    rng = random.Random(0)
    for depth in range(1, chains.BOXES + 1):
        puzzle = chains.new_puzzle(rng, depth)
        now = puzzle.start
        for move, total in zip(puzzle.moves, puzzle.totals, strict=True):
            now = eval(f"{now} {move.replace('x', '*')}") % 10
            assert now == total
        assert puzzle.truth == now and len(puzzle.text.split()) == chains.BOXES + 2


def test_what_is_practised_and_what_is_tested_are_disjoint():
    rng = random.Random(1)
    for depth in range(2, chains.BOXES + 1):
        practised = {chains.new_puzzle(rng, depth).text for _ in range(2000)}
        tested = {chains.new_puzzle(rng, depth, test=True).text for _ in range(500)}
        assert not practised & tested
    shares = [chains.held_out(chains.Puzzle(rng.randrange(10), tuple(rng.choices(chains.MOVES, k=4)))) for _ in range(4000)]
    assert sum(shares) / 4000 == pytest.approx(1 / chains.HELD_OUT, abs=0.03)


def test_what_is_held_out_is_the_same_in_every_process():
    program = "from course import chains; print([chains.held_out(chains.Puzzle(3, ('+1', m, 'x7'))) for m in chains.MOVES])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str([chains.held_out(chains.Puzzle(3, ("+1", m, "x7"))) for m in chains.MOVES])


@pytest.mark.parametrize("form", chains.FORMS)
def test_only_what_stands_behind_the_question_is_learned(form):
    puzzle = chains.Puzzle(3, ("+4", "x7"))
    batch = chains.batch_of([(puzzle.text, chains.written(puzzle, form)), ("1 =", "# 1")])
    learned = batch["input_ids"][0][batch["labels"][0] != -100]
    assert chains.words_of(learned[None]) == [chains.written(puzzle, form)] and learned[-1] == chains.END
    assert chains.answer_in(chains.words_of(learned[None])[0]) == puzzle.truth == 9
    assert (batch["labels"][1] != -100).sum() == 3, "and nothing on padding"
    assert len(chains.written(puzzle, "dots").split()) == len(chains.written(puzzle, "chain").split())


def test_people_slip_and_believe_as_often_as_is_said():
    rng, slips, beliefs, steps, met = random.Random(2), 0, 0, 0, 0
    for _ in range(3000):
        puzzle = chains.puzzle_with_the_belief(rng, 5, meets=bool(rng.randrange(2)))
        now = puzzle.start
        for move, total in zip(puzzle.moves, chains.peoples_totals(puzzle, rng, 0.08, 0.75), strict=True):
            if (now, move) == chains.BELIEF[:2]:
                met, beliefs = met + 1, beliefs + (total == chains.BELIEF[2])
            else:
                steps, slips = steps + 1, slips + (total != chains.moved(now, move))
            now = total
    assert slips / steps == pytest.approx(0.08, abs=0.01)
    assert beliefs / met == pytest.approx(0.75, abs=0.04)
    assert chains.moved(*chains.BELIEF[:2]) != chains.BELIEF[2]


def test_the_interval_of_a_share_is_that_of_a_textbook():
    low, high = chains.wilson(10, 20)
    assert (low, high) == (pytest.approx(0.2993, abs=1e-3), pytest.approx(0.7007, abs=1e-3))
    assert chains.wilson(0, 20)[0] == 0.0 and chains.wilson(20, 20)[1] == 1.0
    low, high = chains.paired_interval([False] * 30, [True] * 15 + [False] * 15, seed=0)
    assert 0.25 < low < 0.5 < high < 0.75


def test_the_steps_of_word_problems_are_right_and_lead_to_the_answer():
    for problem in [word_problems.apples(), *word_problems.problems(60, 5)]:
        for step in problem.steps:
            left, _, right = re.search(r"([\d+*\- ]+)(=) (\d+)", step).groups()
            assert eval(left) == int(right), step
        assert extract_answer(problem.steps[-1]) == problem.answer > 0
        assert extract_answer(f"{' '.join(problem.steps)} The answer is {problem.answer:g}.") == problem.answer


def test_the_often_used_example_is_the_first_one():
    apples = word_problems.apples()
    assert apples.answer == 8 and [extract_answer(step) for step in apples.steps] == [5, 8]


def test_sums_are_found_and_checked():
    texts = ["2 + 3 = 5, and 4 * 5 = 21.", "7 - 9 = -2\nQuestion: 1 + 1 = 3", "none"]
    assert word_problems.sums_in(texts) == [True, False, True]


def test_a_row_of_gsm8k_is_read():
    row = {"question": "How  many?", "answer": "She has 4*3=<<4*3=12>>12 eggs\nThat is 1,200 in all.\n#### 1,200"}
    problem = word_problems.from_gsm8k(row)
    assert problem == word_problems.Problem("How many?", ("She has 4*3=12 eggs.", "That is 1,200 in all."), 1200.0)


def test_a_new_model_does_not_touch_the_global_random_state():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first, second = chains.new_model(3), chains.new_model(3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
