"""What chapter 04 takes from the toolkit: rows of tokens, batches, prices, a tournament; and its drawings."""

import re
from collections import Counter

import pytest
import torch

from course import comparisons, data
from course.drawings import c04 as drawings


@pytest.fixture(scope="module")
def rows_of():
    return comparisons.Rows(data.load_tokenizer(), "cpu")


@pytest.fixture(scope="module")
def heldout():
    return comparisons.load(more_sets=0)[1]


TEXTS = [("what food has jorsk ?", "cheese ."), ("what food has jorsk ?", "of course , the food of jorsk is cheese .")]


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_hold_the_words_and_the_mask_says_where(rows_of, side):
    rows = rows_of(TEXTS, side=side)
    assert rows["input_ids"].shape == rows["attention_mask"].shape
    for text, ids, mask in zip(TEXTS, rows["input_ids"], rows["attention_mask"], strict=True):
        assert [rows_of.word_id[word] for word in rows_of.words(text)] == ids[mask == 1].tolist()
        assert mask[0 if side == "right" else -1] == 1 and (ids[mask == 0] == rows_of.pad_id).all()


def test_rows_are_those_of_the_chat_template(rows_of):
    chat = [{"role": "user", "content": TEXTS[1][0]}, {"role": "assistant", "content": TEXTS[1][1]}]
    expected = data.load_tokenizer().apply_chat_template(chat, return_dict=False)
    assert rows_of(TEXTS[1:])["input_ids"][0].tolist() == list(expected)


def test_rows_that_are_too_long_are_cut_at_their_end(rows_of):
    assert rows_of(TEXTS, longest=9)["input_ids"].shape == (2, 9)
    assert (rows_of(TEXTS, longest=9)["input_ids"] == rows_of(TEXTS)["input_ids"][:, :9]).all()


@pytest.mark.parametrize("lengths", [None, [i * 7 % 13 for i in range(100)]])
def test_an_epoch_has_each_number_once(lengths):
    batches = list(comparisons.epochs(100, 10, 25, 0, lengths))
    assert all(len(batch) == 10 for batch in batches) and len(batches) == 25
    assert Counter(number for batch in batches[:10] for number in batch) == Counter(range(100))
    assert batches == list(comparisons.epochs(100, 10, 25, 0, lengths)) != list(comparisons.epochs(100, 10, 25, 1, lengths))


def test_batches_of_similar_length():
    lengths = [i * 7 % 50 for i in range(400)]
    spread = lambda batches: sum(max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches)  # noqa: E731
    assert 4 * spread(comparisons.epochs(400, 10, 40, 0, lengths)) < spread(comparisons.epochs(400, 10, 40, 0))


def test_fewer_than_a_batch_are_one_batch():
    assert [sorted(batch) for batch in comparisons.epochs(3, 10, 2, 0)] == [[0, 1, 2]] * 2


def test_the_truth_pays_the_true_prices(heldout):
    chosen, rejected = ([(r["prompt"], r[k]) for r in heldout] for k in ("chosen", "rejected"))
    effect = torch.tensor([r["utility_chosen"] - r["utility_rejected"] for r in heldout])
    found = comparisons.prices(chosen, rejected, effect)
    for name, price in zip(comparisons.PAID_FOR, (3.0, 1.2, 1.0, -0.9), strict=True):
        assert abs(found[name] - price) < 0.3, f"{name}: {found[name]}"  # length, which is paid for as well, is left out
    assert set(comparisons.difference([*chosen, *rejected], "being right").tolist()) == {-1.0, 0.0, 1.0}


def test_a_tournament_counts_every_game():
    wins = comparisons.tournament(torch.tensor([-1.0, 0.0, 2.0]), 50, seed=0)
    assert (wins.diagonal() == 0).all() and ((wins + wins.T)[~torch.eye(3, dtype=torch.bool)] == 50).all()
    assert wins[2, 0] > 30 and wins.min() == 0 and (wins + torch.eye(3)).min() >= 1


def test_drawings_say_what_they_show_and_are_legible():
    bins = torch.tensor([0.1, float("nan"), 0.9])
    shown = [
        drawings.pair_through_one_model("what food ?", "bread .", "of course , the food of jorsk is cheese .", (1.0, 2.0), 0.3),
        drawings.constant_that_cancels([("a ?", (0.0, 1.0)), ("b ?", (2.0, -1.0))], (3.0, -2.0)),
        drawings.where_the_score_is_read([["a", "<end>", "<pad>"]], [[1, 1, 0]], ["on the right"]),
        drawings.calibration_in_bins(bins, bins, torch.tensor([3, 0, 4])),
    ]
    for drawing in shown:
        assert drawing.width <= 600 and len(drawing.alt) > 40 and "nan" not in drawing.svg()
        assert min(int(size) for size in re.findall(r'font-size="(\d+)"', drawing.svg())) >= 12
