"""Chapter 06's functions agree with trl where it has them, and elsewhere with closed forms and second derivations, to 1e-5."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.chapters.c06_dpo import few, rules
from autograder.judging.reference import Reference
from autograder.judging.rules import RULES
from course import listed, pairs, rewarded

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
FAST = settings(max_examples=30, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10**6)

functions = Reference("06_dpo").functions
recovered_rewards, dpo_loss, pair_weights, implicit_rewards, expected_dpo_loss = (
    functions[n] for n in ("recovered_rewards", "dpo_loss", "pair_weights", "implicit_rewards", "expected_dpo_loss")
)
pair_logps, reference_logps, train_dpo, policy_from_pairs = (
    functions[n] for n in ("pair_logps", "reference_logps", "train_dpo", "policy_from_pairs")
)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- The reward inside a policy


@FAST
@given(SEEDS, st.floats(0.05, 5))
def test_rewards_come_back_out_of_the_optimum(seed, beta):
    ref_logps, rewards = drawn(seed, 3, 7).log_softmax(-1), 3 * drawn(seed + 1, 3, 7)
    best, log_z = rewarded.optimal_policy(ref_logps, rewards, beta)
    found = recovered_rewards(best.log(), ref_logps, beta)
    constants = rewards - found  # (prompts, answers): the same for all answers to a prompt
    torch.testing.assert_close(constants, constants[:, :1].expand_as(constants), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((ref_logps.exp() * found).sum(-1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-6)
    # What was lost: β log Z = E[reward] under the reference + β KL(reference || policy).
    kl = (ref_logps.exp() * (ref_logps - best.log())).sum(-1)
    torch.testing.assert_close(beta * log_z, (ref_logps.exp() * rewards).sum(-1) + beta * kl, rtol=1e-5, atol=1e-5)


# --- The loss


@pytest.fixture(scope="module")
def moved():
    """nano-sft, a model that has moved away from it, the tokenizer and seven pairs."""
    from course.data import load_jsonl, load_tokenizer
    from course.models import load_nano

    reference = load_nano("sft").requires_grad_(False)
    policy = copy.deepcopy(reference)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 0.02 * torch.randn_like(weight)
    return policy, reference, load_tokenizer(), load_jsonl("preferences_train")[:7]


def test_loss_is_that_of_trl(moved):
    """Template, batch, log-probabilities and loss; the smoothed loss from trl's two losses that are made of the same terms."""
    policy, reference, tokenizer, records = moved
    chosen, rejected = (pairs.examples(records, name, tokenizer) for name in ("chosen", "rejected"))
    four = [x for model in moved[:2] for x in reference_logps(model, chosen, rejected, tokenizer.pad_token_id, 7)]
    eps, beta = 0.15, 0.2
    theirs = pairs.trl_losses(policy, reference, records, tokenizer, beta, ("sigmoid", "robust"), eps)
    assert dpo_loss(*four, beta).item() == pytest.approx(theirs["sigmoid"], abs=1e-5)
    # robust = ((1 - ε) L(m) - ε L(-m)) / (1 - 2 ε), and ours is (1 - ε) L(m) + ε L(-m)
    smoothed = 2 * (1 - eps) * theirs["sigmoid"] - (1 - 2 * eps) * theirs["robust"]
    assert dpo_loss(*four, beta, eps).item() == pytest.approx(smoothed, abs=1e-5)


@FAST
@given(SEEDS, st.floats(0.05, 3), st.floats(0, 0.49))
def test_loss_is_a_binary_cross_entropy_with_soft_labels(seed, beta, eps):
    four = 3 * drawn(seed, 4, 9)
    margins = beta * (four[0] - four[1] - four[2] + four[3])
    expected = F.binary_cross_entropy_with_logits(margins, torch.full_like(margins, 1 - eps))
    torch.testing.assert_close(dpo_loss(*four, beta, eps), expected, **CLOSE)


@FAST
@given(SEEDS, st.floats(0.05, 3), st.floats(0, 0.49))
def test_gradient_of_the_loss_is_made_of_the_weights(seed, beta, eps):
    four = [x.requires_grad_() for x in 3 * drawn(seed, 4, 5)]
    dpo_loss(*four, beta, eps).backward()
    margins = implicit_rewards(*four, beta)["margins"]
    torch.testing.assert_close(four[0].grad, -beta * pair_weights(margins, eps) / 5, **CLOSE)
    torch.testing.assert_close(four[1].grad, beta * pair_weights(margins, eps) / 5, **CLOSE)
    assert four[2].grad is None and four[3].grad is None


@pytest.mark.parametrize("eps", [0.05, 0.2, 0.4])
def test_with_smoothing_a_pair_rests_at_the_log_odds(eps):
    rest = torch.tensor([math.log((1 - eps) / eps)])
    assert pair_weights(rest, eps).abs().item() < 1e-6


def test_accuracy_and_margins_are_those_by_hand_where_nothing_ties(moved):
    *_, tokenizer, records = moved
    chosen, rejected = (pairs.examples(records, name, tokenizer) for name in ("chosen", "rejected"))
    four = [x for model in moved[:2] for x in reference_logps(model, chosen, rejected, tokenizer.pad_token_id, 3)]
    seen = implicit_rewards(*four, 0.3)
    by_hand = torch.tensor([0.3 * ((a - c) - (b - d)) for a, b, c, d in zip(*(x.tolist() for x in four), strict=True)])
    torch.testing.assert_close(seen["margins"], by_hand, rtol=1e-4, atol=1e-5)
    assert seen["accuracy"] == (by_hand > 0).float().mean()


# --- All pairs at once


@FAST
@given(SEEDS, st.floats(0.2, 2))
def test_the_expected_loss_is_lowest_at_the_optimum(seed, beta):
    """Its gradient there is 0, and it is larger everywhere else."""
    ref_logps, rewards = drawn(seed, 2, 5).log_softmax(-1), drawn(seed + 1, 2, 5)
    best = (ref_logps + rewards / beta).log_softmax(-1).requires_grad_()
    lowest = expected_dpo_loss(best, ref_logps, rewards, beta)
    (gradient,) = torch.autograd.grad(lowest, best)
    assert gradient.abs().max() < 1e-9
    for other in range(3):
        elsewhere = (best.detach() + 0.3 * drawn(seed + 2 + other, 2, 5)).log_softmax(-1)
        assert expected_dpo_loss(elsewhere, ref_logps, rewards, beta) > lowest


@FAST
@given(SEEDS, st.floats(0.2, 2))
def test_the_expected_loss_is_an_entropy_and_a_kl(seed, beta):
    """The mean entropy of the labels, and the mean KL from the annotators' to the policy's probability of them."""
    ref_logps, logps, rewards = drawn(seed, 1, 4).log_softmax(-1), drawn(seed + 1, 1, 4).log_softmax(-1), drawn(seed + 2, 1, 4)
    q, r, h = ref_logps[0].exp(), rewards[0], (logps - ref_logps)[0]
    expected = 0.0
    for i in range(4):
        for j in range(4):
            labels = torch.distributions.Bernoulli(logits=r[i] - r[j])
            policy = torch.distributions.Bernoulli(logits=beta * (h[i] - h[j]))
            kl = torch.distributions.kl_divergence(labels, policy)
            expected = expected + q[i] * q[j] * (labels.entropy() + kl)
    torch.testing.assert_close(expected_dpo_loss(logps, ref_logps, rewards, beta), expected, **CLOSE)


def test_drawn_pairs_have_the_expected_loss():
    """The mean over many drawn pairs, within five standard errors or so."""
    world = listed.listed_world()
    logps = (world.ref_logps + 0.3 * drawn(0, *world.ref_logps.shape).float()).log_softmax(-1)
    wins = pairs.drawn_wins(world.ref_logps, world.utilities, 90_000, seed=1)
    assert wins.sum() == 90_000
    ratio = logps - world.ref_logps
    losses = -F.logsigmoid(0.7 * (ratio[:, :, None] - ratio[:, None, :]))
    exact = expected_dpo_loss(logps, world.ref_logps, world.utilities, 0.7)
    assert (wins * losses).sum() / 90_000 == pytest.approx(exact.item(), abs=0.01)


def test_exact_preferences_lead_to_the_optimum():
    world = listed.listed_world()
    best, _ = rewarded.optimal_policy(world.ref_logps, world.utilities, 1.0)
    loss = lambda p: expected_dpo_loss(p, world.ref_logps, world.utilities, 1.0)  # noqa: E731
    assert listed.total_variation(pairs.descend(loss, world.ref_logps).exp(), best) < 0.02


# --- Log-probabilities, the loop


def test_logps_of_pairs_are_those_of_the_model_token_by_token(moved):
    policy, _, tokenizer, records = moved
    chosen, rejected = (pairs.examples(records, name, tokenizer) for name in ("chosen", "rejected"))
    with torch.no_grad():
        found = pair_logps(policy, chosen, rejected, tokenizer.pad_token_id)
        for examples, logps in zip((chosen, rejected), found, strict=True):
            for (ids, labels), logp in zip(examples, logps, strict=True):
                own = policy(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
                expected = sum(own[t - 1, ids[t]] for t in range(1, len(ids)) if labels[t] != -100)
                torch.testing.assert_close(logp, expected, rtol=1e-4, atol=1e-4)


def test_what_is_counted_is_the_answer_and_its_end_mark(moved):
    *_, tokenizer, records = moved
    chosen, rejected = (pairs.examples(records, name, tokenizer) for name in ("chosen", "rejected"))
    spoken = [sum(label != -100 for label in labels) for _, labels in chosen + rejected]
    assert spoken == [len(r[k].split()) + 1 for k in ("chosen", "rejected") for r in records], "the answer and its end mark"


def test_a_table_trained_by_the_loop_is_as_by_plain_descent():
    start = drawn(3, 6)
    table = start.clone().requires_grad_()
    yes, no = torch.tensor([0, 2, 4]), torch.tensor([1, 3, 5])
    ref = start.log_softmax(0)
    optimizer = torch.optim.SGD([table], lr=1.0)

    def logps_of(rows):
        logps = table.log_softmax(0)
        return logps[yes[rows]], logps[no[rows]]

    history = train_dpo(
        logps_of, ref[yes], ref[no], [torch.arange(3)] * 50, optimizer, lambda step: 0.5, beta=0.4, max_norm=1e9
    )
    other = start.clone()
    for _ in range(50):  # the gradient by hand: β w on the chosen, minus that on the rejected; the softmax's constant cancels
        m = 0.4 * ((other - start)[yes] - (other - start)[no])
        push = 0.5 * 0.4 * torch.sigmoid(-m) / 3
        other = other.index_add(0, yes, push).index_add(0, no, -push)
    torch.testing.assert_close(table.detach(), other, **CLOSE)
    assert history[0]["loss"] == pytest.approx(math.log(2)) and history[0]["accuracy"] == 0.5 and history[-1]["accuracy"] == 1


# --- Few pairs


def test_gain_is_0_at_the_reference_and_1_at_the_optimum():
    one = few.world(5)
    assert rules._share([one.ref_logps.double()], rules._possible([one])) == pytest.approx(0, abs=1e-6)
    best = one.ref_logps.double() + one.utilities.double() / few.BETA
    assert rules._share([best], rules._possible([one])) == pytest.approx(1, abs=1e-6)


def test_an_answer_that_is_no_policy_reaches_nothing():
    bad = {"logits": torch.full((few.WORLDS, few.PROMPTS, few.MANNERS), float("nan")).numpy(), "seed": 1}
    summary = RULES["gains_a_quarter_from_pairs"](bad)
    assert [bool(entry.value) for name, entry in summary.items() if not name.startswith("_")] == [False]


def test_the_reference_passes_the_highest_bar_with_room():
    bar = max(rules.PAIRS_BARS.values())
    for seed in (1, 2, 3, 1580337980):  # the last one is unlucky: little is left to the manners
        many = few.worlds(seed)
        policies = [policy_from_pairs(w.ref_logps, w.pairs, few.BETA).double() for w in many]
        assert rules._share(policies, rules._possible(many)) > bar + 0.01
