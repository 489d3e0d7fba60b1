"""The puzzle world that chapter 10 learns from: what its people write, and what a model of it gets."""

import random
from collections import Counter

import pytest
import torch

from course import puzzles


def test_a_puzzles_truth_is_its_last_total():
    rng = random.Random(0)
    for _ in range(200):
        asked = puzzles.puzzle(rng)
        start, *moves = asked.text.removesuffix(" =").split()
        assert asked.truth == (int(start) + sum(map(int, moves))) % 10
        assert puzzles.totals(asked.text)[-1] == str(asked.truth) and len(moves) == puzzles.LENGTH


def test_people_slip_as_often_as_is_said():
    rng, slips, written = random.Random(1), 0, 0
    for _ in range(2000):
        asked = puzzles.puzzle(rng)
        start, *moves = asked.text.removesuffix(" =").split()
        found = puzzles.totals(asked.text, rng, puzzles.SLIP)
        for before, move, after in zip([start, *found], moves, found, strict=False):
            slips += (int(before) + int(move) - int(after)) % 10 != 0
            written += 1
    assert slips / written == pytest.approx(puzzles.SLIP, abs=0.012)


def test_documents_are_of_the_kinds_that_are_listed():
    rng, found = random.Random(2), Counter()
    for _ in range(4000):
        rest = puzzles.document(rng).partition(" = ")[2]
        first, last = rest.split()[0], rest.split()[-1]
        kind = {";": "work sheet", "<answer>": "answer at once", "<think>": "thought and answer"}.get(first, "bare answer")
        found["thought, bare answer" if kind == "thought and answer" and last != "</answer>" else kind] += 1
    for kind, share in puzzles.SHARES.items():
        assert found[kind] / 4000 == pytest.approx(share, abs=0.025), kind


def test_texts_come_back_from_their_tokens():
    texts = ["7 +2 -3 =", "1 +1 ="]
    for side in ("left", "right"):
        ids, mask = puzzles.encoded(texts, side)
        assert ids.shape == (2, 5) and mask.sum(1).tolist() == [5, 4] and (ids[:, 0] == puzzles.BOS).tolist()[0]
    tokens = torch.tensor([[puzzles.IDS[w] for w in "<think> 9 </think>".split()] + [puzzles.END, puzzles.PAD]])
    assert puzzles.words_of(tokens, torch.tensor([[1, 1, 1, 1, 0]])) == ["<think> 9 </think>"]
    text = "7 +2 = <think>"
    assert puzzles.tokenizer()(text, add_special_tokens=False).input_ids == [puzzles.IDS[w] for w in text.split()]


def test_only_the_answer_is_learned_from_where_a_question_was_asked():
    model = puzzles.new_model(0)
    before = [p.detach().clone() for p in model.parameters()]
    losses = puzzles.fit(model, lambda rng: ("7 +1 =", "8"), 3, 2, 1e-3, 0, asked=True)
    assert len(losses) == 3 and any(not torch.equal(b, p) for b, p in zip(before, model.parameters(), strict=True))
