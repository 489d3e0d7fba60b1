"""Pairs of answers as rows of tokens, and what policies made from them are measured by. Given to chapter 06, not taught in it."""

import copy
import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

import torch

from course import rollouts
from data.utility import appraise

Example = tuple[list[int], list[int]]


def examples(records: Sequence[dict], name: str, tokenizer) -> list[Example]:
    """Token ids and labels of each record's answer ("chosen" or "rejected"): only the answer is supervised, its end mark too."""
    ids_of = tokenizer.get_vocab()
    found = []
    for record in records:
        prompt = [ids_of[word] for word in f"<bos> <user> {record['prompt']} <end> <assistant>".split()]
        answer = [ids_of[word] for word in f"{record[name]} <end>".split()]
        found.append((prompt + answer, [-100] * len(prompt) + answer))
    return found


# --- The world that can be listed


def drawn_wins(ref_logps: torch.Tensor, rewards: torch.Tensor, pairs: int, seed: int) -> torch.Tensor:
    """wins[x, i, j], (prompts, answers, answers): how often answer i was preferred to j, of `pairs` labelled pairs in all.

    Prompts come equally often, both answers from the reference, and labels by Bradley and Terry.
    """
    prompts, answers = ref_logps.shape
    g = torch.Generator().manual_seed(seed)
    rows = torch.arange(pairs) % prompts
    first, second = (torch.multinomial(ref_logps.exp()[rows], 1, generator=g)[:, 0] for _ in range(2))
    first_wins = torch.rand(pairs, generator=g) < torch.sigmoid(rewards[rows, first] - rewards[rows, second])
    winner, loser = torch.where(first_wins, first, second), torch.where(first_wins, second, first)
    wins = torch.zeros(prompts * answers * answers)
    wins.index_add_(0, (rows * answers + winner) * answers + loser, torch.ones(pairs))
    return wins.view(prompts, answers, answers)


def descend(loss_of: Callable, start: torch.Tensor, steps: int = 400, rate: float = 0.1) -> torch.Tensor:
    """The log-probabilities at which Adam arrives from `start`, with a rate that falls to 0; loss_of gets log-probabilities."""
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(logits.log_softmax(-1)).backward()
        optimizer.step()
        schedule.step()
    return logits.detach().log_softmax(-1)


def worths(world, parts: Sequence[tuple[str, float, str]]) -> dict[str, tuple[float, torch.Tensor]]:
    """For the sliders: what is paid for in the answers to the first prompt, {name: (points, (answers,) of 0 and 1)}.

    parts: a name, its points, and the attribute of an `Appraisal` that is to be more than 0.
    """
    seen = [appraise(world.prompts[0], answer) for answer in world.answers[0]]
    return {name: (worth, torch.tensor([float(getattr(a, what) > 0) for a in seen])) for name, worth, what in parts}


# --- What a policy is like


@torch.no_grad()
def look_at(policy, reference, questions: Sequence[str], seed: int, new: int = 32) -> dict:
    """One answer of the policy to each question: mean true utility, KL to the reference, tokens; and each answer's utility."""
    torch.manual_seed(seed)
    batch = rollouts.draw(policy, list(questions), new)
    mask, tokens = batch["mask"], batch["tokens"]
    logps, ref_logps = (rollouts.token_logps(rollouts.answer_logits(m, batch), tokens) for m in (policy, reference))
    utilities = rollouts.utilities(list(questions), batch)
    return {
        "utility": utilities.mean().item(),
        "kl": ((logps - ref_logps) * mask).sum(1).mean().item(),
        "length": mask.sum(1).float().mean().item(),
        "utilities": utilities.tolist(),
        "texts": rollouts.texts(batch),
    }


def win_rate(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How often an answer of ours to a question has a larger utility than theirs to the same one; a tie counts half."""
    return sum((a > b) + 0.5 * (a == b) for a, b in zip(ours, theirs, strict=True)) / len(ours)


def utility_at(first: Sequence[Sequence[dict]], second: Sequence[Sequence[dict]]) -> dict[str, float]:
    """The median utilities of two methods' curves at one KL, the largest that all their curves reach; straight lines between."""
    kl = min(max(point["kl"] for point in curve) for curve in [*first, *second])
    found = {"kl": kl}
    for name, curves in (("first", first), ("second", second)):
        found[name] = median(_first_at(curve, kl) for curve in curves)
    return found


def _first_at(curve: Sequence[dict], kl: float) -> float:
    """The utility where a curve first comes as far as this KL."""
    for a, b in itertools.pairwise(curve):
        if b["kl"] >= kl:
            share = (kl - a["kl"]) / (b["kl"] - a["kl"]) if b["kl"] > a["kl"] else 1.0
            return a["utility"] + max(0.0, min(1.0, share)) * (b["utility"] - a["utility"])
    return curve[-1]["utility"]


def best_of_n(
    reference, reward_model, questions: Sequence[str], counts: Sequence[int], best_of_n_probs: Callable, drawn: int = 128
) -> tuple[list[float], list[float]]:
    """The KL and the true utility of best of n by the score, for each n in counts: means over the questions.

    best_of_n_probs: chapter 04's answer.
    """
    kls, utilities = [0.0] * len(counts), [0.0] * len(counts)
    for question in questions:
        batch = rollouts.draw(reference, [question] * drawn, 32)
        texts = rollouts.texts(batch)
        times = Counter(texts)
        at = [texts.index(text) for text in times]
        scores = rollouts.scores(reward_model, batch).cpu()[at]
        worth = rollouts.utilities([question] * drawn, batch)[at].double()
        probs = torch.tensor([times[text] / drawn for text in times], dtype=torch.float64)
        for i, n in enumerate(counts):
            best = torch.as_tensor(best_of_n_probs(probs, scores, n)).to(probs)
            kls[i] += (torch.special.xlogy(best, best / probs).sum() / len(questions)).item()
            utilities[i] += ((best * worth).sum() / len(questions)).item()
    return kls, utilities


# --- PPO, as in chapter 05, with the reader's own update

PPO = dict(beta=0.1, gamma=1.0, lam=0.95, clip_range=0.2, value_clip=1.0, value_coef=0.5, epochs=2)


def train_ppo(
    reference, reward_model, questions: list[str], ppo_update: Callable, updates: int, seed: int, after_update: Callable
):
    """PPO from the reference with chapter 05's settings, 64 answers an update; after_update(policy, update) after each."""
    torch.manual_seed(seed)
    rng, policy = random.Random(seed), copy.deepcopy(reference).requires_grad_()
    value_model = rollouts.new_value_model(reference)
    learning = [{"params": policy.parameters(), "lr": 4e-4}, {"params": value_model.parameters(), "lr": 1e-3}]
    optimizer = torch.optim.AdamW(learning, weight_decay=0.0)
    for update in range(updates):
        asked = rollouts.draw_questions(rng, questions, 16, 4)
        with torch.no_grad():
            batch = rollouts.draw(policy, asked, 32)
            for name, model in (("logps", policy), ("ref_logps", reference)):
                batch[name] = rollouts.token_logps(rollouts.answer_logits(model, batch), batch["tokens"])
            batch["scores"] = rollouts.scores(reward_model, batch)
            batch["values"] = rollouts.token_values(value_model, batch)
        minibatches = [rows.to(policy.device) for rows in torch.randperm(len(asked)).chunk(2)]
        ppo_update(rollouts.reader(policy, value_model, batch), batch, minibatches, optimizer, **PPO)
        after_update(policy, update)
    return policy


# --- What a library makes of the same pairs


def trl_losses(
    model, reference, records: Sequence[dict], tokenizer, beta: float, loss_types: Sequence[str], smoothing: float = 0.0
) -> dict[str, float]:
    """What trl's DPOTrainer has for its losses on these pairs, by loss type. It does template, batch and loss by itself."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from course.quiet import hush_libraries

    hush_libraries()
    asked = [{"prompt": [{"role": "user", "content": r["prompt"]}]} for r in records]
    said = [{k: [{"role": "assistant", "content": r[k]}] for k in ("chosen", "rejected")} for r in records]
    found = {}
    for loss_type in loss_types:
        config = DPOConfig(
            tempfile.mkdtemp(), beta=beta, loss_type=[loss_type], label_smoothing=smoothing, use_cpu=model.device.type == "cpu",
            bf16=False, gradient_checkpointing=False, max_length=None, report_to=[], disable_tqdm=True, save_strategy="no",
            logging_strategy="no", per_device_train_batch_size=len(records), dataloader_pin_memory=False,
        )  # fmt: skip
        trainer = DPOTrainer(
            model=copy.deepcopy(model), ref_model=copy.deepcopy(reference), args=config, processing_class=tokenizer,
            train_dataset=Dataset.from_list([a | b for a, b in zip(asked, said, strict=True)]),
        )  # fmt: skip
        trainer.model.eval()
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(records))])
        batch = {name: value.to(model.device) if hasattr(value, "to") else value for name, value in batch.items()}
        with torch.no_grad():
            found[loss_type] = trainer.compute_loss(trainer.model, batch).item()
    return found


# --- A real chat model

SMOL = {"start": "", "header": "<|im_start|>{role}\n", "end": "<|im_end|>", "after": "\n"}
NANO = {"start": "<bos>", "header": "<{role}>", "end": "<end>", "after": ""}


def chat_examples(real, records: Sequence[dict], name: str, render_chat: Callable) -> list[Example]:
    """Ids and labels of each record's question with its answer called `name`. real: a `manners.Manner`."""
    found = []
    for record in records:
        talk = [*real.system, {"role": "user", "content": record["prompt"]}, {"role": "assistant", "content": record[name]}]
        ids, spoken = render_chat(talk, SMOL if real.real else NANO, real.encode)
        found.append((ids, [token if keep else -100 for token, keep in zip(ids, spoken, strict=True)]))
    return found


def chat_answers(real, model, render_chat: Callable, collate: Callable, generate_answers: Callable, new: int = 24) -> list[str]:
    """What the model answers to the held-out questions, greedily."""
    template, pad = SMOL if real.real else NANO, real.tokenizer.pad_token_id
    end = real.encode(template["end"])[0]
    asked = [[*real.system, {"role": "user", "content": r["prompt"]}] for r in real.heldout]
    rows = [render_chat(talk, template, real.encode, add_generation_prompt=True)[0] for talk in asked]
    batch = collate([(row, row) for row in rows], pad, side="left")
    ids, mask = (batch[name].to(model.device) for name in ("input_ids", "attention_mask"))
    training = model.training
    said = generate_answers(model.eval(), ids, mask, new, end, pad).tolist()
    model.train(training)
    return [real.tokenizer.decode([t for t in row if t not in (end, pad)]) for row in said]
