"""Chapter 11's functions agree with second derivations, exact enumerations and libraries, to 1e-5."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from autograder.chapters.c11_pipeline import entry, rules
from autograder.judging.reference import Reference
from autograder.judging.rules import RULES
from course import data, models
from course.pairs import win_rate

FAST = settings(max_examples=25, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10**6)

functions = Reference("11_pipeline").functions


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- Win rates


def test_with_one_answer_each_it_is_chapter_06s_win_rate():
    ours, theirs = drawn(0, 40, 1).round(), drawn(1, 40, 1).round()
    rate, *_ = functions["win_rate_interval"](ours, theirs, torch.arange(40)[None], 0.9)
    assert rate == pytest.approx(win_rate(ours[:, 0].tolist(), theirs[:, 0].tolist()))


def test_with_many_prompts_the_interval_is_that_of_the_normal_distribution():
    ours, theirs = drawn(2, 400, 3), drawn(3, 400, 4) - 0.3
    resamples = torch.randint(400, (9000, 400), generator=torch.Generator().manual_seed(0))
    rate, low, high = functions["win_rate_interval"](ours, theirs, resamples, 0.9)
    shares = (ours[:, :, None] > theirs[:, None, :]).double().mean((1, 2))
    error = 1.645 * shares.std().item() / 400**0.5
    assert low == pytest.approx(rate - error, abs=0.1 * error) and high == pytest.approx(rate + error, abs=0.1 * error)


def test_intervals_of_90_percent_hold_the_truth_about_nine_times_in_ten():
    hits = 0
    for seed in range(150):
        hard, g = drawn(seed, 50, 1), torch.Generator().manual_seed(seed)
        ours, theirs = 2 * hard + drawn(seed + 1000, 50, 3) + 0.5, 2 * hard + drawn(seed + 2000, 50, 3)
        resamples = torch.randint(50, (400, 50), generator=g)
        _, low, high = functions["win_rate_interval"](ours, theirs, resamples, 0.9)
        hits += low <= torch.special.ndtr(torch.tensor(0.5 / 2**0.5)).item() <= high
    assert 0.8 < hits / 150 < 0.97


# --- KL


def _chain(seed: int, vocab: int = 3, steps: int = 3):
    """Logits of the next token for each beginning, of a policy and a reference over sequences of so many tokens."""
    begins = [p for n in range(steps) for p in itertools.product(range(vocab), repeat=n)]
    return {p: drawn(seed + i, vocab) for i, p in enumerate(begins)}


@FAST
@given(SEEDS)
def test_both_estimates_have_the_exact_kl_as_their_mean(seed):
    """Over all sequences, weighed by their probabilities."""
    policy, reference, steps = _chain(seed), _chain(seed + 500), 3
    exact, means = 0.0, {"drawn": 0.0, "by step": 0.0}
    for tokens in itertools.product(range(3), repeat=steps):
        begins = [tokens[:i] for i in range(steps)]
        logits, ref_logits = (torch.stack([chain[b] for b in begins])[None] for chain in (policy, reference))
        logp, ref = (x.log_softmax(-1)[0, range(steps), tokens].sum() for x in (logits, ref_logits))
        given = logits.repeat(2, 1, 1), ref_logits.repeat(2, 1, 1), torch.tensor([tokens, tokens])
        found = functions["kl_with_error"](*given, torch.ones(2, steps, dtype=torch.long))
        exact += (logp.exp() * (logp - ref)).item()
        for name in means:
            means[name] += logp.exp().item() * found[name][0]
    assert means["drawn"] == pytest.approx(exact, abs=1e-6) and means["by step"] == pytest.approx(exact, abs=1e-6)


def test_the_estimate_by_step_scatters_less():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 6, 20, generator=g).expand(400, 6, 20)
    ref_logits = logits + 0.5 * torch.randn(1, 6, 20, generator=g)
    tokens = torch.multinomial(logits.softmax(-1).reshape(-1, 20), 1, generator=g).view(400, 6)
    found = functions["kl_with_error"](logits, ref_logits, tokens, torch.ones(400, 6, dtype=torch.long))
    (kl, error), (exact, none) = found["drawn"], found["by step"]
    assert abs(kl - exact) < 4 * error and none < 0.1 * error


# --- Forgetting


def test_the_loss_before_is_the_models_own_loss():
    base, other, tokenizer = models.load_nano("base"), models.load_nano("sft"), data.load_tokenizer()
    rows = data.pad_rows([d.text for d in data.load_heldout()[:9]], tokenizer)
    found = functions["forgetting"](base, other, *rows, 4)
    for name, model in (("before", base), ("after", other)):
        labels = rows.input_ids.masked_fill(rows.attention_mask == 0, -100)
        with torch.no_grad():
            own = model(input_ids=rows.input_ids, attention_mask=rows.attention_mask, labels=labels).loss
        assert found[name] == pytest.approx(own.item(), rel=1e-5), "transformers' own loss"
    assert found["worse"] == 1.0


# --- The loop, and the choice


def test_two_rounds_are_one_round_twice():
    """With the same optimizer, whose state goes on."""
    features = drawn(0, 12, 2, 3)

    def run(parts: list[int]) -> torch.Tensor:
        weight, at = drawn(1, 3).requires_grad_(), [0]
        optimizer = torch.optim.Adam([weight], lr=0.1)

        def collect(_):
            at[0] += 4
            return list(features[at[0] - 4 : at[0]])

        logps = lambda pairs: tuple(torch.stack(pairs).transpose(0, 1) @ weight)  # noqa: E731
        ref = lambda pairs: tuple(torch.stack(pairs).transpose(0, 1) @ torch.ones(3, dtype=torch.float64))  # noqa: E731
        loss = lambda a, b, c, d: -torch.nn.functional.logsigmoid(a - c - b + d).mean()  # noqa: E731
        for rounds in parts:
            functions["train_in_rounds"](weight, optimizer, collect, logps, ref, loss, rounds=rounds, epochs=2, size=3)
        return weight.detach()

    torch.testing.assert_close(run([2]), run([1, 1]), rtol=1e-9, atol=1e-9)


@FAST
@given(SEEDS)
def test_the_chosen_row_is_the_best_of_an_exhaustive_search(seed):
    g = torch.Generator().manual_seed(seed)
    rows = [
        {"name": str(i), "utility": torch.randint(4, (3,), generator=g).tolist(), "kl": torch.rand(3, generator=g).tolist(),
         "tokens": int(torch.randint(5, (1,), generator=g))}
        for i in range(8)
    ]  # fmt: skip
    found = functions["best_under_budget"](rows, 0.8, 3)
    within = [r for r in rows if max(r["kl"]) <= 0.8 and r["tokens"] <= 3]
    key = lambda r: (-sorted(r["utility"])[1], r["tokens"], rows.index(r))  # noqa: E731
    assert found == (min(within, key=key)["name"] if within else "")


# --- The entry


def test_share_is_0_for_the_reference_and_1_for_the_optimum():
    one, features = entry.world(3), entry.prompts(4, 300)
    kl, share = rules.share_and_kl(torch.zeros_like(one.reference), one, features)
    assert kl == pytest.approx(0, abs=1e-9) and share == pytest.approx(0, abs=1e-9)
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        within = rules.share_and_kl(middle * one.utility, one, features)[0] <= entry.MAX_KL
        low, high = (middle, high) if within else (low, middle)
    kl, share = rules.share_and_kl(low * one.utility, one, features)
    assert kl == pytest.approx(entry.MAX_KL, abs=1e-4) and share == pytest.approx(1, abs=1e-4), "the closed form"
    assert torch.linalg.matrix_rank(one.utility) == entry.RANK, "an adapter can hold it"


def entered(seed: int = 1) -> dict:
    return entry._all_entered(functions["best_entry"], seed)


def judged(data: dict, bar: str = "entry_gains_two_fifths") -> dict:
    return {name: entry.value for name, entry in RULES[bar](data).items() if not name.startswith("_")}


def test_the_reference_passes_the_highest_bar_with_room():
    for seed in (1, 2):
        found = [rules.measured(x.tobytes(), seed + 10 * i) for i, x in enumerate(entered(seed)["checkpoints"])]
        kl, share = np.mean(found, axis=0)
        assert kl < entry.MAX_KL * (1 + rules.LUCK) - 0.01 and share > max(rules.BARS.values()) + 0.03


@pytest.mark.parametrize("forged", ["pickle", "nan", "shapes", "header"])
def test_the_judge_refuses_a_forged_entry_with_a_sentence_and_measures_nothing(forged):
    """The evidence itself may be forged: it never came by the probe."""
    found = entered()
    right = found["checkpoints"][2].tobytes()
    a = load(right)
    bad = {
        "pickle": b"\x80\x04\x95" + right,
        "nan": save(a | {"lora_A": a["lora_A"] * float("nan")}),
        "shapes": save(a | {"lora_A": torch.zeros(8, 3)}),
        "header": (10**10).to_bytes(8, "little") + right[8:],
    }[forged]
    found["checkpoints"][2] = np.frombuffer(bad, dtype=np.uint8)
    summary = RULES["entry_gains_two_fifths"](found)
    assert not any(entry.value for name, entry in summary.items() if not name.startswith("_"))
    assert summary["the checkpoint can be read"].says.endswith(".")
    assert all(judged(entered()).values())


def test_prompts_are_new_for_every_file():
    """Another file, be it by one bit, is measured on other prompts; the same one on the same."""
    content = entered()["checkpoints"][0].tobytes()
    other = save(load(content), metadata={"by": "another hand"})
    first, again, second = (rules.measured(x, 1) for x in (content, content, other))
    assert first == again and first != second and first == pytest.approx(second, abs=0.1)


def test_too_few_files_are_no_entry():
    found = entered()
    with pytest.raises(ValueError):
        RULES["entry_gains_two_fifths"](found | {"checkpoints": found["checkpoints"][:2]})
