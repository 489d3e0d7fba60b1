"""What the reader writes in one chapter and later chapters call again, for readers who have skipped it: the toolkit's own.

In a notebook: `collate = earlier("collate", methods.collate)` takes the reader's answer where it has passed, else this one.
Functions have the names and contracts of their exercises; tests/test_course_methods.py holds them against the answers of
the course. What has no exercise (prompt_batch, answer_texts) is given to all chapters alike.
"""

import torch
import torch.nn.functional as F

# --- Chapter 02: conversations, batches, answers


def render_chat(messages, template, encode, add_generation_prompt: bool = False) -> tuple[list[int], list[int]]:
    """The token ids of a conversation, and for each whether the assistant says it (1) or not (0): chapter 02's exercise."""
    ids = list(encode(template["start"]))
    mask = [0] * len(ids)

    def write(text: str, spoken: bool) -> None:
        new = encode(text)
        ids.extend(new)
        mask.extend([int(spoken)] * len(new))

    for message in messages:
        said = message["role"] == "assistant"
        write(template["header"].format(role=message["role"]), False)
        write(message["content"], said)
        write(template["end"], said)
        write(template["after"], False)
    if add_generation_prompt:
        write(template["header"].format(role="assistant"), False)
    return ids, mask


def collate(examples, pad_id: int, side: str = "right") -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each (batch, longest), of pairs (input_ids, labels), padded on `side`."""
    rows, longest = len(examples), max(len(ids) for ids, _ in examples)
    batch = {"input_ids": torch.full((rows, longest), pad_id), "attention_mask": torch.zeros(rows, longest, dtype=torch.long)}
    batch["labels"] = torch.full((rows, longest), -100)
    for row, (ids, labels) in enumerate(examples):
        place = slice(longest - len(ids), longest) if side == "left" else slice(len(ids))
        batch["input_ids"][row, place] = torch.tensor(ids, dtype=torch.long)
        batch["attention_mask"][row, place] = 1
        batch["labels"][row, place] = torch.tensor(labels, dtype=torch.long)
    return batch


def prompt_batch(prompts: list[str], tokenizer, device="cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Questions as the nano model is asked them: input_ids and attention_mask (batch, seq), padded on the left."""
    texts = [f"<bos> <user> {prompt} <end> <assistant>" for prompt in prompts]
    rows = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
    return rows.input_ids.to(device), rows.attention_mask.to(device)


def sequence_logprob(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(answer | prompt) of each row, (batch,): the sum of log p over its supervised tokens.

    logits: (batch, seq, vocab); labels: (batch, seq), not shifted, -100 where nothing is supervised.
    """
    surprises = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none")
    return -surprises.sum(dim=1)  # cross_entropy gives 0 where the label is -100


@torch.no_grad()
def generate_answers(
    model, input_ids, attention_mask, max_new_tokens: int, end_id: int, pad_id: int, temperature: float = 0.0, generator=None
) -> torch.Tensor:
    """The new tokens that continue each row, (batch, new): up to its end_id, pad_id from then on.

    input_ids, attention_mask: (batch, seq), padded on the left. Temperature 0 takes the most likely token; above 0 tokens are
    drawn, with the generator (on the model's device), from softmax(logits / temperature). Stops when every row has ended.
    """
    rows = len(input_ids)
    new = torch.full((rows, max_new_tokens), pad_id, dtype=input_ids.dtype, device=input_ids.device)
    alive = torch.ones(rows, dtype=torch.bool, device=input_ids.device)
    ids, mask, kept, column = input_ids, attention_mask, None, 0
    while column < max_new_tokens and alive.any():
        step = model(input_ids=ids, attention_mask=mask, past_key_values=kept, use_cache=True)
        kept, logits = step.past_key_values, step.logits[:, -1].float()  # (batch, vocab)
        if temperature > 0:
            drawn = torch.multinomial(F.softmax(logits / temperature, dim=-1), 1, generator=generator).squeeze(1)
        else:
            drawn = logits.argmax(dim=-1)
        new[:, column] = torch.where(alive, drawn, pad_id)
        alive &= drawn != end_id
        ids, mask = new[:, column, None], F.pad(mask, (0, 1), value=1)
        column += 1
    return new[:, :column]


# --- Chapter 03: learning from a reward


def leave_one_out_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """Each reward minus the mean of the other rewards in its row: (prompts, k), k >= 2."""
    k = rewards.shape[1]
    return (rewards - rewards.mean(1, keepdim=True)) * (k / (k - 1))


def kl_estimate(logps: torch.Tensor, ref_logps: torch.Tensor) -> torch.Tensor:
    """For each sample of the policy an estimate of KL(policy || reference): without bias, and never negative (k3)."""
    log_ratio = ref_logps - logps
    return torch.expm1(log_ratio) - log_ratio


def answer_mask(tokens: torch.Tensor, end_id: int) -> torch.Tensor:
    """(batch, new): 1 on the tokens of each answer, its first end_id included, 0 behind that."""
    unfinished = (tokens != end_id).long().cumprod(1)  # (batch, new): no end mark up to here
    return F.pad(unfinished[:, :-1], (1, 0), value=1)


def rollout_logps(model, input_ids, attention_mask, tokens, mask) -> torch.Tensor:
    """log p of each sampled token given everything before it, (batch, new), with gradient; 0 where the mask is 0.

    input_ids, attention_mask: (batch, seq), prompts padded on the left; tokens, mask: (batch, new).
    """
    new = tokens.shape[1]
    # Behind an answer's end stands nothing that counts, so nothing there has to be hidden.
    read = {"input_ids": torch.cat([input_ids, tokens], 1), "attention_mask": F.pad(attention_mask, (0, new), value=1)}
    logits = model(**read).logits[:, -new - 1 : -1]  # (batch, new, vocab)
    return -F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").masked_fill(mask == 0, 0.0)


def answer_texts(tokens: torch.Tensor, mask: torch.Tensor, tokenizer, end_id: int) -> list[str]:
    """The sampled answers as texts, without their end marks."""
    rows = zip(tokens.tolist(), mask.tolist(), strict=True)
    return [tokenizer.decode([t for t, keep in zip(*row, strict=True) if keep and t != end_id]) for row in rows]


# --- Chapter 04: what a reward is used for


def best_of_n_probs(probs: torch.Tensor, rewards: torch.Tensor, n: int) -> torch.Tensor:
    """How probable each answer is as the best of n independent draws, (answers,): of equals, the first one drawn.

    probs: (answers,), float64; rewards: (answers,).
    """
    levels, level = rewards.unique(return_inverse=True)  # from the worst to the best
    share = torch.zeros(len(levels), dtype=probs.dtype).index_add_(0, level, probs)  # of a draw, by level
    up_to = share.cumsum(0).clamp(max=1)
    kept = up_to**n - (up_to - share).clamp(min=0) ** n
    return torch.where(probs > 0, probs / share[level] * kept[level], 0.0)
