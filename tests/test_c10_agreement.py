"""Chapter 10's references agree with closed forms, with autograd by enumeration, and with trl."""

import inspect
import math
import random
import re

import pytest
import torch

from autograder.chapters.probing import mask_of
from autograder.judging.reference import Reference
from course import listed, methods, puzzles

FUNCTIONS = Reference("10_grpo").functions
verify_answer, group_advantages, grpo_loss = (FUNCTIONS[n] for n in ("verify_answer", "group_advantages", "grpo_loss"))
kl_gradient, kl_term, drawn_logps = (FUNCTIONS[n] for n in ("kl_gradient", "kl_term", "drawn_logps"))
pass_at_k, learn_from_checks = FUNCTIONS["pass_at_k"], FUNCTIONS["learn_from_checks"]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- The nine gradients


def policies(seed: int, answers: int = 7):
    g = generator(seed)
    logits = 1.5 * torch.randn(2, answers, generator=g, dtype=torch.float64)
    return logits, torch.randn(2, answers, generator=g, dtype=torch.float64)


def kl_gradients(logits, ref_logits):
    theta = logits.clone().requires_grad_()
    p, q = theta.softmax(-1), ref_logits.softmax(-1)
    forward, backward = (p * (p / q).log()).sum(), (q * (q / p).log()).sum()
    return (torch.autograd.grad(kl, theta, retain_graph=True)[0] for kl in (forward, backward))


def by_autograd(logits, ref_logits, estimator: str, use: str):
    """The definition: answers are drawn with chances that are constants; what is minimised is differentiated."""
    theta = logits.clone().requires_grad_()
    logps = theta.log_softmax(-1)
    d = logps - ref_logits.log_softmax(-1)
    k = {"k1": d, "k2": d**2 / 2, "k3": (-d).exp() - 1 + d}[estimator]
    minimised = {"loss": k, "reward": k.detach() * logps, "ratio": (logps - logps.detach()).exp() * k}[use]
    return torch.autograd.grad((logps.detach().exp() * minimised).sum(), theta)[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("use", ["loss", "reward", "ratio"])
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_each_of_the_nine_is_autograds(estimator, use, seed):
    logits, ref = policies(seed)
    difference = kl_gradient(logits, ref, estimator, use) - by_autograd(logits, ref, estimator, use)
    assert difference.abs().max() < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_what_each_of_the_nine_is(seed):
    logits, ref = policies(seed)
    forward, backward = kl_gradients(logits, ref)
    expected = {
        ("k1", "loss"): 0 * forward, ("k1", "reward"): forward, ("k1", "ratio"): forward,
        ("k2", "loss"): forward, ("k3", "loss"): backward, ("k3", "ratio"): forward, ("k3", "reward"): forward - backward,
    }  # fmt: skip
    for (estimator, use), gradient in expected.items():
        assert (kl_gradient(logits, ref, estimator, use) - gradient).abs().max() < 1e-9, (estimator, use)
    for use in ("reward", "ratio"):  # k2 in these is neither, by far
        gradient = kl_gradient(logits, ref, "k2", use)
        assert min((gradient - other).abs().max() for other in (forward, backward, 0 * forward)) > 1e-3


def test_the_nine_by_finite_differences_of_the_two_kls():
    """No autograd at all: central differences of the KLs themselves, on the course's listed world."""
    world = listed.listed_world()
    ref = world.ref_logps.double()
    logits = ref + 0.4 * world.utilities.double()

    def kl(a, b):
        return (a.softmax(-1) * (a.log_softmax(-1) - b.log_softmax(-1))).sum().item()

    for prompt, answer in ((0, 3), (1, 17), (2, 31)):
        step = torch.zeros_like(logits)
        step[prompt, answer] = 1e-5
        forward = (kl(logits + step, ref) - kl(logits - step, ref)) / 2e-5
        backward = (kl(ref, logits + step) - kl(ref, logits - step)) / 2e-5
        slopes = {("k2", "loss"): forward, ("k1", "reward"): forward, ("k3", "ratio"): forward, ("k3", "loss"): backward}
        for pair, slope in slopes.items():
            assert kl_gradient(logits, ref, *pair)[prompt, answer].item() == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_kl_term_is_the_kl_with_its_gradient_whoever_drew(seed):
    logits, ref = policies(seed)
    old = torch.randn(2, 7, generator=generator(seed + 50), dtype=torch.float64).log_softmax(-1)
    theta = logits.clone().requires_grad_()
    term = kl_term(theta.log_softmax(-1), old, ref.log_softmax(-1))
    assert (term >= 0).all()
    expected = (old.exp() * term).sum()
    p, q = logits.softmax(-1), ref.softmax(-1)
    assert expected.item() == pytest.approx((p * (p / q).log()).sum().item(), abs=1e-10)
    forward, _ = kl_gradients(logits, ref)
    assert (torch.autograd.grad(expected, theta)[0] - forward).abs().max() < 1e-9


# --- trl


@pytest.fixture(scope="module")
def drawn():
    """Answers of two untrained models of the chapter's kind: tensors as the trainers want them, and both log-probabilities."""
    model, other = puzzles.new_model(1).eval(), puzzles.new_model(2).eval()
    rng, g = random.Random(0), generator(0)
    ids, attention_mask = puzzles.encoded([puzzles.puzzle(rng).text for _ in range(5)], "left")
    tokens = torch.randint(3, len(puzzles.WORDS), (5, 11), generator=g)
    mask = mask_of([11, 3, 7, 1, 5], 11)
    batch = {"input_ids": ids, "attention_mask": attention_mask, "tokens": tokens, "mask": mask}
    with torch.no_grad():
        logps, ref_logps = (methods.rollout_logps(m, ids, attention_mask, tokens, mask) for m in (model, other))
    noise = 0.3 * torch.randn(5, 11, generator=g)
    batch |= {"logps": (logps + noise) * mask, "ref_logps": (logps + 0.5 * (ref_logps - logps).clamp(-2, 2)) * mask}
    return model, batch | {"advantages": torch.randn(5, generator=g)}, logps


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("ends", [(0.2, 0.2), (0.2, 0.28), (0.1, 0.05)])
@pytest.mark.parametrize("loss_type, per", [("grpo", "answer"), ("bnpo", "token"), ("dapo", "token"), ("dr_grpo", "constant")])
def test_the_loss_is_that_of_trls_grpo_trainer(drawn, loss_type, per, ends, beta):
    model, batch, logps = drawn
    settings = {"loss_type": loss_type, "epsilon": ends[0], "epsilon_high": ends[1], "beta": beta, "max_completion_length": 16}
    theirs = puzzles.trl_loss(model, batch, **settings)
    extra = beta * kl_term(logps, batch["logps"], batch["ref_logps"])
    ours = grpo_loss(logps, batch["logps"], batch["advantages"], batch["mask"], *ends, per, 16, extra)
    assert ours.item() == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_the_loss_for_whole_answers_is_that_of_trls_rloo_trainer(drawn):
    model, batch, logps = drawn
    theirs = puzzles.trl_loss(model, batch, "RLOO", epsilon=0.2, epsilon_high=0.3)
    whole, old = ((x * batch["mask"]).sum(1, keepdim=True) for x in (logps, batch["logps"]))
    ours = grpo_loss(whole, old, batch["advantages"], torch.ones(5, 1, dtype=torch.long), 0.2, 0.3, "answer")
    assert ours.item() == pytest.approx(theirs, rel=1e-5, abs=1e-6)


def test_trls_defaults_are_what_the_page_says():
    """Read from trl itself: which normalisation, which KL, whether there is one, and how rewards are scaled."""
    from trl import GRPOConfig, GRPOTrainer

    defaults = {name: field.default for name, field in GRPOConfig.__dataclass_fields__.items()}
    assert defaults["loss_type"] == "dapo" and defaults["beta"] == 0.0
    assert defaults["use_bias_correction_kl"] is True, "k3 times the ratio"
    assert defaults["scale_rewards"] == "group" and defaults["temperature"] == 1.0
    source = re.sub(r"\s+", " ", inspect.getsource(GRPOTrainer._compute_loss))
    k3 = "torch.exp(ref_per_token_logps - per_token_logps) - (ref_per_token_logps - per_token_logps) - 1"
    assert k3 in source and "per_token_kl = per_token_kl * coef_1" in source
    assert "(std_rewards + 1e-4)" in inspect.getsource(GRPOTrainer)


@pytest.mark.parametrize("seed", range(3))
def test_advantages_are_trls(seed):
    from trl.trainer.utils import nanstd

    rewards = torch.randn(3, 5, generator=generator(seed))
    theirs = (rewards - rewards.mean(1, keepdim=True)) / (nanstd(rewards, dim=1)[:, None] + 1e-4)
    torch.testing.assert_close(group_advantages(rewards), theirs, **CLOSE)
    loo = methods.leave_one_out_advantages(rewards) * 4 / 5 / (rewards.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(group_advantages(rewards), loo, **CLOSE)


# --- The others


@pytest.mark.parametrize("how", [(1.0, 1.0), (0.7, 1.0), (1.3, 0.9), (1.0, 0.6)], ids=str)
def test_drawn_logps_are_those_of_transformers_own_warpers(how):
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    temperature, top_p = how
    logits = 2 * torch.randn(6, 23, generator=generator(1))
    warped = TemperatureLogitsWarper(temperature)(None, logits) if temperature != 1 else logits
    warped = TopPLogitsWarper(top_p)(None, warped) if top_p < 1 else warped
    for tokens in torch.randint(23, (9, 6), generator=generator(2)):
        theirs = warped.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        torch.testing.assert_close(drawn_logps(logits, tokens, temperature, top_p), theirs, **CLOSE)


@pytest.mark.parametrize("right, drawn, k", [(3, 17, 5), (1, 64, 64), (0, 9, 3), (9, 9, 1), (40, 10_000, 100)])
def test_pass_at_k_is_a_share_of_choices(right, drawn, k):
    assert pass_at_k(right, drawn, k) == pytest.approx(1 - math.comb(drawn - right, k) / math.comb(drawn, k), rel=1e-9)


def test_demonstrations_are_of_the_form_and_right_where_nobody_slips():
    rng = random.Random(3)
    for _ in range(200):
        asked = puzzles.puzzle(rng)
        assert verify_answer(puzzles.demonstration(asked.text), asked.truth) == (1.0, 1.0)
    asked = [puzzles.puzzle(rng) for _ in range(2000)]
    slips = [verify_answer(puzzles.demonstration(p.text, rng, 0.08), p.truth)[1] for p in asked]
    assert 0.62 < sum(slips) / 2000 < 0.75, "0.92 to the fifth, and two slips may cancel"


@pytest.mark.parametrize("seed", range(100, 106))
def test_the_open_task_is_passed_with_room(seed):
    from autograder.chapters.c10_grpo import learning, rules

    found = learning._learned(learn_from_checks, seed)
    assert rules.measured(found["weights"], seed) > rules.BARS["right_nearly_always"] + 0.05
