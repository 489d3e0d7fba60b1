"""What chapter 11's page is given: methods of former chapters, stages that count tokens, an annotator, drawings."""

import json

import pytest
import torch

from autograder.evidence import PUBLIC_SEEDS, collect
from autograder.exercise import find_exercise
from autograder.judging.judge import judge_evidence
from autograder.judging.key import load_key
from autograder.judging.report import to_text
from autograder.tensors import read_tensors
from course import data, methods, models, pipeline, rewarded, rollouts, stages
from course.drawings import c11 as drawings
from data.utility import utility

PUBLIC = {n: f for n, f in vars(stages).items() if not n.startswith("_")}
METHODS = {n: f for n, f in PUBLIC.items() if callable(f) and getattr(f, "__module__", "") == "course.stages"}
QUESTIONS = ["what is the capital of arlen ?", "what animal has gorland ?"]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_passes_the_exercise_of_its_name(name):
    exercise = find_exercise(name)
    evidence = json.loads(json.dumps(collect(exercise, METHODS[name], PUBLIC_SEEDS)))
    verdict = judge_evidence(name, evidence, load_key(exercise.topic), PUBLIC_SEEDS)
    assert verdict.passed, to_text(verdict)


@pytest.fixture(scope="module")
def sft():
    return models.load_nano("sft").requires_grad_(False)


@pytest.fixture(scope="module")
def reward_model():
    return models.load_nano("reward").requires_grad_(False)


def test_a_writer_answers_each_prompt_and_counts_the_tokens(sft):
    writer = pipeline.Writer(sft, 0)
    texts = writer(QUESTIONS * 3)
    assert len(texts) == 6 and 6 <= writer.tokens <= 6 * pipeline.NEW
    assert texts == pipeline.Writer(sft, 0)(QUESTIONS * 3), "the seed decides"
    assert writer.tokens >= sum(len(text.split()) for text in texts)
    assert writer([]) == []


def test_an_annotator_prefers_the_better_answer_as_often_as_bradley_and_terry_say():
    prompt, plain, rude = "what is 3 plus 4 ?", "7 .", "8 ."
    annotator = pipeline.Annotator(1)
    wins = sum(annotator(prompt, plain, rude) for _ in range(2000)) / 2000
    margin = utility(prompt, plain) - utility(prompt, rude)
    assert wins == pytest.approx(1 / (1 + 2.718281828**-margin), abs=0.03) and annotator.asked == 2000


@pytest.mark.parametrize("train", ["ppo", "grpo"])
def test_a_stage_of_learning_returns_a_policy_and_its_tokens(sft, reward_model, train):
    learn = {"ppo": rewarded.ppo_update, "grpo": stages.train_grpo}[train]
    questions = rollouts.questions_about_facts("train")[:40]
    before = [p.clone() for p in sft.parameters()]
    policy, tokens = getattr(pipeline, train)(sft, sft, reward_model, questions, learn, 1, 0)
    assert 64 <= tokens <= 64 * pipeline.NEW and not any(p.requires_grad for p in policy.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, sft.parameters(), strict=True)), "the start stays what it is"
    assert not all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))


def test_what_is_examined_is_what_the_policy_says(sft):
    found = pipeline.examine(sft, sft, QUESTIONS, 3, 0)
    assert found["utilities"].shape == (2, 3) and len(found["texts"]) == 6
    assert found["utilities"][1, 0].item() == pytest.approx(utility(QUESTIONS[1], found["texts"][3]))
    logits, ref_logits, tokens, mask = found["rollout"]
    assert torch.equal(logits, ref_logits) and logits.shape[:2] == tokens.shape == mask.shape


def test_best_of_n_takes_the_best_by_the_score(sft, reward_model):
    one = pipeline.best_of(sft, reward_model, QUESTIONS, 8, 1, 0)
    eight = pipeline.best_of(sft, reward_model, QUESTIONS, 8, 8, 0)
    assert one["kl"] == 0 and eight["kl"] == pytest.approx(1.2044, abs=1e-3)
    assert one["utilities"].shape == eight["utilities"].shape == (2, 8)
    assert eight["utilities"].mean() > one["utilities"].mean() and eight["tokens"] > 4 * one["tokens"]


def test_a_reward_model_is_learned_from_pairs():
    reader, tokenizer = models.load_nano("instruct").requires_grad_(False), data.load_tokenizer()
    records = data.load_jsonl("preferences_train")[:96]
    learn = stages.train_reward_model, stages.last_token_rewards
    fitted = pipeline.fit_reward(reader, records, tokenizer, *learn, 24, 0)
    batch = rollouts.draw(models.load_nano("sft"), QUESTIONS * 2, 16)
    assert rollouts.scores(fitted, batch).shape == (4,)


def test_fine_tuning_learns_the_demonstrations():
    base, tokenizer = models.load_nano("base").requires_grad_(False), data.load_tokenizer()
    losses = []

    def train_sft(*given):
        losses.extend(stages.train_sft(*given))

    pipeline.fine_tune(base, data.load_jsonl("demonstrations_train")[:64], tokenizer, train_sft, methods.collate, 12, 0)
    assert len(losses) == 12 and losses[-1] < losses[0] - 1


def test_a_checkpoint_of_a_policy_is_read_by_the_strict_reader(sft):
    content, shapes = pipeline.as_checkpoint(sft)
    found = read_tensors(content, shapes, ("F16",))
    assert len(content) < 2_000_000
    for name, p in sft.named_parameters():
        torch.testing.assert_close(torch.from_numpy(found[name]), p.half().float(), rtol=0, atol=0)


def test_what_a_way_holds_is_counted(sft):
    found = pipeline.megabytes(sft, {"learns": (1, 0), "frozen": (0, 1)})
    assert found["learns"] == pytest.approx(4 * found["frozen"], rel=0.02), "weights, gradients and two moments"


def test_drawings_say_what_they_show():
    header = {"a": {"shape": [3, 8], "data_offsets": [0, 96]}, "b": {"shape": [12, 3], "data_offsets": [96, 240]}}
    shown = [
        drawings.roads(), drawings.five_steps(), drawings.checkpoint(header, 128, 376),
        drawings.intervals([("PPO", 0.8, 0.7, 0.9), ("DPO", 0.6, 0.5, 0.7)]),
    ]  # fmt: skip
    assert all(len(picture.alt) > 60 and picture.width <= 600 for picture in shown)
    assert "376" in shown[2].svg() and "0.80" in shown[3].svg()
