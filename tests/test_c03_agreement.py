"""Chapter 03's functions agree with closed forms, second derivations, torch.distributions and trl, to 1e-5."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.judging.reference import Reference

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
FAST = settings(max_examples=25, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10**6)

functions = Reference("03_reinforce").functions


def world(seed: int, prompts: int = 3, answers: int = 7) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(prompts, answers, generator=g, dtype=torch.float64) for _ in range(3))


@FAST
@given(seed=SEEDS, beta=st.floats(0, 3))
def test_objective_is_that_of_torch_distributions(seed, beta):
    logits, ref_logits, rewards = world(seed)
    policy, reference = (torch.distributions.Categorical(logits=x) for x in (logits, ref_logits))
    expected = (policy.probs * rewards).sum(-1) - beta * torch.distributions.kl_divergence(policy, reference)
    torch.testing.assert_close(
        functions["exact_objective"](logits, ref_logits, rewards, beta), expected.mean(), **CLOSE
    )


def test_kl_of_two_three_way_distributions_by_hand():
    """0.7 log(0.7/0.2) + 0.2 log(0.2/0.5) + 0.1 log(0.1/0.3) = 0.5839, and J = -beta times it where nothing is paid."""
    policy, reference = torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([[0.2, 0.5, 0.3]]).log()
    kl = 0.7 * math.log(3.5) + 0.2 * math.log(0.4) + 0.1 * math.log(1 / 3)
    assert functions["exact_objective"](policy, reference, torch.zeros(1, 3), 2.0).item() == pytest.approx(
        -2 * kl, abs=1e-6
    )
    k3 = functions["kl_estimate"](policy, reference)[0].double()
    probs = policy.exp()[0].double()
    assert (probs @ k3).item() == pytest.approx(kl, abs=1e-6) and (k3 >= 0).all()


@FAST
@given(seed=SEEDS, beta=st.floats(0, 3))
def test_score_function_gradient_is_autograd_of_the_objective(seed, beta):
    logits, ref_logits, rewards = world(seed)
    logits.requires_grad_()
    functions["exact_objective"](logits, ref_logits, rewards, beta).backward()
    log_ratio = logits.detach().log_softmax(-1) - ref_logits.log_softmax(-1)
    ours = functions["score_function_gradient"](logits.detach(), rewards - beta * log_ratio)
    torch.testing.assert_close(ours, logits.grad, **CLOSE)


@FAST
@given(seed=SEEDS, k=st.integers(1, 9))
def test_gradient_of_the_loss_is_minus_the_estimate(seed, k):
    """The same samples: the estimator's own draws are repeated with the same generator."""
    logits, _, rewards = world(seed)
    estimate = functions["policy_gradient_estimate"](logits, rewards, k, torch.Generator().manual_seed(seed))
    actions = torch.multinomial(logits.softmax(-1), k, replacement=True, generator=torch.Generator().manual_seed(seed))
    theta = logits.clone().requires_grad_()
    logps = theta.log_softmax(-1).gather(1, actions).reshape(-1, 1)
    functions["reinforce_loss"](logps, rewards.gather(1, actions).flatten(), torch.ones_like(logps)).backward()
    torch.testing.assert_close(theta.grad, -estimate, **CLOSE)


@FAST
@given(seed=SEEDS)
def test_estimate_is_exact_over_all_pairs_of_samples(seed):
    """The leave-one-out loss of every possible pair of answers, weighted by its probability: the exact gradient."""
    logits, ref_logits, rewards = world(seed, prompts=1, answers=4)
    theta = logits.clone().requires_grad_()
    probs, beta = logits.softmax(-1)[0], 0.7
    total = torch.zeros((), dtype=torch.float64)
    for a in range(4):
        for b in range(4):
            logps, ref_logps = (x.log_softmax(-1)[:, [a, b]][..., None] for x in (theta, ref_logits))
            loss = functions["policy_loss"](logps, ref_logps, rewards[:, [a, b]], torch.ones_like(logps), beta)
            total = total + (probs[a] * probs[b]).detach() * loss
    total.backward()
    exact = logits.clone().requires_grad_()
    functions["exact_objective"](exact, ref_logits, rewards, beta).backward()
    torch.testing.assert_close(theta.grad, -exact.grad, **CLOSE)


@FAST
@given(seed=SEEDS, k=st.integers(2, 9))
def test_leave_one_out_is_the_unbiased_form_of_the_group_mean(seed, k):
    rewards = torch.randn(3, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    centred = rewards - rewards.mean(1, keepdim=True)
    torch.testing.assert_close(functions["leave_one_out_advantages"](rewards), k / (k - 1) * centred, **CLOSE)


@FAST
@given(seed=SEEDS, beta=st.floats(0.1, 5))
def test_optimum_is_worth_beta_log_z_and_nothing_is_worth_more(seed, beta):
    logits, ref_logits, rewards = world(seed)
    probs, log_z = functions["optimal_policy"](ref_logits.log_softmax(-1), rewards, beta)
    best = functions["exact_objective"](probs.log(), ref_logits, rewards, beta)
    torch.testing.assert_close(best, beta * log_z.mean(), **CLOSE)
    assert functions["exact_objective"](logits, ref_logits, rewards, beta) <= best + 1e-9
    logps = logits.log_softmax(-1)
    gap = (logps.exp() * (logps - probs.log())).sum(-1)  # KL(policy || optimum) of each prompt
    torch.testing.assert_close(
        functions["exact_objective"](logits, ref_logits, rewards, beta), best - beta * gap.mean(), **CLOSE
    )


@FAST
@given(seed=SEEDS)
def test_shaped_rewards_at_the_optimum_are_constant(seed):
    _, ref_logits, rewards = world(seed)
    probs, log_z = functions["optimal_policy"](ref_logits.log_softmax(-1), rewards, 0.8)
    shaped = rewards - 0.8 * (probs.log() - ref_logits.log_softmax(-1))
    torch.testing.assert_close(shaped, (0.8 * log_z)[:, None].expand_as(shaped), **CLOSE)


def test_the_loop_learns_a_table_whose_optimum_is_known():
    """Reference loop and reference loss, from samples alone: the table comes close to the closed form."""
    from course.listed import TablePolicy, listed_world, total_variation

    world, generator = listed_world(), torch.Generator().manual_seed(0)
    policy = TablePolicy(world.ref_logps)
    best, _ = functions["optimal_policy"](world.ref_logps, world.utilities, 1.0)

    def sample():
        drawn = torch.multinomial(policy.logits.detach().softmax(-1), 16, replacement=True, generator=generator)
        logps = policy.logits.log_softmax(-1).gather(1, drawn)[..., None]
        return logps, world.ref_logps.gather(1, drawn)[..., None], world.utilities.gather(1, drawn), torch.ones_like(logps)

    optimizer = torch.optim.Adam(policy.parameters())
    loss_of = lambda *batch: functions["policy_loss"](*batch, 1.0)  # noqa: E731
    earned = functions["train_on_reward"](policy, optimizer, sample, loss_of, [0.05] * 200 + [0.01] * 100)
    assert len(earned) == 300 and total_variation(policy.logits.detach().softmax(-1), best) < 0.1


def test_leave_one_outs_own_error_is_what_the_open_task_takes_for_its_unit():
    import numpy as np

    from autograder.chapters.c03_reinforce.rules import _leave_one_out_variance
    from course.listed import many_estimates

    g = torch.Generator().manual_seed(3)
    logits, rewards = torch.randn(1, 10, generator=g), 4 + 2 * torch.randn(1, 10, generator=g)
    estimates = many_estimates(logits, rewards, 4, functions["leave_one_out_advantages"], n=40_000)
    unit = _leave_one_out_variance(*(np.asarray(x.double()) for x in (logits.softmax(-1), rewards)), 4)
    assert estimates.var(0).sum().item() == pytest.approx(unit.item(), rel=0.04)


def test_log_probabilities_are_those_of_trl_and_of_generation():
    """On the nano model: trl's selective_log_softmax, and the scores that transformers' generate reports."""
    from trl.trainer.utils import selective_log_softmax

    from course.data import load_tokenizer
    from course.models import load_nano

    tokenizer, model = load_tokenizer(), load_nano("sft")
    end, pad = tokenizer.get_vocab()["<end>"], tokenizer.pad_token_id
    texts = [f"<bos> <user> {q} <end> <assistant>" for q in ("what is 3 plus 4 ?", "what is the capital of arlen ?")]
    rows = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    ids, attention_mask = rows.input_ids, rows.attention_mask
    torch.manual_seed(0)
    said = model.generate(
        ids, attention_mask=attention_mask, do_sample=True, top_k=0, max_new_tokens=20, eos_token_id=end, pad_token_id=pad,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    tokens = said.sequences[:, ids.shape[1] :]
    mask = functions["answer_mask"](tokens, end)
    with torch.no_grad():
        ours = functions["rollout_logps"](model, ids, attention_mask, tokens, mask)
        joined = torch.cat([attention_mask, torch.ones_like(tokens)], dim=1)
        logits = model(torch.cat([ids, tokens], dim=1), attention_mask=joined).logits[:, ids.shape[1] - 1 : -1]
    torch.testing.assert_close(ours, selective_log_softmax(logits, tokens) * mask, rtol=1e-5, atol=1e-5)
    generated = torch.stack(said.logits, dim=1).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
    torch.testing.assert_close(ours, generated * mask, rtol=1e-4, atol=1e-4)
