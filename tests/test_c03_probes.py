"""What chapter 03's checks say of answers that no list of mistakes can hold."""

import torch
import torch.nn.functional as F

from autograder.evidence import PUBLIC_SEEDS, collect
from autograder.exercise import find_exercise
from autograder.judging.judge import judge_evidence
from autograder.judging.reference import Reference

reference = Reference("03_reinforce")


def verdict_of(name: str, answer):
    return judge_evidence(name, collect(find_exercise(name), answer, PUBLIC_SEEDS), reference, PUBLIC_SEEDS)


def estimate(probs, rewards, actions):
    scores = F.one_hot(actions, probs.shape[1]) - probs[:, None]
    return (rewards.gather(1, actions)[..., None] * scores).mean(1) / len(probs)


def test_an_estimate_whose_scatter_agrees_with_anything_fails_and_is_told_so():
    def heavy_tails(logits, rewards, k, generator):
        return 1e3 * torch.tan(torch.pi * (torch.rand(logits.shape, generator=generator) - 0.5)) ** 3

    verdict = verdict_of("policy_gradient_estimate", heavy_tails)
    failed = {case.name: case for case in verdict.cases if not case.passed}
    assert set(failed) >= {"one_sample_a_prompt", "more_samples_than_answers", "rewards_far_from_zero"}
    assert not verdict.diagnoses
    for case in (failed[c.name] for c in find_exercise("policy_gradient_estimate").own_cases if c.name in failed):
        assert any("scatter far more" in difference.says for difference in case.differences), case


def test_an_answer_that_is_never_drawn_is_missed():
    def all_but_the_last(logits, rewards, k, generator):
        probs = logits.softmax(-1)
        return estimate(probs, rewards, torch.multinomial(probs[:, :-1], k, replacement=True, generator=generator))

    assert not verdict_of("policy_gradient_estimate", all_but_the_last).passed


def test_samples_in_pairs_are_not_independent():
    def in_pairs(logits, rewards, k, generator):
        probs = logits.softmax(-1)
        uniform = torch.rand(len(probs), (k + 1) // 2, generator=generator)
        uniform = torch.cat([uniform, 1 - uniform], dim=1)[:, :k]
        actions = torch.searchsorted(probs.cumsum(-1), uniform).clamp(max=probs.shape[1] - 1)
        return estimate(probs, rewards, actions)

    assert not verdict_of("policy_gradient_estimate", in_pairs).passed


def test_the_open_task_tells_what_was_measured_and_names_nothing():
    def nothing(logits, reward_of, k, generator):
        return torch.zeros_like(logits)

    def too_many(logits, reward_of, k, generator):
        return reward_of(torch.arange(5).expand(len(logits), -1)).sum(1, keepdim=True) * logits

    said = verdict_of("quiet_gradient", nothing)
    assert said.score == 0 and not said.diagnoses
    assert any("standard errors off" in d.says for d in said.cases[0].differences)
    assert "4 are allowed" in verdict_of("quiet_gradient", too_many).cases[0].problem


def test_the_bars_rise():
    plain = reference.mistake_functions("quiet_gradient")
    scores = [
        verdict_of("quiet_gradient", answer).score
        for answer in (
            plain["quiet_plain_samples"],
            plain["quiet_leave_one_out"],
            plain["quiet_likeliest_two_for_certain"],
            reference.functions["quiet_gradient"],
        )
    ]
    assert scores == sorted(scores) and scores[0] == 0 and scores[-1] == 1 and len(set(scores)) == 4


def test_a_library_whose_kl_is_infinite_at_probability_zero_is_right_all_the_same():
    def with_distributions(logits, ref_logits, rewards, beta):
        policy, start = (torch.distributions.Categorical(logits=x) for x in (logits, ref_logits))
        return ((policy.probs * rewards).sum(-1) - beta * torch.distributions.kl_divergence(policy, start)).mean()

    assert verdict_of("exact_objective", with_distributions).passed
