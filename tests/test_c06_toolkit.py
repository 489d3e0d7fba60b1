"""What chapter 06's pages are given: pairs as rows, drawn labels, curves read at one KL, win rates, drawings."""

import pytest
import torch

from course import data, listed, methods, pairs, rewarded
from course.drawings import c06 as drawings


def test_an_example_supervises_the_answer_and_its_end_mark():
    tokenizer = data.load_tokenizer()
    record = {"prompt": "what is 3 plus 4 ?", "chosen": "7 .", "rejected": "sure , 7 ."}
    ((ids, labels),) = pairs.examples([record], "rejected", tokenizer)
    words = tokenizer.convert_ids_to_tokens(ids)
    assert words == "<bos> <user> what is 3 plus 4 ? <end> <assistant> sure , 7 . <end>".split()
    assert [w for w, label in zip(words, labels, strict=True) if label != -100] == "sure , 7 . <end>".split()
    assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))


def test_drawn_labels_are_as_frequent_as_they_are_probable():
    world = listed.listed_world()
    wins = pairs.drawn_wins(world.ref_logps, world.utilities, 60_000, seed=3)
    assert wins.shape == (3, 32, 32) and wins.sum() == 60_000
    assert wins.sum((1, 2)).tolist() == [20_000] * 3, "prompts come equally often"
    games = wins[0] + wins[0].T
    i, j = divmod(int(games.fill_diagonal_(0).argmax()), 32)
    expected = torch.sigmoid(world.utilities[0, i] - world.utilities[0, j]).item()
    assert wins[0, i, j].item() / games[i, j].item() == pytest.approx(expected, abs=0.12)
    assert torch.equal(wins, pairs.drawn_wins(world.ref_logps, world.utilities, 60_000, seed=3))


def test_descent_arrives_where_a_loss_is_lowest():
    aim = torch.tensor([[0.1, 0.2, 0.7]])
    found = pairs.descend(lambda logps: -(aim * logps).sum(), torch.zeros(1, 3))
    torch.testing.assert_close(found.exp(), aim, rtol=0, atol=1e-3)


def test_a_win_counts_one_and_a_tie_one_half():
    assert pairs.win_rate([3.0, 1.0, 2.0, 0.0], [1.0, 1.0, 5.0, -1.0]) == 2.5 / 4


def test_curves_are_compared_at_the_largest_kl_that_all_of_them_reach():
    points = lambda *rows: [{"kl": kl, "utility": u} for kl, u in rows]  # noqa: E731
    first = [points((0, 1), (2, 3), (4, 9)), points((0, 1), (1, 5), (3, 7))]
    second = [points((0, 0), (2, 2))]
    assert pairs.utility_at(first, second) == {"kl": 2, "first": 4.5, "second": 2}  # 3 and 6; straight lines between


def test_best_of_n_goes_up_and_away():
    from course import models

    torch.manual_seed(0)
    reference, reward_model = models.load_nano("sft"), models.load_nano("reward")
    kl, utility = pairs.best_of_n(
        reference, reward_model, ["what is the capital of arlen ?"], (1, 4), methods.best_of_n_probs, drawn=64
    )
    assert kl[0] == pytest.approx(0, abs=1e-6) and 0 < kl[1] < 1.4 and utility[1] > utility[0]


def test_ppo_calls_the_update_that_it_is_given():
    from course import models

    reference, reward_model = (models.load_nano(name).requires_grad_(False) for name in ("sft", "reward"))
    seen, updates = [], []

    def update(evaluate, batch, minibatches, optimizer, **settings):
        seen.append((sorted(batch), settings["beta"], sum(map(len, minibatches))))
        return rewarded.ppo_update(evaluate, batch, minibatches, optimizer, **settings)

    questions = ["what is the capital of arlen ?"] * 16
    pairs.train_ppo(reference, reward_model, questions, update, 1, 0, lambda policy, i: updates.append(i))
    ((names, beta, rows),) = seen
    assert {"scores", "logps", "ref_logps", "values", "mask"} <= set(names) and beta == 0.1 and rows == 64 and updates == [0]


def test_drawings_say_what_they_show():
    shown = [
        drawings.two_roads(),
        drawings.reward_inside(["torvik .", "velm ."], [3.0, 0.0], [1.0, -2.0], 2.0),
        drawings.pair_in_a_batch([(["<bos>", "hi", "."], [-100, 5, 6], "chosen"), (["<bos>", "no"], [-100, 7], "rejected")]),
    ]
    assert all(len(picture.alt) > 60 and picture.width <= 600 for picture in shown)
    assert "2.00" in shown[1].svg() and "1 tokens of the prompt" in shown[2].svg()
