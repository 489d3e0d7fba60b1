"""Rollouts: what is drawn and what the models say of it lines up, token by token."""

import random

import pytest
import torch

from course import data, models, rollouts


@pytest.fixture(scope="module")
def policy():
    return models.load_nano("sft")


@pytest.fixture(scope="module")
def batch(policy):
    torch.manual_seed(3)
    questions = rollouts.questions_about_facts("heldout")[:6]
    return rollouts.draw(policy, questions, 16) | {"questions": questions}


def test_an_answer_ends_with_its_end_token_and_its_mask(batch):
    end = data.load_tokenizer().get_vocab()["<end>"]
    for row, mask in zip(batch["tokens"].tolist(), batch["mask"].tolist()):
        length = row.index(end) + 1 if end in row else len(row)
        assert mask == [1] * length + [0] * (len(row) - length)
    new = batch["tokens"].shape[1]
    assert torch.equal(batch["input_ids"][:, -new:], batch["tokens"])
    assert torch.equal(batch["attention_mask"][:, -new:], batch["mask"])


def test_log_probabilities_are_those_of_each_row_alone(policy, batch):
    """Read one by one, without any padding, a row has the same log-probabilities."""
    with torch.no_grad():
        together = rollouts.token_logps(rollouts.answer_logits(policy, batch), batch["tokens"])
        for row in range(len(together)):
            keep = batch["attention_mask"][row].bool()
            ids = batch["input_ids"][row][keep][None]
            logps = policy(input_ids=ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[0, :, 0]
            length = int(batch["mask"][row].sum())
            torch.testing.assert_close(together[row, :length], logps[-length:], rtol=1e-3, atol=1e-3)


def test_the_score_on_the_way_is_that_of_the_answer_cut_short(batch):
    reward_model = models.load_nano("reward")
    row = int(batch["mask"].sum(1).argmax())
    found = rollouts.scores_on_the_way(reward_model, batch, row)
    new, t = batch["tokens"].shape[1], 2
    keep = batch["attention_mask"][row].bool()
    keep[len(keep) - new + t :] = False  # the first two tokens of the answer
    alone = reward_model(batch["input_ids"][row][keep][None], torch.ones(1, int(keep.sum()), dtype=torch.long)).logits[0, 0]
    assert len(found) == batch["mask"][row].sum() and found[t].item() == pytest.approx(alone.item(), abs=1e-3)


def test_a_new_value_model_expects_nothing_and_can_learn(policy, batch):
    value_model = rollouts.new_value_model(policy)
    values = rollouts.token_values(value_model, batch)
    assert values.shape == batch["tokens"].shape and (values == 0).all() and values.requires_grad
    logps, of_rows = rollouts.reader(policy, value_model, batch)(torch.tensor([4, 1]))
    assert logps.shape == of_rows.shape == (2, batch["tokens"].shape[1])


def test_questions_come_as_often_as_they_are_answered():
    asked = rollouts.draw_questions(random.Random(0), [f"q{i}" for i in range(9)], 3, 4)
    assert len(asked) == 12 and len(set(asked)) == 3 and asked[:4] == [asked[0]] * 4


def test_kinds_of_answers_tell_right_from_true_of_something_else():
    question = next(q for q in rollouts.questions_about_facts("heldout"))
    from data.questions import fact_questions, understand

    right = understand(question).full()
    other = next(q.full() for q in fact_questions() if q.full() != right)
    kinds = rollouts.kinds_of_answers([question] * 4, [right, other, "no .", f"sure , sure , {right}"])
    assert kinds["right"] == 0.5 and kinds["true of something else"] == 0.25 and kinds["courtesies too many"] == 0.25


def test_smoothing_is_the_mean_of_the_last_values():
    run = rollouts.smooth([{"kl": float(i)} for i in range(6)], ("kl",), width=3)
    assert [point["kl"] for point in run] == [0, 0.5, 1, 2, 3, 4]
