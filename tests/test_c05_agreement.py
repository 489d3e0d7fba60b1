"""Chapter 05's functions agree with trl where the formulas meet, and elsewhere with closed forms and second derivations.

trl has no trainer for PPO, but its GRPOTrainer computes the same clipped objective, from advantages that may be given.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.judging.reference import Reference

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
FAST = settings(max_examples=40, deadline=None, derandomize=True)

functions = Reference("05_ppo").functions
token_rewards, gae, masked_whiten = (functions[name] for name in ("token_rewards", "gae", "masked_whiten"))
advantages_and_returns, clipped_policy_loss, clip_fraction, value_loss, ppo_update, careful_policy = (
    functions[name]
    for name in ("advantages_and_returns", "clipped_policy_loss", "clip_fraction", "value_loss", "ppo_update", "careful_policy")
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mask_of(lengths: list[int], seq: int) -> torch.Tensor:
    return (torch.arange(seq) < torch.tensor(lengths)[:, None]).long()


lengths_of_answers = st.lists(st.integers(1, 9), min_size=1, max_size=6)


# --- Rewards


@FAST
@given(seed=st.integers(0, 10**6), lengths=lengths_of_answers, beta=st.floats(0, 2))
def test_rewards_of_an_answer_sum_to_score_minus_beta_times_its_log_ratio(seed, lengths, beta):
    g, mask = generator(seed), mask_of(lengths, 9)
    logps, ref_logps = -3 * torch.rand(2, len(lengths), 9, generator=g)
    scores = torch.randn(len(lengths), generator=g)
    rewards = token_rewards(scores, logps, ref_logps, mask, beta)
    expected = torch.stack(
        [scores[i] - beta * (logps[i, :n].sum() - ref_logps[i, :n].sum()) for i, n in enumerate(lengths)]
    )
    torch.testing.assert_close(rewards.sum(1), expected, rtol=1e-4, atol=1e-5)
    assert (rewards[mask == 0] == 0).all()


def test_mean_reward_of_a_token_is_minus_beta_times_the_kl_of_torch():
    """Every token of a vocabulary once, weighed with its probability: the KL of torch.distributions, with a minus."""
    p, q = (torch.distributions.Categorical(logits=torch.randn(13, generator=generator(s))) for s in (0, 1))
    rewards = token_rewards(torch.zeros(13), p.logits[:, None], q.logits[:, None], torch.ones(13, 1).long(), 0.3)
    kl = torch.distributions.kl_divergence(p, q)
    torch.testing.assert_close((p.probs * rewards[:, 0]).sum(), -0.3 * kl, **CLOSE)


# --- Advantages


@FAST
@given(
    seed=st.integers(0, 10**6), lengths=lengths_of_answers, gamma=st.sampled_from([0.0, 0.9, 1.0]),
    lam=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
)  # fmt: skip
def test_advantages_are_those_of_the_matrix_form(seed, lengths, gamma, lam):
    """A = M (r + (gamma S - 1) V), M = (1 - gamma lam S)^-1, S the shift by one place, for each answer by itself."""
    g, mask = generator(seed), mask_of(lengths, 9)
    rewards, values = torch.randn(2, len(lengths), 9, generator=g, dtype=torch.float64)
    ours = gae(rewards, values, mask, gamma, lam)
    expected = torch.zeros_like(ours)
    for row, n in enumerate(lengths):
        one, shift = torch.eye(n, dtype=torch.float64), torch.diag(torch.ones(n - 1, dtype=torch.float64), 1)
        deltas = rewards[row, :n] + (gamma * shift - one) @ values[row, :n]
        expected[row, :n] = torch.linalg.solve(one - gamma * lam * shift, deltas)
    torch.testing.assert_close(ours, expected, **CLOSE)


@FAST
@given(seed=st.integers(0, 10**6), lengths=lengths_of_answers, gamma=st.sampled_from([0.5, 1.0]))
def test_without_lambda_advantages_are_what_comes_minus_what_was_expected(seed, lengths, gamma):
    g, mask = generator(seed), mask_of(lengths, 9)
    rewards, values = torch.randn(2, len(lengths), 9, generator=g, dtype=torch.float64)
    advantages = gae(rewards, values, mask, gamma, 1.0)
    _, returns = advantages_and_returns(rewards, values, mask, gamma, 1.0)
    for row, n in enumerate(lengths):
        for t in range(n):
            to_come = sum(gamma ** (s - t) * rewards[row, s].item() for s in range(t, n))
            assert returns[row, t].item() == pytest.approx(to_come, rel=1e-5, abs=1e-6)
            assert advantages[row, t].item() == pytest.approx(to_come - values[row, t].item(), rel=1e-5, abs=1e-6)


def test_a_perfect_value_model_leaves_no_advantage():
    rewards, mask = torch.randn(3, 7, generator=generator(0), dtype=torch.float64), mask_of([7, 3, 5], 7)
    values = gae(rewards, torch.zeros_like(rewards), mask, 0.9, 1.0)
    torch.testing.assert_close(gae(rewards, values, mask, 0.9, 0.7), torch.zeros_like(rewards), **CLOSE)


@pytest.mark.parametrize("lengths", [[7, 3, 5], [1, 1, 2]], ids=str)
def test_whitening_is_a_layer_norm_of_the_entries(lengths):
    x, mask = 3 * torch.randn(3, 7, generator=generator(1)) + 2, mask_of(lengths, 7)
    entries = x[mask.bool()]
    expected = F.layer_norm(entries, entries.shape, eps=1e-8)
    torch.testing.assert_close(masked_whiten(x, mask)[mask.bool()], expected, **CLOSE)
    kept = masked_whiten(x, mask, shift_mean=False)
    torch.testing.assert_close(kept[mask.bool()], expected + entries.mean(), **CLOSE)
    assert (kept[mask == 0] == 0).all()


def test_whitened_advantages_and_returns_of_their_own_scale():
    g, mask = generator(2), mask_of([7, 3, 5], 7)
    rewards, values = torch.randn(2, 3, 7, generator=g)
    advantages, returns = advantages_and_returns(rewards, values, mask, 0.9, 0.8)
    chosen = advantages[mask.bool()]
    assert chosen.mean().item() == pytest.approx(0, abs=1e-6) and chosen.var(unbiased=False).item() == pytest.approx(1)
    scaled = advantages_and_returns(10 * rewards, 10 * values, mask, 0.9, 0.8)
    torch.testing.assert_close(scaled[0], advantages, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scaled[1], 10 * returns, **CLOSE)


# --- The clipped objective


@pytest.fixture(scope="module")
def grpo(tmp_path_factory):
    """trl's GRPOTrainer with a nano model: loss over all answer tokens, no KL, so its objective is PPO's."""
    import datasets
    from trl import GRPOConfig, GRPOTrainer

    from course import data, models

    config = GRPOConfig(
        output_dir=str(tmp_path_factory.mktemp("grpo")), use_cpu=True, bf16=False, gradient_checkpointing=False,
        report_to=[], save_strategy="no", disable_tqdm=True, per_device_train_batch_size=4, num_generations=4,
        loss_type="bnpo", beta=0.0, epsilon=0.2, epsilon_high=0.2, temperature=1.0,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=models.load_nano("sft"),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=datasets.Dataset.from_list([{"prompt": "what is 3 plus 4 ?"}] * 4),
        processing_class=data.load_tokenizer(),
    )
    trainer.model.eval()
    return trainer


def rows_for_trl(trainer, seed: int) -> dict[str, torch.Tensor]:
    """Random answers to random prompts, with the present log-probabilities, and older ones that differ."""
    g, vocab = generator(seed), trainer.model.config.vocab_size
    mask = mask_of([9, 4, 7, 2], 9)
    batch = {
        "prompt_ids": torch.randint(4, vocab, (4, 5), generator=g), "prompt_mask": torch.ones(4, 5, dtype=torch.long),
        "completion_ids": torch.randint(4, vocab, (4, 9), generator=g), "completion_mask": mask,
        "advantages": torch.randn(4, 9, generator=g), "num_items_in_batch": mask.sum(),
    }  # fmt: skip
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], mask], 1)
    with torch.no_grad():
        log_p = trainer.model(input_ids=ids, attention_mask=attention).logits[:, 4:-1].log_softmax(-1)
    batch["logps"] = log_p.gather(-1, batch["completion_ids"][..., None])[..., 0]
    batch["old_per_token_logps"] = batch["logps"] + 0.3 * torch.randn(4, 9, generator=g)
    return batch


@pytest.mark.parametrize("seed", range(3))
def test_policy_loss_and_clip_fraction_are_those_of_trl(grpo, seed):
    batch = rows_for_trl(grpo, seed)
    grpo._metrics["eval"].clear()
    with torch.no_grad():
        theirs = grpo.compute_loss(grpo.model, batch)
    ours = batch["logps"], batch["old_per_token_logps"], batch["advantages"], batch["completion_mask"], 0.2
    torch.testing.assert_close(clipped_policy_loss(*ours), theirs, **CLOSE)
    logged = grpo._metrics["eval"]["clip_ratio/region_mean"][-1]
    assert clip_fraction(*ours).item() == pytest.approx(logged, abs=1e-6) and logged > 0.05


@FAST
@given(seed=st.integers(0, 10**6), clip_range=st.sampled_from([0.1, 0.2, 0.3]))
def test_gradient_is_zero_in_two_corners_and_whole_elsewhere(seed, clip_range):
    """By hand: -ratio A / n, or 0 where a token went far enough; and the clip fraction is the share of those zeros."""
    g, mask = generator(seed), mask_of([9, 4, 7, 2], 9)
    old_logps = -3 * torch.rand(4, 9, generator=g, dtype=torch.float64)
    logps = (old_logps + 0.4 * torch.randn(4, 9, generator=g, dtype=torch.float64)).requires_grad_()
    advantages = torch.randn(4, 9, generator=g, dtype=torch.float64)
    clipped_policy_loss(logps, old_logps, advantages, mask, clip_range).backward()
    zeros = 0
    for i, j in mask.nonzero().tolist():
        ratio, a = math.exp(logps[i, j].item() - old_logps[i, j].item()), advantages[i, j].item()
        far_enough = ratio > 1 + clip_range if a > 0 else ratio < 1 - clip_range
        zeros += far_enough
        expected = 0.0 if far_enough else -ratio * a / mask.sum().item()
        assert logps.grad[i, j].item() == pytest.approx(expected, rel=1e-5, abs=1e-9)
    assert (logps.grad[mask == 0] == 0).all()
    share = clip_fraction(logps.detach(), old_logps, advantages, mask, clip_range)
    assert float(share) == pytest.approx(zeros / mask.sum().item(), abs=1e-6)


def test_first_step_is_that_of_reinforce():
    logps = (-3 * torch.rand(3, 7, generator=generator(3))).requires_grad_()
    advantages, mask = torch.randn(3, 7, generator=generator(4)), mask_of([7, 3, 5], 7)
    (ppo,) = torch.autograd.grad(clipped_policy_loss(logps, logps, advantages, mask, 0.2), logps)
    (reinforce,) = torch.autograd.grad(-(logps * advantages * mask).sum() / mask.sum(), logps)
    torch.testing.assert_close(ppo, reinforce, **CLOSE)


# --- The value model's loss


def test_without_a_range_the_value_loss_is_half_the_mean_square_of_torch():
    values, old_values, returns = torch.randn(3, 4, 9, generator=generator(5))
    mask = mask_of([9, 4, 7, 2], 9)
    expected = F.mse_loss(values[mask.bool()], returns[mask.bool()]) / 2
    torch.testing.assert_close(value_loss(values, old_values, returns, mask, 1e9), expected, **CLOSE)


@FAST
@given(seed=st.integers(0, 10**6))
def test_value_gradient_by_hand(seed):
    """(v - return) / n, or 0 where the clipped value is farther from the return."""
    g, mask = generator(seed), mask_of([5, 2, 3], 5)
    old_values, returns = torch.randn(2, 3, 5, generator=g, dtype=torch.float64)
    values = (old_values + 0.5 * torch.randn(3, 5, generator=g, dtype=torch.float64)).requires_grad_()
    value_loss(values, old_values, returns, mask, 0.2).backward()
    for i, j in mask.nonzero().tolist():
        v, old, target = values[i, j].item(), old_values[i, j].item(), returns[i, j].item()
        clipped = min(max(v, old - 0.2), old + 0.2)
        farther = abs(clipped - target) > abs(v - target) + 1e-12
        assert values.grad[i, j].item() == pytest.approx(0.0 if farther else (v - target) / mask.sum().item(), abs=1e-9)


# --- The update

SETTINGS = {
    "beta": 0.4, "gamma": 0.9, "lam": 0.8, "clip_range": 0.2, "value_clip": 0.3, "value_coef": 0.7, "epochs": 1, "max_norm": 1e9
}  # fmt: skip


def judged(seed: int, dtype=torch.float64) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """A batch of judged answers, and a policy and a value model that are tables: one number for each token."""
    g, mask = generator(seed), mask_of([5, 2, 3], 5)
    policy, value = (torch.randn(3, 5, generator=g, dtype=dtype).requires_grad_() for _ in range(2))
    batch = {"logps": policy.detach().clone(), "values": value.detach().clone(), "mask": mask}
    batch["ref_logps"] = batch["logps"] + torch.randn(3, 5, generator=g, dtype=dtype)
    return batch | {"scores": torch.randn(3, generator=g, dtype=dtype)}, policy, value


def test_one_plain_step_is_the_step_of_both_gradients():
    """With old numbers equal to the present ones, and SGD: REINFORCE's gradient and the squared error's, by hand."""
    batch, policy, value = judged(6)
    start = policy.detach().clone(), value.detach().clone()
    mask, n = batch["mask"], batch["mask"].sum()
    given = (batch[name] for name in ("scores", "logps", "ref_logps", "mask"))
    advantages, returns = advantages_and_returns(token_rewards(*given, 0.4), batch["values"], mask, 0.9, 0.8)
    optimizer = torch.optim.SGD([{"params": [policy]}, {"params": [value]}], lr=0.1)
    losses, stopped = ppo_update(lambda rows: (policy[rows], value[rows]), batch, [torch.arange(3)], optimizer, **SETTINGS)
    torch.testing.assert_close(policy.detach(), start[0] + 0.1 * advantages * mask / n, **CLOSE)
    torch.testing.assert_close(value.detach(), start[1] + 0.1 * 0.7 * (returns - start[1]) * mask / n, **CLOSE)
    expected = (-(advantages * mask).sum() + 0.35 * ((returns - start[1]).square() * mask).sum()) / n
    assert losses == pytest.approx([expected.item()]) and stopped == [0.0]


@pytest.mark.parametrize("max_norm", [0.05, 1.0])
def test_a_step_is_never_longer_than_the_rate_times_max_norm(max_norm):
    batch, policy, value = judged(7, torch.float32)
    start = copy.deepcopy((policy, value))
    optimizer = torch.optim.SGD([policy, value], lr=1.0)
    steep = SETTINGS | {"value_coef": 50.0, "max_norm": max_norm}
    ppo_update(lambda rows: (policy[rows], value[rows]), batch, [torch.arange(3)], optimizer, **steep)
    moved = torch.cat([(now - then).detach().flatten() for now, then in zip((policy, value), start)]).norm().item()
    assert moved == pytest.approx(max_norm, rel=1e-3)


def test_the_clip_holds_the_policy_only_where_the_old_numbers_stay():
    """Many epochs on one batch: no good token gains much more than the range, with a small step."""
    batch, policy, value = judged(8)
    optimizer = torch.optim.SGD([policy, value], lr=0.05)
    rows = [torch.arange(3)]
    _, stopped = ppo_update(lambda r: (policy[r], value[r]), batch, rows, optimizer, **SETTINGS | {"epochs": 200})
    ratio = (policy.detach() - batch["logps"]).exp()
    assert ratio.max() < 1.2 + 0.05 and ratio.min() > 0.8 - 0.05
    assert stopped[0] == 0 and stopped[-1] > 0.5


# --- A reward one cannot trust


@pytest.mark.parametrize("seed", range(100, 106))
def test_the_careful_policy_passes_all_bars_with_room(seed):
    from autograder.chapters.c05_ppo import doubt, rules

    ref_logps, utilities, scores = doubt.world(seed)
    logits = careful_policy(ref_logps, scores, doubt.MAX_KL)
    share, kl = rules._measured(logits.double(), ref_logps.double(), utilities.double())
    assert share > 0.76 and 0.99 < kl < 1.0005


def test_what_could_be_gained_is_the_gain_of_who_knows_the_utilities():
    from autograder.chapters.c05_ppo import doubt, rules

    ref_logps, utilities, _ = (x.double() for x in doubt.world(3))
    best = rules._within_budget(ref_logps, utilities)
    assert rules._measured(best, ref_logps, utilities)[0] == pytest.approx(1)
    assert rules._measured(ref_logps, ref_logps, utilities) == pytest.approx((0, 0), abs=1e-6)
    nudged = best + 0.05 * torch.randn(best.shape, generator=generator(1), dtype=torch.float64)
    worse = ref_logps + (nudged - ref_logps) * (1 / rules._kl(nudged, ref_logps)) ** 0.5
    assert rules._measured(worse, ref_logps, utilities)[0] < 1 + 1e-3
