"""Rollouts in the nano world: questions, drawn answers, and what each model says of them. Given to chapter 05, not taught in it.

A rollout is a dictionary of tensors. `draw` fills in input_ids and attention_mask (rows, prompt + new), and tokens and mask
(rows, new): the answers alone, whose mask is 1 up to the end token and on it.
"""

import copy
import random
import tempfile
from functools import cache

import torch

from course import data, methods
from data.questions import fact_questions, understand
from data.utility import appraise

Rollout = dict[str, torch.Tensor]


@cache
def _tokenizer():
    return data.load_tokenizer()


def _end() -> int:
    return _tokenizer().get_vocab()["<end>"]


def questions_about_facts(split: str) -> list[str]:
    """The questions of chapter 04's comparisons that are about facts: what the reward model has learned to judge."""
    asked = [record["prompt"] for record in data.load_jsonl(f"preferences_{split}")]
    return [question for question in asked if understand(question).kind == "facts"]


def draw_questions(rng: random.Random, questions: list[str], count: int, answers: int) -> list[str]:
    """`count` different places of the list, each as often as it is to be answered."""
    return [question for question in rng.sample(questions, count) for _ in range(answers)]


# --- What is drawn


@torch.no_grad()
def draw(policy, questions: list[str], new: int) -> Rollout:
    """One answer to each question, of at most `new` tokens, drawn at temperature 1 with a key/value cache."""
    asked, attention_mask = methods.prompt_batch(questions, _tokenizer(), policy.device)
    pad = _tokenizer().pad_token_id
    written = policy.generate(
        input_ids=asked, attention_mask=attention_mask, max_new_tokens=new, use_cache=True, do_sample=True,
        top_k=0, top_p=1.0, temperature=1.0, eos_token_id=_end(), pad_token_id=pad,
    )  # fmt: skip
    tokens = written[:, asked.shape[1] :]
    is_end = (tokens == _end()).long()
    mask = (is_end.cumsum(1) - is_end == 0).long()
    attention_mask = torch.cat([attention_mask, mask], dim=1)
    return {"input_ids": written, "attention_mask": attention_mask, "tokens": tokens, "mask": mask}


def texts(batch: Rollout) -> list[str]:
    """The answers in words, without end tokens and padding."""
    left_out = (_end(), _tokenizer().pad_token_id)
    return _tokenizer().batch_decode([[t for t in row if t not in left_out] for row in batch["tokens"].tolist()])


def words(batch: Rollout, row: int) -> list[str]:
    """The tokens of one answer as they are written, its end token included."""
    return _tokenizer().convert_ids_to_tokens(batch["tokens"][row, : batch["mask"][row].sum()].tolist())


# --- What the models say of it


def answer_logits(model, batch: Rollout) -> torch.Tensor:
    """The logits from which each answer token is drawn, (rows, new, vocab)."""
    new = batch["tokens"].shape[1]
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, -new - 1 : -1]


def token_logps(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """log p of each answer token, (rows, new)."""
    return logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def entropies(logits: torch.Tensor) -> torch.Tensor:
    """The entropy of the next token at each place, (rows, new), in nats."""
    logps = logits.log_softmax(-1)
    return -(logps.exp() * logps).sum(-1)


def new_value_model(reference):
    """The body of the reference with a fresh head, which at first expects 0 everywhere."""
    from transformers import LlamaForSequenceClassification

    config = copy.deepcopy(reference.config)
    config.num_labels = 1
    model = LlamaForSequenceClassification(config).to(reference.device)
    model.model.load_state_dict(reference.model.state_dict())
    torch.nn.init.zeros_(model.score.weight)
    return model.train()


def token_values(model, batch: Rollout) -> torch.Tensor:
    """What the value model expects before each answer token, (rows, new): its head is read at every place."""
    hidden = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    return model.score(hidden)[:, -batch["tokens"].shape[1] - 1 : -1, 0]


@torch.no_grad()
def scores(reward_model, batch: Rollout) -> torch.Tensor:
    """The reward model's score of each whole answer, (rows,)."""
    return reward_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]


@torch.no_grad()
def scores_on_the_way(reward_model, batch: Rollout, row: int) -> torch.Tensor:
    """What the score of one answer would be if it had stopped before each of its tokens, (its length,)."""
    length, new = int(batch["mask"][row].sum()), batch["tokens"].shape[1]
    ids, mask = (batch[name][row].repeat(length, 1) for name in ("input_ids", "attention_mask"))
    places = torch.arange(ids.shape[1], device=ids.device)
    behind = places >= ids.shape[1] - new + places[:length, None]
    cut = {"input_ids": ids.masked_fill(behind, _tokenizer().pad_token_id), "attention_mask": mask.masked_fill(behind, 0)}
    return scores(reward_model, cut)


def reader(policy, value_model, batch: Rollout):
    """A function of row numbers: the present log-probabilities and values of these rows' tokens, with gradients."""

    def evaluate(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        part = {name: batch[name][rows] for name in ("input_ids", "attention_mask", "tokens")}
        return token_logps(answer_logits(policy, part), part["tokens"]), token_values(value_model, part)

    return evaluate


# --- What the models never meet, and what the curves show


def utilities(questions: list[str], batch: Rollout) -> torch.Tensor:
    """The true utility of each answer, (rows,). A row that was cut off before its end token is judged as it stands."""
    return torch.tensor([appraise(q, text).utility for q, text in zip(questions, texts(batch), strict=True)])


def summary(questions: list[str], batch: Rollout) -> dict[str, float]:
    """What the curves show of one rollout. The KL is that of whole answers, in nats, estimated on the rollout."""
    mask, tokens = batch["mask"], batch["mask"].sum().item()
    return {
        "score": batch["scores"].mean().item(),
        "utility": utilities(questions, batch).mean().item(),
        "kl": ((batch["logps"] - batch["ref_logps"]) * mask).sum(1).mean().item(),
        "entropy": ((batch["entropy"] * mask).sum() / tokens).item(),
        "tokens": tokens,
        "length": tokens / len(mask),
    }


def kinds_of_answers(questions: list[str], said: list[str]) -> dict[str, float]:
    """What questions about facts are answered with: three shares that add up to 1; then words, and courtesies too many."""
    seen = [appraise(q, text) for q, text in zip(questions, said, strict=True)]
    facts = {question.full() for question in fact_questions()}
    elsewhere = sum(any(t in text for t in facts) and not a.right for text, a in zip(said, seen)) / len(said)
    right = sum(a.right for a in seen) / len(said)
    surplus = sum(max(a.openings - 1, 0) + max(a.closings - 1, 0) for a in seen) / len(said)
    kinds = {"right": right, "true of something else": elsewhere, "neither": 1 - right - elsewhere}
    return kinds | {"words": sum(a.words for a in seen) / len(said), "courtesies too many": surplus}


def smooth(run: list[dict], names: tuple[str, ...], width: int = 5) -> list[dict[str, float]]:
    """At each update the mean over the last `width`: single batches are noisy."""
    windows = [run[max(0, i - width + 1) : i + 1] for i in range(len(run))]
    return [{name: sum(point[name] for point in window) / len(window) for name in names} for window in windows]


# --- Others


def bytes_of(model, optimizer=None) -> int:
    """Bytes of a model's weights and gradients, and of what the optimizer keeps for them."""
    held = [t for p in model.parameters() for t in (p, p.grad) if t is not None]
    if optimizer is not None:
        held += [t for p in model.parameters() for t in optimizer.state[p].values() if t.dim() > 0]
    return sum(t.numel() * t.element_size() for t in held)


def bytes_in_training(model) -> int:
    """Bytes of a copy of the model, its gradients and AdamW's state, after one step on nonsense."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 9, dtype=torch.long, device=model.device)).logits.sum().backward()
    optimizer.step()
    return bytes_of(model, optimizer)


def policy_loss_of_trl(model, batch: Rollout, old_logps: torch.Tensor, advantages: torch.Tensor, clip_range: float) -> float:
    """The loss of trl's GRPO trainer on a rollout: with its KL term off, PPO's policy loss."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from course.quiet import hush_libraries

    hush_libraries()
    config = GRPOConfig(
        tempfile.mkdtemp(), loss_type="bnpo", beta=0.0, epsilon=clip_range, num_generations=4, report_to=[],
        per_device_train_batch_size=4, use_cpu=model.device.type == "cpu", bf16=False, gradient_checkpointing=False,
        disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    trainer = GRPOTrainer(
        copy.deepcopy(model), args=config, processing_class=_tokenizer(), reward_funcs=lambda completions, **_: [0.0] * 4,
        train_dataset=Dataset.from_list([{"prompt": "what is 3 plus 4 ?"}] * 4),
    )  # fmt: skip
    trainer.model.eval()
    new = batch["tokens"].shape[1]
    given = {
        "prompt_ids": batch["input_ids"][:, :-new],
        "prompt_mask": batch["attention_mask"][:, :-new],
        "completion_ids": batch["tokens"],
        "completion_mask": batch["mask"],
        "old_per_token_logps": old_logps,
        "advantages": advantages,
        "num_items_in_batch": batch["mask"].sum(),
    }
    with torch.no_grad():
        return trainer.compute_loss(trainer.model, given).item()
