"""Chapter 04's references agree with libraries, closed forms and second derivations, to 1e-5."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.chapters.c04_reward_model import few, rules
from autograder.judging.reference import Reference
from autograder.judging.rules import RULES

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
FAST = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10**6)

functions = Reference("04_reward_model").functions
preference_probability = functions["preference_probability"]
bradley_terry_loss = functions["bradley_terry_loss"]
fit_scores = functions["fit_scores"]
center_rewards = functions["center_rewards"]
last_token_rewards = functions["last_token_rewards"]
calibration_bins = functions["calibration_bins"]
best_of_n_probs = functions["best_of_n_probs"]
best_of_n_utility = functions["best_of_n_utility"]
train_reward_model = functions["train_reward_model"]


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- Probability and loss


@FAST
@given(SEEDS, st.floats(0.2, 5))
def test_probability_is_that_of_the_strengths(seed, temperature):
    """Bradley and Terry's own form: strengths are exponentials of the rewards."""
    first, second = drawn(seed, 2, 7)
    strengths = (first / temperature).exp(), (second / temperature).exp()
    expected = strengths[0] / (strengths[0] + strengths[1])
    torch.testing.assert_close(preference_probability(first, second, temperature), expected, **CLOSE)


@FAST
@given(st.floats(-3e38, 3e38), st.floats(-3e38, 3e38), st.floats(1e-3, 1e3))
def test_probability_of_any_finite_rewards(first, second, temperature):
    """It is a number from 0 to 1, above one half where the first reward is larger, and the two of a pair sum to 1."""
    rewards = torch.tensor(first), torch.tensor(second)
    p, q = preference_probability(*rewards, temperature), preference_probability(*rewards[::-1], temperature)
    assert 0 <= p <= 1 and math.isclose(p + q, 1, abs_tol=1e-6)
    assert p >= 0.5 if rewards[0] > rewards[1] else p <= 0.5


@FAST
@given(SEEDS)
def test_probability_is_that_of_two_gumbel_utilities(seed):
    """The difference of two Gumbel variables is logistic: whoever adds such noise to rewards and picks the larger."""
    first, second = drawn(seed, 2, 3)
    grid = torch.linspace(-30, 60, 40_001, dtype=torch.float64)
    density = lambda x: torch.exp(-x - torch.exp(-x))  # noqa: E731
    below = lambda x: torch.exp(-torch.exp(-x))  # noqa: E731
    for a, b in zip(first, second):
        integral = torch.trapezoid(density(grid - a) * below(grid - b), grid)
        torch.testing.assert_close(preference_probability(a, b), integral, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A RewardTrainer of trl on the nano model with a head of its own, offline."""
    import datasets
    from transformers import LlamaForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    from course.data import load_jsonl, load_tokenizer
    from course.models import load_nano

    tokenizer, base = load_tokenizer(), load_nano("base")
    base.config.num_labels = 1
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(base.config)
    model.model.load_state_dict(base.model.state_dict())
    torch.nn.init.normal_(model.score.weight, std=0.2)
    records = [
        {
            "chosen": [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["chosen"]}],
            "rejected": [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["rejected"]}],
        }
        for r in load_jsonl("preferences_train")[:7]
    ]
    config = RewardConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), use_cpu=True, bf16=False, gradient_checkpointing=False,
        report_to=[], disable_tqdm=True, save_strategy="no", per_device_train_batch_size=7, max_length=None,
        dataloader_pin_memory=False,
    )  # fmt: skip
    return RewardTrainer(
        model=model, args=config, train_dataset=datasets.Dataset.from_list(records), processing_class=tokenizer
    )


def test_loss_is_that_of_trl(trainer):
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(7)])
    trainer.model.eval()
    theirs = trainer.compute_loss(trainer.model, dict(batch))
    hidden = trainer.model.model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    rewards = last_token_rewards(trainer.model.score(hidden)[..., 0], batch["attention_mask"])
    ours = bradley_terry_loss(*rewards.chunk(2))
    torch.testing.assert_close(ours, theirs, **CLOSE)


@FAST
@given(SEEDS)
def test_loss_is_logistic_regression_on_the_difference(seed):
    chosen, rejected = 3 * drawn(seed, 2, 9)
    expected = F.binary_cross_entropy_with_logits(chosen - rejected, torch.ones(9, dtype=torch.float64))
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected), expected, **CLOSE)


@FAST
@given(SEEDS)
def test_gradient_of_the_loss_is_the_surprise(seed):
    chosen, rejected = (x.requires_grad_() for x in 2 * drawn(seed, 2, 5))
    bradley_terry_loss(chosen, rejected).backward()
    surprise = (1 - preference_probability(chosen, rejected)).detach() / 5
    torch.testing.assert_close(chosen.grad, -surprise, **CLOSE)
    torch.testing.assert_close(rejected.grad, surprise, **CLOSE)


# --- Rankings and scores


def table_of_wins(seed: int, players: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return (1 + torch.randint(0, 30, (players, players), generator=g)).fill_diagonal_(0)


@FAST
@given(SEEDS, st.integers(2, 7))
def test_scores_are_those_of_the_mm_algorithm(seed, players):
    """Hunter (2004): strengths are renewed by wins over expected encounters, which never lowers the likelihood."""
    wins = table_of_wins(seed, players).double()
    games, strength = wins + wins.T, torch.ones(players, dtype=torch.float64)
    for _ in range(3000):
        strength = wins.sum(1) / (games / (strength[:, None] + strength[None])).sum(1)
        strength = strength / strength.log().mean().exp()
    torch.testing.assert_close(fit_scores(wins), strength.log(), rtol=1e-5, atol=1e-5)


@FAST
@given(SEEDS)
def test_scores_are_those_of_a_logistic_regression(seed):
    """Without an intercept, one row a game, by LBFGS."""
    wins = table_of_wins(seed, 5)
    rows, times = [], []
    for i, j in itertools.permutations(range(5), 2):
        rows.append(F.one_hot(torch.tensor(i), 5).double() - F.one_hot(torch.tensor(j), 5))
        times.append(float(wins[i, j]))
    design, times = torch.stack(rows), torch.tensor(times, dtype=torch.float64)
    w = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-16)

    def closure():
        optimizer.zero_grad()
        loss = (times * F.softplus(-design @ w)).sum() / times.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(fit_scores(wins), w.detach() - w.detach().mean(), rtol=1e-5, atol=1e-5)


@FAST
@given(SEEDS, st.integers(2, 7))
def test_scores_explain_every_players_wins(seed, players):
    wins = table_of_wins(seed, players)
    scores = fit_scores(wins)
    expected = ((wins + wins.T) * preference_probability(scores[:, None], scores[None])).sum(1)
    torch.testing.assert_close(expected, wins.sum(1).double(), rtol=1e-6, atol=1e-6)
    assert abs(scores.sum().item()) < 1e-9


@FAST
@given(st.integers(1, 200), st.integers(1, 200))
def test_two_players_have_their_log_odds(won, lost):
    scores = fit_scores(torch.tensor([[0, won], [lost, 0]]))
    assert math.isclose(scores[0] - scores[1], math.log(won / lost), rel_tol=1e-6, abs_tol=1e-6)


@FAST
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=7))
def test_neighbours_in_a_chain_have_their_log_odds(games):
    """Where each pair is the only bond between two parts, one part can be shifted freely: every pair gets its own odds."""
    wins = torch.zeros(len(games) + 1, len(games) + 1)
    for i, (won, lost) in enumerate(games):
        wins[i, i + 1], wins[i + 1, i] = won, lost
    expected = torch.tensor([math.log(won / lost) for won, lost in games], dtype=torch.float64)
    scores = fit_scores(wins)
    torch.testing.assert_close(scores[:-1] - scores[1:], expected, rtol=1e-5, atol=1e-5)
    assert abs(scores.sum().item()) < 1e-6


# --- What pairs cannot tell


@FAST
@given(SEEDS)
def test_centred_rewards(seed):
    """They sum to 0 for each prompt, keep all differences within it, and centring twice changes nothing more."""
    g = torch.Generator().manual_seed(seed)
    rewards, prompts = drawn(seed, 23), torch.randint(0, 5, (23,), generator=g)
    centred = center_rewards(rewards, prompts)
    for p in prompts.unique():
        assert abs(centred[prompts == p].sum().item()) < 1e-9
        assert (rewards - centred)[prompts == p].std(correction=0) < 1e-9
    torch.testing.assert_close(center_rewards(centred, prompts), centred, **CLOSE)


@FAST
@given(SEEDS)
def test_loss_does_not_see_constants_of_prompts(seed):
    chosen, rejected, constants = drawn(seed, 3, 9)
    shifted = bradley_terry_loss(chosen + 50 * constants, rejected + 50 * constants)
    torch.testing.assert_close(shifted, bradley_terry_loss(chosen, rejected), **CLOSE)


# --- The head


@pytest.mark.parametrize("side", ["right", "left"])
def test_last_token_is_where_transformers_reads(side):
    from transformers import LlamaForSequenceClassification

    from course.models import nano_config

    config = nano_config()
    config.num_labels, config.num_hidden_layers = 1, 1
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(config).eval()
    g, lengths, pad = torch.Generator().manual_seed(1), [5, 9, 3], config.pad_token_id
    ids, mask = torch.full((3, 9), pad), torch.zeros(3, 9, dtype=torch.long)
    for row, length in enumerate(lengths):
        place = slice(9 - length, 9) if side == "left" else slice(0, length)
        ids[row, place] = 10 + torch.randint(0, 90, (length,), generator=g)
        mask[row, place] = 1
    assert not ((ids == pad) & (mask == 1)).any()
    with torch.no_grad():
        token_rewards = model.score(model.model(ids, attention_mask=mask).last_hidden_state)[..., 0]
        theirs = model(ids, attention_mask=mask).logits[:, 0]
    torch.testing.assert_close(last_token_rewards(token_rewards, mask), theirs, **CLOSE)


# --- Accuracy and calibration


@FAST
@given(SEEDS, st.integers(1, 12))
def test_calibration_is_that_of_histograms(seed, bins):
    rng = np.random.default_rng(seed)
    p, y = rng.random(57), rng.integers(0, 2, 57)
    count, edges = np.histogram(p, bins=bins, range=(0, 1))
    with np.errstate(invalid="ignore"):
        predicted, observed = (np.histogram(p, bins=edges, weights=w)[0] / count for w in (p, y))
    found = calibration_bins(torch.from_numpy(p), torch.from_numpy(y), bins)
    np.testing.assert_allclose(found["count"], count)
    np.testing.assert_allclose(found["predicted"], predicted, rtol=1e-5)
    np.testing.assert_allclose(found["observed"], observed, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found["error"], np.nansum(np.abs(predicted - observed) * count) / 57, rtol=1e-5, atol=1e-9)


# --- Best of n




@FAST
@given(SEEDS, st.integers(1, 4))
def test_best_of_n_by_enumeration(seed, n):
    """Every sequence of n draws, its probability, and the first of the best draws in it; with ties."""
    probs = drawn(seed, 5).softmax(0)
    rewards = (2 * drawn(seed + 1, 5)).round()
    expected = torch.zeros(5, dtype=torch.float64)
    for draws in itertools.product(range(5), repeat=n):
        kept = int(rewards[list(draws)].argmax())
        expected[draws[kept]] += probs[list(draws)].prod()
    torch.testing.assert_close(best_of_n_probs(probs, rewards, n), expected, **CLOSE)


@FAST
@given(SEEDS, st.integers(1, 60))
def test_kl_is_below_its_bound(seed, n):
    probs, rewards = (2 * drawn(seed, 13)).softmax(0), drawn(seed + 1, 13)
    best = best_of_n_probs(probs, rewards, n)
    assert math.isclose(best.sum(), 1, abs_tol=1e-9)
    assert -1e-9 <= torch.xlogy(best, best / probs).sum() <= math.log(n) - (n - 1) / n + 1e-9


@pytest.mark.parametrize("n", [1, 2, 5, 30])
def test_bound_is_reached_where_every_answer_is_improbable(n):
    """The page's derivation: the KL of n u^(n-1) from the uniform density, by a fine grid of equally probable answers."""
    m = 1_000_000
    upto = torch.arange(1, m + 1, dtype=torch.float64) / m
    best = upto**n - (upto - 1 / m) ** n
    kl = (best * (best * m).clamp(min=1e-300).log()).sum().item()
    assert math.isclose(math.log(n) - (n - 1) / n, kl, rel_tol=1e-5, abs_tol=1e-5)


@FAST
@given(SEEDS, st.integers(1, 7))
def test_worth_of_best_of_n_over_all_choices(seed, n):
    """Every choice of n of seven samples, one after the other."""
    rewards, utilities = drawn(seed, 2, 7), drawn(seed + 1, 2, 7)
    for row in range(2):
        kept = [max(choice, key=lambda i: rewards[row, i]) for choice in itertools.combinations(range(7), n)]
        expected = utilities[row, kept].mean()
        torch.testing.assert_close(best_of_n_utility(rewards, utilities, n)[row], expected, **CLOSE)


@FAST
@given(SEEDS)
def test_the_loop_climbs_the_likelihood_of_a_table_of_wins(seed):
    """A model with one number a player, trained on single games, has the gradient that Zermelo set to zero."""
    wins = table_of_wins(seed, 4)
    model = torch.nn.Embedding(4, 1, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    games = [(i, j) for i in range(4) for j in range(4) for _ in range(int(wins[i, j]))]
    players = torch.tensor([i for i, _ in games] + [j for _, j in games])
    model.forward = lambda players: model.weight[players, 0]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    (loss,) = train_reward_model(model, [{"players": players}], optimizer, lambda step: 1.0, max_norm=1e9)
    assert math.isclose(loss, math.log(2), rel_tol=1e-6)
    expected = (wins - wins.T).double().sum(1) / 2 / len(games)
    torch.testing.assert_close(model.weight.detach()[:, 0], expected, **CLOSE)


# --- The open task


def test_what_is_measured_of_few_comparisons():
    """The truth, whatever constant is added to it, is 0 nats above itself; equal scores have log 2 minus the entropy."""
    worlds = few.worlds(7)
    truth = torch.stack([world.utilities for world in worlds])
    shifts = torch.arange(len(worlds))[:, None]
    assert math.isclose(rules.nats_above_the_truth((truth + shifts).numpy(), 7), 0, abs_tol=1e-9)
    p = torch.sigmoid(truth[:, :, None] - truth[:, None, :])
    entropy = (F.softplus(torch.logit(p)) - p * torch.logit(p))[:, *torch.triu_indices(few.HELDOUT, few.HELDOUT, 1)].mean()
    equal = rules.nats_above_the_truth(torch.zeros_like(truth).numpy(), 7)
    assert math.isclose(equal, math.log(2) - float(entropy), rel_tol=1e-6)


def test_half_of_the_annotators_toss_coins():
    """Four of eight agree with the true order as careful people do, four in about half of their choices."""
    agree = torch.zeros(few.ANNOTATORS, dtype=torch.float64)
    sorted_shares = []
    for world in few.worlds(3):
        prices = torch.linalg.lstsq(world.heldout, world.utilities[:, None]).solution[:, 0]
        right = ((world.features[world.pairs[:, 0]] - world.features[world.pairs[:, 1]]) @ prices > 0).double()
        share = agree.index_add(0, world.annotators, right) / torch.bincount(world.annotators)
        sorted_shares.append(share.sort().values)
    shares = torch.stack(sorted_shares).mean(0)
    assert shares[:4].mean() < 0.55 and shares[4:].mean() > 0.75


def test_scores_of_another_shape_reach_no_bar():
    for scores in (np.zeros((few.WORLDS, 3)), np.full((few.WORLDS, few.HELDOUT), np.nan), np.zeros(5)):
        found = RULES["few_bar_1"]({"scores": scores, "seed": np.asarray(3)})
        assert not all(entry.value is True for name, entry in found.items() if not name.startswith("_"))
