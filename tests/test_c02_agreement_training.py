"""Chapter 02's loss, log-probability, training loop and generation agree with libraries and second derivations.

To 1e-5, on the nano model where a model is needed.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.chapters.c02_sft import learning
from autograder.evidence import PUBLIC_SEEDS
from autograder.judging.reference import Reference

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
FAST = settings(max_examples=40, deadline=None, derandomize=True)
IGNORE = -100
CHOICES = [choose for name, choose in vars(learning).items() if name.startswith(("_rows_", "_two_"))]

functions = Reference("02_sft").functions
sft_loss = functions["sft_loss"]
sequence_logprob = functions["sequence_logprob"]
train_sft = functions["train_sft"]
generate_answers = functions["generate_answers"]


@pytest.fixture(scope="module")
def nano():
    from course.models import load_nano

    return load_nano("base")


@pytest.fixture(scope="module")
def tokenizer():
    from course.data import load_tokenizer

    return load_tokenizer()


def batch_of(seed: int, lengths: list[int], vocab: int, side: str = "right") -> dict[str, torch.Tensor]:
    """Rows of the lengths given, padded with 0; the first third of each is its prompt."""
    g = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    batch = {
        "input_ids": torch.zeros(len(lengths), longest, dtype=torch.long),
        "attention_mask": torch.zeros(len(lengths), longest, dtype=torch.long),
        "labels": torch.full((len(lengths), longest), IGNORE),
    }
    for row, length in enumerate(lengths):
        begin = longest - length if side == "left" else 0
        ids = torch.randint(1, vocab, (length,), generator=g)
        batch["input_ids"][row, begin : begin + length] = ids
        batch["attention_mask"][row, begin : begin + length] = 1
        batch["labels"][row, begin + length // 3 : begin + length] = ids[length // 3 :]
    return batch


def logits_of(model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def sft_trainer(model, tokenizer, folder, batches: list[dict[str, torch.Tensor]], **settings):
    """An SFTTrainer of trl that trains on ready-made batches of one row each, in their order."""
    import datasets
    from torch.utils.data import SequentialSampler
    from trl import SFTConfig, SFTTrainer

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, *given):
            return SequentialSampler(self.train_dataset)

    rows = []
    for batch in batches:
        ids, labels = batch["input_ids"][0], batch["labels"][0]
        rows.append({"input_ids": ids.tolist(), "labels": labels.tolist()})
    config = SFTConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        per_device_train_batch_size=1,
        dataset_kwargs={"skip_prepare_dataset": True},
        **settings,
    )
    return InOrder(model=model, args=config, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer)


# --- The loss


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("num_tokens", [None, 57])
def test_loss_is_that_of_transformers(nano, side, num_tokens):
    batch = batch_of(1, [17, 9, 13], nano.config.vocab_size, side)
    with torch.no_grad():
        output = nano(**batch, num_items_in_batch=num_tokens)
    torch.testing.assert_close(sft_loss(output.logits, batch["labels"], num_tokens), output.loss, **CLOSE)


@pytest.mark.parametrize("num_tokens", [None, 57])
def test_loss_is_that_of_trl(nano, tokenizer, tmp_path, num_tokens):
    batch = batch_of(2, [19, 5, 11], nano.config.vocab_size)
    trainer = sft_trainer(copy.deepcopy(nano), tokenizer, tmp_path, [batch_of(3, [7], nano.config.vocab_size)])
    trainer.model.eval()
    theirs = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=num_tokens)
    torch.testing.assert_close(sft_loss(logits_of(nano, batch), batch["labels"], num_tokens), theirs.detach(), **CLOSE)


def test_gradient_of_the_loss_is_probability_minus_target():
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=g, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[IGNORE, IGNORE, 4, 0, IGNORE], [1, 6, IGNORE, IGNORE, 2]])
    sft_loss(logits, labels, 11).backward()
    expected = torch.zeros(2, 5, 7, dtype=torch.float64)
    for row, t in ((0, 2), (0, 3), (1, 1), (1, 4)):
        expected[row, t - 1] = logits.detach()[row, t - 1].softmax(-1)
        expected[row, t - 1, labels[row, t]] -= 1
    torch.testing.assert_close(logits.grad, expected / 11, **CLOSE)


@FAST
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(3, 12), min_size=2, max_size=6),
    first=st.integers(1, 5),
)
def test_losses_of_the_parts_add_up(seed, lengths, first):
    """Over the tokens of the whole, the losses of two halves of a batch sum to the loss of the batch."""
    batch = batch_of(seed, lengths, 13)
    labels = batch["labels"]
    logits = torch.randn(*labels.shape, 13, generator=torch.Generator().manual_seed(seed))
    tokens = int((labels[:, 1:] != IGNORE).sum())
    parts = [sft_loss(logits[rows], labels[rows], tokens) for rows in (slice(first), slice(first, None))]
    torch.testing.assert_close(parts[0] + parts[1], sft_loss(logits, labels), **CLOSE)


# --- The log-probability of an answer


def test_logprob_is_that_of_trl(nano):
    from trl.trainer.utils import selective_log_softmax

    batch = batch_of(4, [15, 6, 11], nano.config.vocab_size)
    logits, targets = logits_of(nano, batch), batch["labels"][:, 1:]
    theirs = selective_log_softmax(logits[:, :-1], targets.clamp(min=0))
    theirs = (theirs * (targets != IGNORE)).sum(-1)
    torch.testing.assert_close(sequence_logprob(logits, batch["labels"]), theirs, **CLOSE)


@pytest.mark.parametrize("side", ["right", "left"])
def test_logprob_is_the_product_of_the_chain_rule(nano, side):
    """p(answer | prompt) token by token: the model in double precision reads every prefix alone, without padding."""
    lengths = [9, 5, 12]
    batch = batch_of(5, lengths, nano.config.vocab_size, side)
    ours = sequence_logprob(logits_of(nano, batch), batch["labels"])
    double = copy.deepcopy(nano).double()
    for row, length in enumerate(lengths):
        ids = batch["input_ids"][row][batch["attention_mask"][row].bool()]
        probability = 1.0
        for t in range(length // 3, length):
            with torch.no_grad():
                powers = double(ids[None, :t]).logits[0, -1].exp()
            probability *= (powers[ids[t]] / powers.sum()).item()
        assert ours[row].item() == pytest.approx(math.log(probability), rel=1e-5)


def test_loss_is_minus_the_logprobs_over_the_tokens(nano):
    batch = batch_of(6, [8, 14, 10], nano.config.vocab_size)
    logits, labels = logits_of(nano, batch), batch["labels"]
    tokens = int((labels[:, 1:] != IGNORE).sum())
    torch.testing.assert_close(-sequence_logprob(logits, labels).sum() / tokens, sft_loss(logits, labels), **CLOSE)


def test_probabilities_of_all_answers_sum_to_one(nano):
    """Every answer of two tokens to one prompt, cut to a vocabulary of nine."""
    vocab, prompt = 9, torch.tensor([3, 7, 5])
    answers = torch.cartesian_prod(torch.arange(vocab), torch.arange(vocab))
    ids = torch.cat([prompt.expand(len(answers), -1), answers], dim=1)
    with torch.no_grad():
        logits = nano(input_ids=ids).logits[..., :vocab]
    labels = ids.clone()
    labels[:, :3] = IGNORE
    assert sequence_logprob(logits, labels).exp().sum().item() == pytest.approx(1, rel=1e-5)


# --- The training loop


def adamw(model) -> torch.optim.Optimizer:
    """AdamW; its eps is well above the rounding error of gradients that are nearly zero."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, eps=1e-4)


def assert_same_weights(one, other) -> None:
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}")


def split(batch: dict[str, torch.Tensor], sizes: list[int]) -> list[dict[str, torch.Tensor]]:
    parts = {name: tensor.split(sizes) for name, tensor in batch.items()}
    return [{name: rows[i] for name, rows in parts.items()} for i in range(len(sizes))]


@pytest.mark.parametrize("sizes", [[2, 2, 2], [1, 5], [1, 1, 1, 1, 1, 1]], ids=str)
@pytest.mark.parametrize("max_norm", [1e9, 0.5], ids=["free", "clipped"])
def test_small_batches_train_like_a_large_one(nano, sizes, max_norm):
    large = [batch_of(s, [17, 5, 9, 21, 3, 12], nano.config.vocab_size) for s in range(3)]
    ran = []
    for updates in ([[batch] for batch in large], [split(batch, sizes) for batch in large]):
        model = copy.deepcopy(nano)
        losses = train_sft(model, updates, adamw(model), lambda step: 1e-3 / (step + 1), max_norm=max_norm)
        ran.append((model, losses))
    (one, losses), (other, losses_of_parts) = ran
    assert losses_of_parts == pytest.approx(losses, rel=1e-5)
    assert_same_weights(one, other)
    assert (one.lm_head.weight - nano.lm_head.weight).abs().max() > 1e-4, "nothing was trained"


def test_training_is_that_of_trl(nano, tokenizer, tmp_path):
    """SFTTrainer with gradient accumulation: one row a batch, three batches an update, in the order of the data."""
    lengths = [17, 5, 9, 21, 3, 12, 8, 8, 14]
    batches = [batch_of(s, [n], nano.config.vocab_size) for s, n in enumerate(lengths)]
    theirs = copy.deepcopy(nano)
    trainer = sft_trainer(
        theirs,
        tokenizer,
        tmp_path,
        batches,
        gradient_accumulation_steps=3,
        num_train_epochs=1,
        lr_scheduler_type="linear",
        warmup_steps=0,
        max_grad_norm=0.5,
        logging_steps=1,
    )
    trainer.optimizer = adamw(theirs)
    trainer.train()
    ours = copy.deepcopy(nano)
    updates = [batches[i : i + 3] for i in (0, 3, 6)]
    losses = train_sft(ours, updates, adamw(ours), lambda step: 1e-3 * (1 - step / 3), max_norm=0.5)
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == pytest.approx(logged, rel=1e-3)  # trl logs rounded numbers
    assert_same_weights(ours, theirs)


# --- Generation


def prompts_of(tokenizer) -> dict[str, torch.Tensor]:
    texts = ["the", "one day mia took the red ball to the", "two plus three is", "what is the capital of", "mia has"]
    rows = [[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]] for text in texts]
    longest = max(map(len, rows))
    pad = tokenizer.pad_token_id
    return {
        "input_ids": torch.tensor([[pad] * (longest - len(row)) + row for row in rows]),
        "attention_mask": torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows]),
    }


@pytest.mark.parametrize("end", ["eos", "full stop", "never said"])
def test_greedy_answers_are_those_of_transformers(nano, tokenizer, end):
    batch, pad_id = prompts_of(tokenizer), tokenizer.pad_token_id
    ends = {"eos": tokenizer.eos_token_id, "full stop": tokenizer(".", add_special_tokens=False)["input_ids"][0]}
    end_id = ends.get(end, nano.config.vocab_size + 1)
    theirs = nano.generate(**batch, max_new_tokens=32, do_sample=False, eos_token_id=end_id, pad_token_id=pad_id)[
        :, batch["input_ids"].shape[1] :
    ]
    ours = generate_answers(nano, **batch, max_new_tokens=32, end_id=end_id, pad_id=pad_id)
    assert torch.equal(ours, theirs)
    if end == "full stop":
        lengths = (ours == end_id).int().argmax(1)
        assert len(lengths.unique()) > 1, "all rows end together, so this shows little"


def test_greedy_answers_do_not_depend_on_the_padding(nano, tokenizer):
    """Each row as it would be without padding and without the others."""
    batch, pad_id = prompts_of(tokenizer), tokenizer.pad_token_id
    end_id = tokenizer(".", add_special_tokens=False)["input_ids"][0]
    together = generate_answers(nano, **batch, max_new_tokens=24, end_id=end_id, pad_id=pad_id)
    for row, mask in enumerate(batch["attention_mask"].bool()):
        ids = batch["input_ids"][row][mask][None]
        alone = generate_answers(nano, ids, torch.ones_like(ids), 24, end_id, pad_id)[0]
        assert torch.equal(together[row, : len(alone)], alone)
        assert (together[row, len(alone) :] == pad_id).all()


@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_drawn_answers_follow_the_model(nano, tokenizer, temperature):
    """The second token drawn, over every first token, against p(second) = sum of p(first) p(second | first)."""
    prompt = torch.tensor([[tokenizer.bos_token_id, *tokenizer("mia has", add_special_tokens=False)["input_ids"]]])
    n, vocab = 4000, nano.config.vocab_size
    ids = prompt.expand(n, -1)
    drawn = generate_answers(
        nano, ids, torch.ones_like(ids), 2, vocab + 1, 0, temperature, torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        first = (nano(prompt).logits[0, -1] / temperature).softmax(-1)
        ids = torch.cat([prompt.expand(vocab, -1), torch.arange(vocab)[:, None]], dim=1)
        second = first @ (nano(ids).logits[:, -1] / temperature).softmax(-1)
    for column, p in ((0, first), (1, second)):
        rates = F.one_hot(drawn[:, column], vocab).double().mean(0)
        assert ((rates - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 2 / n).all()


# --- What the probes of generation are given


@pytest.mark.parametrize("seed", PUBLIC_SEEDS)
@pytest.mark.parametrize("moved", [-2e-4, 2e-4])
def test_inputs_of_the_public_seeds_do_not_hang_on_rounding(monkeypatch, seed, moved):
    """The answer key travels to other machines: the same inputs must be picked there."""

    def picked() -> list[tuple]:
        learning._pick.cache_clear()
        inputs = [learning._pick(seed, choose) for choose in CHOICES]
        return [(p.model_seed, [t.tolist() for t in p.prompts], p.end_id, p.pad_id) for p in inputs]

    before = picked()
    for bound in ("_CLEAR", "_APART"):
        monkeypatch.setattr(learning, bound, getattr(learning, bound) + moved)
    assert picked() == before
