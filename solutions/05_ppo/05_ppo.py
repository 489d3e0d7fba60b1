# %% [markdown]
# # 5 · PPO
#
# The lecture calls PPO the method that language models were aligned with, and then leaves it at a name and two models
# "off-screen". Here nothing stays off-screen. You write the algorithm in nine pieces, put them together, and train a
# small chat model against a learned reward: first well, then too much.
#
# **You will be able to**
# - name the four models of PPO, and say what each costs in memory;
# - give every token of an answer its own reward and its own advantage;
# - write the clipped objective, and say for each of its four corners what it does to a token and why;
# - run the whole loop, from sampled answers to an update, and read its curves;
# - recognise reward hacking, and draw the curve that shows when more training makes a model worse.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 four models | ● ○ ○ | 10 | | 6 the clipped objective | ● ● ● | 25 |
# | 2 a reward for every token | ● ● ○ | 15 | | 7 how much the clip stops | ● ○ ○ | 10 |
# | 3 advantages | ● ● ● | 25 | | 8 the loss of the value model | ● ● ○ | 15 |
# | 4 whitening under a mask | ● ● ○ | 10 | | 9 from a rollout to an update | ● ● ○ | 20 |
# | 5 what each model learns from | ● ○ ○ | 10 | | | | |
#
# You need chapters 3 and 4, or to know what a policy gradient and a reward model are.

# %% tags=["imports"]
import torch

from autograder import check, progress

# %% tags=["demo"]
import copy
import math
import random
import time
from operator import itemgetter
from statistics import median

import matplotlib.pyplot as plt
from tqdm.auto import tqdm
from transformers import LlamaForSequenceClassification

from course import data, device, models, plots
from data.questions import fact_questions, understand
from data.utility import appraise

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more, and loses much where cores are shared
print(device.describe_machine())
DEVICE, DOSE = device.device(), device.dose()

# %% [markdown]
# ## The cast
#
# PPO (Schulman et al. 2017), as it was first used for language models (Ziegler et al. 2019; Stiennon et al. 2020;
# Ouyang et al. 2022), needs four models at once:
#
# - the **policy**, which answers and is trained;
# - the **reference**, a frozen copy of the policy as it was at the start, from which the KL is measured;
# - the **reward model** of chapter 4, frozen, which gives a whole answer one number, the *score*;
# - the **value model**, trained beside the policy, which predicts *before each token* how things will end.

# %% tags=["demo"]
tokenizer = data.load_tokenizer()
END, PAD = tokenizer.get_vocab()["<end>"], tokenizer.pad_token_id
reference = models.load_nano("sft").to(DEVICE).requires_grad_(False)
reward_model = models.load_nano("reward").to(DEVICE).requires_grad_(False)
policy = copy.deepcopy(reference).requires_grad_(True)


def new_value_model():
    """The body of the SFT model with a fresh head, which at first expects 0 everywhere."""
    config = copy.deepcopy(reference.config)
    config.num_labels = 1
    model = LlamaForSequenceClassification(config).to(DEVICE)
    model.model.load_state_dict(reference.model.state_dict())
    torch.nn.init.zeros_(model.score.weight)
    return model.train()


value_model = new_value_model()

# %% [markdown]
# The questions are those of chapter 4's comparisons: about facts, for those the reward model has learned to judge.

# %% tags=["demo"]
prompts, heldout = (
    [r["prompt"] for r in data.load_jsonl(f"preferences_{split}") if understand(r["prompt"]).kind == "facts"]
    for split in ("train", "heldout")
)
print(f"{len(set(prompts))} questions to learn on, {len(set(heldout))} kept back, such as: {heldout[0]}")

# %% [markdown]
# ## Exercise 1: four models, and what they weigh
#
# Four models need not weigh four times as much as one. What costs memory is training: beside each weight there is its
# gradient, and Adam keeps two running means.


# %% nbgrader={"grade": false, "grade_id": "memory_budget", "locked": false, "schema_version": 3, "solution": true, "task": false}
def memory_budget(policy: int, reward: int, value: int, bytes_per_number: int = 4) -> dict[str, int]:
    """The bytes that each of PPO's four models takes, activations left out: {"policy", "reference", "reward", "value"}.

    policy, reward, value: how many parameters each of the three has; the reference is a frozen copy of the policy. A model
    that is trained (policy and value) holds four numbers a parameter: the weight, its gradient, and Adam's two moments. A
    frozen model (reference and reward) holds its weights only. Every number takes bytes_per_number bytes.
    """
    ### BEGIN SOLUTION
    trained, frozen = 4 * bytes_per_number, bytes_per_number
    return {
        "policy": trained * policy,
        "reference": frozen * policy,
        "reward": frozen * reward,
        "value": trained * value,
    }
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "memory_budget_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("memory_budget", memory_budget)

# %% [markdown]
# Is the prediction right? Here is a step of Adam on both trained models. Afterwards, every byte that belongs to a
# parameter, its gradient or the optimizer is counted.


# %% tags=["demo"]
def bytes_of(model, optimizer=None) -> int:
    """Bytes of a model's weights and gradients, and of what the optimizer keeps for them."""
    held = [t for p in model.parameters() for t in (p, p.grad) if t is not None]
    if optimizer is not None:
        held += [t for p in model.parameters() for t in optimizer.state[p].values() if t.dim() > 0]
    return sum(t.numel() * t.element_size() for t in held)


some_ids = torch.randint(len(tokenizer), (2, 9), generator=torch.Generator().manual_seed(0)).to(DEVICE)
measured = {"reference": bytes_of(reference), "reward": bytes_of(reward_model)}
for name, model in (("policy", copy.deepcopy(policy)), ("value", copy.deepcopy(value_model))):
    adam = torch.optim.AdamW(model.parameters())
    model(some_ids).logits.sum().backward()
    adam.step()
    measured[name] = bytes_of(model, adam)
sizes = [sum(p.numel() for p in model.parameters()) for model in (policy, reward_model, value_model)]
predicted = memory_budget(*sizes)
plots.show_table(
    [{"model": n, "predicted": f"{predicted[n]:,}", "measured": f"{measured[n]:,}"} for n in predicted]
)

# %% tags=["demo"]
giant = {name: size / 2**30 for name, size in memory_budget(7 * 10**9, 7 * 10**9, 7 * 10**9).items()}
fig, ax = plt.subplots(figsize=(7, 2.4))
ax.barh(list(giant), list(giant.values()), color=[plots.BLUE, plots.GREY, plots.GREY, plots.ORANGE])
ax.invert_yaxis()
ax.set(xlabel="GiB", title=f"Seven billion parameters each, float32: {sum(giant.values()):.0f} GiB before the first token")
plt.show()

# %% [markdown]
# The two frozen models are a fifth of it. This is why much of the newer literature drops the value model (chapter 3's
# REINFORCE and GRPO need none), and why chapter 6 drops the reward model too.
#
# ## A rollout
#
# PPO learns from what the policy itself says. A **rollout** is a batch of answers with everything that will be needed
# about them later. We draw with `transformers`' own `generate`, which keeps a key/value cache.


# %% tags=["demo"]
@torch.no_grad()
def draw_answers(policy, questions: list[str], new: int, use_cache: bool = True) -> dict[str, torch.Tensor]:
    """Questions and drawn answers: input_ids, attention_mask (rows, prompt + new); tokens, mask (rows, new)."""
    texts = [f"<bos> <user> {question} <end> <assistant>" for question in questions]
    asked = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt").to(DEVICE)
    written = policy.generate(
        input_ids=asked.input_ids, attention_mask=asked.attention_mask, max_new_tokens=new, use_cache=use_cache,
        do_sample=True, top_k=0, top_p=1.0, temperature=1.0, eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip
    tokens = written[:, asked.input_ids.shape[1] :]  # (rows, new)
    is_end = (tokens == END).long()
    mask = (is_end.cumsum(1) - is_end == 0).long()  # 1 up to the end token, and on it
    attention_mask = torch.cat([asked.attention_mask, mask], dim=1)
    return {"input_ids": written, "attention_mask": attention_mask, "tokens": tokens, "mask": mask}


def logits_of(model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The logits from which each answer token was drawn, (rows, new, vocab)."""
    new = batch["tokens"].shape[1]
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, -new - 1 : -1]


def logps_of(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """log p of each answer token, (rows, new)."""
    return logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def values_of(model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the value model expects before each answer token, (rows, new): its head is read at every place."""
    hidden = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    return model.score(hidden)[:, -batch["tokens"].shape[1] - 1 : -1, 0]


@torch.no_grad()
def scores_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The reward model's score of each answer, read at its last real token, (rows,)."""
    return reward_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]


# %% [markdown]
# And because our world is a small one, there is a judge whom the models never meet: the **true utility**, of which
# the reward model is a copy learned from comparisons. We look at it, nothing is trained on it.


# %% tags=["demo"]
def texts_of(batch: dict[str, torch.Tensor]) -> list[str]:
    """The answers in words, without end tokens and padding."""
    return tokenizer.batch_decode([[t for t in row if t not in (END, PAD)] for row in batch["tokens"].tolist()])


def utilities_of(questions: list[str], batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The true utility of each answer, (rows,). A row that was cut off before its end token is judged as it stands."""
    return torch.tensor([appraise(q, text).utility for q, text in zip(questions, texts_of(batch))])


torch.manual_seed(0)
questions = random.Random(0).sample(sorted(set(heldout)), 8)
rollout = draw_answers(policy, questions, new=32)
plots.show_table(
    [
        {"asked": q, "answered": text, "score": score, "true utility": utility}
        for q, text, score, utility in zip(
            questions, texts_of(rollout), scores_of(rollout).tolist(), utilities_of(questions, rollout).tolist()
        )
    ]
)

# %% [markdown]
# ## Exercise 2: a reward for every token
#
# The objective is the lecture's, with the sign put right (chapter 3): the score *minus* $\beta$ times the KL to the
# reference. Along an answer, the log-ratio is a sum over its tokens, so each token can pay its own share at once. The
# score comes when the answer is complete:
#
# $$ r_t = -\beta\,\big(\log p_\theta(a_t) - \log p_{\text{ref}}(a_t)\big) + [\,t \text{ is the last token}\,]\; \text{score}. $$
#
# Mind the last token: it is the last of the *answer*, not of the padded row.


# %% nbgrader={"grade": false, "grade_id": "token_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_rewards(
    scores: torch.Tensor, logps: torch.Tensor, ref_logps: torch.Tensor, mask: torch.Tensor, beta: float
) -> torch.Tensor:
    """The reward of every token: -beta (logps - ref_logps), and on the last token of each answer its score as well.

    scores: (batch,), the reward model's opinion of each whole answer. logps, ref_logps: (batch, seq), log-probabilities of
    the answers' tokens under the policy and under the reference. mask: (batch, seq), integers 0 and 1; the 1s are the tokens
    of the answer, at least one, from the first place of its row on. On padding logps and ref_logps mean nothing and may be
    anything, -inf and NaN too. Returns (batch, seq), 0 on padding; no gradient flows from it to any argument.
    """
    ### BEGIN SOLUTION
    log_ratio = (logps - ref_logps).detach().masked_fill(mask == 0, 0.0)  # (batch, seq)
    rewards = -beta * log_ratio
    last = mask.sum(1) - 1  # (batch,)
    rewards[torch.arange(len(scores)), last] += scores.detach()
    return rewards
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "token_rewards_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("token_rewards", token_rewards)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the last token</summary>
#
# `mask.sum(1) - 1` is its place in each row; `rewards[torch.arange(batch), place]` picks one entry of each row.
# </details>
# <details><summary><b>Hint 2</b>: padding</summary>
#
# `0 * nan` is `nan`. `masked_fill(mask == 0, 0.0)` replaces an entry, whatever it was.
# </details>
#
# Here is one answer with the reward of each token. The policy is still the reference, so we make up a policy that has
# moved: it is drawn from at a lower temperature.

# %% tags=["demo"]
longest = rollout["mask"].sum(1).argmax().item()  # the longest answer
row = {name: tensor[longest : longest + 1] for name, tensor in rollout.items()}
with torch.no_grad():
    ref_logps = logps_of(logits_of(reference, row), row["tokens"])
    moved_logps = logps_of(1.5 * logits_of(policy, row), row["tokens"])
rewards = token_rewards(scores_of(row), moved_logps, ref_logps, row["mask"], beta=0.1)
names = tokenizer.convert_ids_to_tokens(row["tokens"][0, : row["mask"].sum()].tolist())
earned = rewards[0, : len(names)].tolist()
colors = [plots.GREEN if reward > 0 else plots.VERMILION if reward < 0 else None for reward in earned]
plots.show_tokens(names, colors, [f"{reward:.2f}" for reward in earned])

# %% [markdown]
# ## Exercise 3: generalised advantage estimation
#
# An answer gets one score, and a dozen tokens want to know which of them earned it. The value model helps: if its
# expectation jumps after a token, that token mattered. The jump is the *surprise*
#
# $$ \delta_t = r_t + \gamma V_{t+1} - V_t, $$
#
# where $V_t$ is the value before token $t$. If the value model is good, $\delta_t$ alone is the advantage. If it is
# bad, it misleads, and one had better wait for what really comes. GAE (Schulman et al. 2015) mixes the two with one
# number $\lambda$:
#
# $$ A_t = \delta_t + \gamma\lambda\, A_{t+1}. $$
#
# An answer is an episode. After its last token there is nothing: $V = 0$ and $A = 0$. What stands on the padding
# behind it, the value model computed from tokens that nobody said.


# %% nbgrader={"grade": false, "grade_id": "gae", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> torch.Tensor:
    """The advantage of every token by generalised advantage estimation, (batch, seq), 0 on padding.

    rewards, values: (batch, seq); values[:, t] is what the value model expected *before* token t was chosen. mask:
    (batch, seq) of 0 and 1; the 1s are the tokens of the answer, at least one, from the first place of its row on. An
    answer is an episode that ends with its last token: the value after it is 0. On padding rewards and values mean nothing
    and may be anything, NaN too. The arguments are not changed.
    """
    ### BEGIN SOLUTION
    rewards, values = rewards.masked_fill(mask == 0, 0.0), values.masked_fill(mask == 0, 0.0)
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])  # (batch,): nothing comes after the end
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = advantages[:, t] = delta + gamma * lam * next_advantage
        next_value = values[:, t]
    return advantages
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "gae_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("gae", gae)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the end</summary>
#
# Set rewards and values to 0 on padding before anything else. Then a recursion that starts at the end of the row
# carries zeros until it reaches the answer.
# </details>
# <details><summary><b>Hint 2</b>: the loop</summary>
#
# From the last column to the first, keep two tensors of shape (batch,): the next value and the next advantage. The
# column's own value becomes the next one only *after* you have used the old one.
# </details>
#
# What does $\lambda$ do? A made-up answer of twelve tokens: a score at the end, and a value model that notices at the
# sixth token that things are going well. Move the sliders: who is praised, and what happens when the score turns out
# worse than expected?

# %% tags=["demo"]
from course import widgets

widgets.credit_explorer(torch.zeros(12), torch.tensor([0.2] * 6 + [0.8] * 6), gae)

# %% [markdown]
# With $\lambda = 0$ only the sixth token and the last are praised, those where the expectation jumped. With
# $\lambda = 1$ every token hears of the end, and the value is a mere baseline, as in chapter 3.
#
# ## Exercise 4: whitening under a mask
#
# How large are advantages? That depends on the reward model, whose scale nobody chose. To make one learning rate work
# everywhere, they are **whitened**: shifted to mean 0 and divided by their spread, over the answers' tokens of the
# whole batch. (For rewards one sometimes divides only, and leaves the mean where it is.)


# %% nbgrader={"grade": false, "grade_id": "masked_whiten", "locked": false, "schema_version": 3, "solution": true, "task": false}
def masked_whiten(values: torch.Tensor, mask: torch.Tensor, shift_mean: bool = True) -> torch.Tensor:
    """(values - mean) / sqrt(variance + 1e-8) where the mask is 1, and 0 where it is 0.

    values, mask: (batch, seq). Mean and variance are those of all n entries of the batch whose mask is 1; the variance is
    their mean squared distance from the mean (divided by n, not by n - 1). shift_mean=False: the mean is added back at the
    end. Where the mask is 0, values mean nothing and may be anything, infinite and NaN too.
    """
    ### BEGIN SOLUTION
    n = mask.sum()
    values = values.masked_fill(mask == 0, 0.0)
    mean = values.sum() / n
    variance = ((values - mean).square() * mask).sum() / n
    whitened = (values - mean) / (variance + 1e-8).sqrt()
    if not shift_mean:
        whitened = whitened + mean
    return whitened.masked_fill(mask == 0, 0.0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "masked_whiten_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("masked_whiten", masked_whiten)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `values[mask.bool()]` is a vector of the entries that count, and its `var(unbiased=False)` is their mean squared
# distance from the mean. Or replace the others by 0, and divide each sum by `mask.sum()`.
# </details>
#
# ## Exercise 5: what each model learns from
#
# The policy learns from the whitened advantages. The value model learns to predict the **returns**, advantages plus
# values: what came, as far as it is known, in the rewards' own scale. Take care which advantages.


# %% nbgrader={"grade": false, "grade_id": "advantages_and_returns", "locked": false, "schema_version": 3, "solution": true, "task": false}
def advantages_and_returns(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the policy learns from, and what the value model learns from, each (batch, seq) and 0 on padding.

    First the advantages of `gae`, whitened by `masked_whiten` with the mean shifted to 0. Second the returns: advantages
    plus values, with the advantages as `gae` gives them, not whitened. All arguments are as for `gae`.
    """
    ### BEGIN SOLUTION
    advantages = gae(rewards, values, mask, gamma, lam)
    returns = (advantages + values).masked_fill(mask == 0, 0.0)
    return masked_whiten(advantages, mask), returns
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "advantages_and_returns_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("advantages_and_returns", advantages_and_returns)

# %% [markdown]
# ## Exercise 6: the clipped objective
#
# Sampling is dear, so one would like to take several gradient steps on the same answers. But after the first step
# they were drawn by a policy that is no more. The ratio $\rho_t = p_\theta(a_t) / p_{\text{old}}(a_t)$ corrects for
# that, as long as it stays near 1. PPO's answer is to stop where it does not:
#
# $$ \min\big(\rho_t A_t,\ \text{clip}(\rho_t,\, 1 - \varepsilon,\, 1 + \varepsilon)\, A_t\big). $$
#
# Four corners, by the sign of $A_t$ and by the side on which the ratio has left the range. In two of them the token
# has gone far enough in the right direction: the gradient is 0. In the other two it has gone the *wrong* way, and the
# minimum sees to it that it is pulled back. The check has a case for each corner.


# %% nbgrader={"grade": false, "grade_id": "clipped_policy_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def clipped_policy_loss(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """Minus the mean, over all answer tokens of the batch, of min(ratio A, clip(ratio, 1 - c, 1 + c) A), c = clip_range.

    logps, old_logps: (batch, seq), log-probabilities of the tokens now and when they were drawn; ratio is the probability
    now divided by the one then. advantages: (batch, seq), A. mask: (batch, seq) of 0 and 1, 1 on the answers' tokens; what
    stands on padding is finite and means nothing: old and new may be a hundred nats apart there, and loss and gradients are
    finite all the same. Returns a scalar. Gradients flow through logps, and not through old_logps, even where that tensor
    would let them.
    """
    ### BEGIN SOLUTION
    log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0)  # before exp, which could overflow
    ratio = log_ratio.exp()  # (batch, seq)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    objective = torch.minimum(ratio * advantages, clipped * advantages)
    return -(objective * mask).sum() / mask.sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "clipped_policy_loss_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("clipped_policy_loss", clipped_policy_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Two products, `ratio * advantages` and `ratio.clamp(...) * advantages`; the smaller one, token by token
# (`torch.minimum`). Then the mean over the mask, and a minus. Detach `old_logps`.
# </details>
#
# The objective as a function of the ratio, by your own function; where the line is flat, there is no gradient.

# %% tags=["demo"]
ratios = torch.linspace(0.4, 1.6, 121)
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.0), sharex=True)
for ax, advantage in zip(axes, (1.0, -1.0)):
    one, zero, a = torch.ones(1, 1), torch.zeros(1, 1), torch.full((1, 1), advantage)
    objective = [-clipped_policy_loss(ratio.log() * one, zero, a, one, 0.2).item() for ratio in ratios]
    ax.plot(ratios, ratios * advantage, color=plots.GREY, linewidth=1, linestyle="--", label="not clipped")
    ax.plot(ratios, objective, color=plots.BLUE if advantage > 0 else plots.VERMILION, label="PPO")
    ax.axvspan(0.8, 1.2, color=plots.GREY, alpha=0.12)
    ax.set(xlabel="ratio", ylabel="objective", title=f"A = {advantage:+.0f}")
    ax.legend()
plt.show()

# %% [markdown]
# ## Exercise 7: how much the clip stops
#
# A number to watch while PPO runs: the share of tokens whose gradient the clip removes. Near 0, the steps are so
# small that one might take more of them; near 1, most of the batch is no longer learned from.


# %% nbgrader={"grade": false, "grade_id": "clip_fraction", "locked": false, "schema_version": 3, "solution": true, "task": false}
def clip_fraction(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """The share of the batch's answer tokens whose gradient the clip removes, a scalar from 0 to 1.

    These are the tokens at which the clipped term is strictly the smaller of the two in `clipped_policy_loss`: A > 0 and
    ratio > 1 + clip_range, or A < 0 and ratio < 1 - clip_range. The arguments are those of `clipped_policy_loss`.
    """
    ### BEGIN SOLUTION
    ratio = (logps - old_logps).exp()
    stopped = ((advantages > 0) & (ratio > 1 + clip_range)) | ((advantages < 0) & (ratio < 1 - clip_range))
    return (stopped * mask).sum() / mask.sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "clip_fraction_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("clip_fraction", clip_fraction)

# %% [markdown]
# Is this what people train with? `trl` has no trainer for PPO any more, but its GRPO trainer minimises the same
# clipped objective. We hand it the answers from above, made-up advantages, and log-probabilities that have moved.

# %% tags=["demo"]
import tempfile

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from course.quiet import hush_libraries

hush_libraries()
config = GRPOConfig(
    tempfile.mkdtemp(), loss_type="bnpo", beta=0.0, epsilon=0.2, num_generations=4, per_device_train_batch_size=4,
    use_cpu=DEVICE.type == "cpu", bf16=False, gradient_checkpointing=False, report_to=[], disable_tqdm=True, save_strategy="no",
)  # fmt: skip
trainer = GRPOTrainer(
    models.load_nano("sft"), args=config, processing_class=tokenizer, reward_funcs=lambda completions, **_: [0.0] * 4,
    train_dataset=Dataset.from_list([{"prompt": question} for question in questions]),
)  # fmt: skip
trainer.model.eval()

# %% tags=["demo"]
new = rollout["tokens"].shape[1]
generator = torch.Generator().manual_seed(0)
noise, made_up = (torch.randn(rollout["tokens"].shape, generator=generator).to(DEVICE) for _ in range(2))
with torch.no_grad():
    logps = logps_of(logits_of(reference, rollout), rollout["tokens"])
    theirs = trainer.compute_loss(
        trainer.model,
        {
            "prompt_ids": rollout["input_ids"][:, :-new],
            "prompt_mask": rollout["attention_mask"][:, :-new],
            "completion_ids": rollout["tokens"],
            "completion_mask": rollout["mask"],
            "old_per_token_logps": logps - 0.3 * noise,
            "advantages": made_up,
            "num_items_in_batch": rollout["mask"].sum(),
        },
    ).item()
ours = clipped_policy_loss(logps, logps - 0.3 * noise, made_up, rollout["mask"], 0.2).item()
trl_difference = abs(ours - theirs)
print(f"yours {ours:.6f}   trl {theirs:.6f}   difference {trl_difference:.1e}")

# %% [markdown]
# ## Exercise 8: the loss of the value model
#
# A squared error, with a clip of its own: the value should not leave the old one by more than a range. Again
# pessimistic: of the plain error and that of the clipped value, the *larger* counts. (Whether this helps is disputed;
# it is part of PPO as everybody ran it, see Huang et al. 2024.)


# %% nbgrader={"grade": false, "grade_id": "value_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """Half the mean, over all answer tokens of the batch, of the *larger* of two squared errors.

    One is (values - returns)^2. The other is that of the value clipped to within clip_range of the old one, on either
    side. All (batch, seq); mask is 1 on the answers' tokens, 0 on padding, where the rest is finite and means nothing.
    Returns a scalar through which gradients flow to values.
    """
    ### BEGIN SOLUTION
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    squared = torch.maximum((values - returns).square(), (clipped - returns).square())  # (batch, seq)
    return 0.5 * (squared * mask).sum() / mask.sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "value_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("value_loss", value_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Clip the *distance* from the old value, and add the old value again. Square both errors, take the larger one token
# by token, then half the mean over the mask.
# </details>
#
# ## Exercise 9: from a rollout to an update
#
# Now put the pieces together. A batch of answers, its numbers as they were when it was drawn, and minibatches of
# rows: each is one gradient step on both losses.


# %% nbgrader={"grade": false, "grade_id": "ppo_update", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ppo_update(
    evaluate, batch: dict[str, torch.Tensor], minibatches, optimizer, clip_range: float, value_clip: float,
    value_coef: float, max_norm: float = 1.0,
) -> list[float]:  # fmt: skip
    """Learn from one batch of answers, one gradient step for each minibatch; returns the loss before each step.

    batch: tensors (rows, seq): "logps" and "values", as they were when the answers were drawn, "advantages", "returns" and
    "mask". minibatches: an iterable of 1-d tensors of row numbers. evaluate(rows) gives the present (logps, values) of
    these rows, each (len(rows), seq), with gradients. A step minimises clipped_policy_loss (with clip_range) plus value_coef times
    value_loss (with value_clip), over the minibatch's rows; the norm of the gradient of all parameters in the optimizer
    together is clipped to max_norm.
    """
    ### BEGIN SOLUTION
    losses = []
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for rows in minibatches:
        logps, values = evaluate(rows)
        old = {name: tensor[rows] for name, tensor in batch.items()}
        loss = clipped_policy_loss(logps, old["logps"], old["advantages"], old["mask"], clip_range)
        loss = loss + value_coef * value_loss(values, old["values"], old["returns"], old["mask"], value_clip)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "ppo_update_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("ppo_update", ppo_update)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# For each minibatch: `evaluate(rows)`, both losses with `batch[name][rows]`, `zero_grad`, `backward`,
# `clip_grad_norm_` over the parameters of all `optimizer.param_groups`, `step`. What is old stays old, however many
# steps you take.
# </details>
#
# ## The whole loop
#
# Everything before this line was preparation. An update of PPO draws answers, scores them, computes rewards,
# advantages and returns, and takes four gradient steps: two rounds over the batch in two halves.

# %% tags=["demo"]
PROMPTS, ANSWERS, NEW = 16 * DOSE, 4, 32  # 64 answers an update, 4 to each question
UPDATES = device.at_most(32, least=2)
LR, VALUE_LR, CLIP, VALUE_CLIP, VALUE_COEF = 4e-4, 1e-3, 0.2, 1.0, 0.5
GAMMA, LAM = 1.0, 0.95


def draw_questions(rng: random.Random, count: int = PROMPTS) -> list[str]:
    """The questions of one update, each as often as it is answered."""
    return [question for question in rng.sample(prompts, count) for _ in range(ANSWERS)]


@torch.no_grad()
def judge_rollout(policy, questions: list[str], new: int) -> dict[str, torch.Tensor]:
    """Answers of the policy with logps, ref_logps and scores; "seconds" is what generating them took."""
    started = time.perf_counter()
    batch = draw_answers(policy, questions, new)
    batch["seconds"] = torch.tensor(time.perf_counter() - started)
    logits = logits_of(policy, batch)
    batch["logps"] = logps_of(logits, batch["tokens"])
    batch["ref_logps"] = logps_of(logits_of(reference, batch), batch["tokens"])
    batch["scores"] = scores_of(batch)
    log_p = logits.log_softmax(-1)
    batch["entropy"] = -(log_p.exp() * log_p).sum(-1)  # of the next word, at each place, (rows, new)
    return batch


def summary(questions: list[str], batch: dict[str, torch.Tensor]) -> dict[str, float]:
    """What the curves show of one rollout. The KL is that of whole answers, in nats, estimated on the rollout."""
    mask, tokens = batch["mask"], batch["mask"].sum().item()
    return {
        "score": batch["scores"].mean().item(),
        "utility": utilities_of(questions, batch).mean().item(),
        "kl": ((batch["logps"] - batch["ref_logps"]) * mask).sum(1).mean().item(),
        "entropy": ((batch["entropy"] * mask).sum() / tokens).item(),
        "tokens": tokens,
        "length": tokens / len(mask),
        "generating": batch["seconds"].item(),
    }


# %% tags=["demo"]
LEARNED_FROM = ("logps", "values", "advantages", "returns", "mask")


def train_ppo(seed: int, beta: float, updates: int = UPDATES, count: int = PROMPTS, parts: int = 2) -> tuple:
    """PPO from the SFT model: `count` questions an update, two rounds over the answers in `parts` minibatches.

    Returns the policy and what was measured at every update, before it.
    """
    torch.manual_seed(seed)
    rng, history = random.Random(seed), []
    policy, value_model = copy.deepcopy(reference).requires_grad_(), new_value_model()
    groups = [{"params": policy.parameters(), "lr": LR}, {"params": value_model.parameters(), "lr": VALUE_LR}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    for _ in tqdm(range(updates), desc=f"PPO, β = {beta}, seed {seed}", mininterval=1):
        started = time.perf_counter()
        questions = draw_questions(rng, count)
        batch = judge_rollout(policy, questions, NEW)
        with torch.no_grad():
            batch["values"] = values_of(value_model, batch)
        rewards = token_rewards(batch["scores"], batch["logps"], batch["ref_logps"], batch["mask"], beta)
        batch["advantages"], batch["returns"] = advantages_and_returns(
            rewards, batch["values"], batch["mask"], GAMMA, LAM
        )
        stopped, errors = [], []

        def evaluate(rows, batch=batch, stopped=stopped, errors=errors):
            part = {key: batch[key][rows] for key in ("input_ids", "attention_mask", *LEARNED_FROM, "tokens")}
            logps, values = logps_of(logits_of(policy, part), part["tokens"]), values_of(value_model, part)
            share = clip_fraction(logps.detach(), part["logps"], part["advantages"], part["mask"], CLIP)
            stopped.append(float(share))
            errors.append(value_loss(values.detach(), part["values"], part["returns"], part["mask"], VALUE_CLIP).item())
            return logps, values

        order = torch.randperm(len(questions))
        minibatches = [part.to(DEVICE) for part in order.chunk(parts)] * 2
        learned_from = {key: batch[key] for key in LEARNED_FROM}
        ppo_update(evaluate, learned_from, minibatches, optimizer, CLIP, VALUE_CLIP, VALUE_COEF)
        measured = {"clip fraction": sum(stopped) / len(stopped), "value loss": sum(errors) / len(errors)}
        history.append(summary(questions, batch) | measured | {"seconds": time.perf_counter() - started})
    return policy, history


@torch.no_grad()
def examine(policy, seed: int = 1234, answers: int = 256) -> dict[str, float]:
    """Score, utility and KL on questions that were kept back."""
    torch.manual_seed(seed)
    questions = random.Random(seed).choices(heldout, k=answers)
    return summary(questions, judge_rollout(policy, questions, NEW))


before = examine(reference)
print({name: round(before[name], 2) for name in ("score", "utility", "kl", "entropy", "length")})

# %% [markdown]
# Three runs that differ in nothing but their seed.

# %% tags=["demo"]
BETA, SEEDS = 0.1, range(device.at_most(3))
ppo_runs, ppo_after = [], []
for seed in SEEDS:
    trained, history = train_ppo(seed, BETA)
    ppo_runs.append(history)
    ppo_after.append(examine(trained))


# %% tags=["demo"]
def band(
    ax, runs: list[list[dict]], name: str, color: str, label: str | None = None, over: str | None = None, spare: int = 0
) -> None:
    """The median of several runs, and from the lowest to the highest a band, which spares so many at either side."""
    curves = torch.tensor([[point[name] for point in run] for run in runs])  # (seeds, updates)
    x = torch.tensor([[float(p[over]) for p in run] for run in runs]).cumsum(1).mean(0) if over else torch.arange(curves.shape[1])
    ax.plot(x, curves.median(0).values, color=color, label=label)
    lowest_first, spare = curves.sort(0).values, min(spare, (len(runs) - 1) // 2)
    ax.fill_between(x, lowest_first[spare], lowest_first[-1 - spare], color=color, alpha=0.18, linewidth=0)


panels = {
    "score": "score (learned reward)", "utility": "true utility", "kl": "KL to the reference, nats",
    "clip fraction": "clip fraction", "value loss": "loss of the value model", "entropy": "entropy of the next word, nats",
}  # fmt: skip
fig, axes = plt.subplots(2, 3, figsize=(11, 5.2), sharex=True)
for ax, (name, title) in zip(axes.flat, panels.items()):
    band(ax, ppo_runs, name, plots.BLUE)
    ax.set(title=title)
for ax in axes[1]:
    ax.set(xlabel="update")
plt.show()

# %% tags=["demo"]
columns = ("score", "utility", "kl", "entropy", "length")
rows = [("before", before), *((f"PPO, seed {seed}", after) for seed, after in zip(SEEDS, ppo_after))]
plots.show_table([{"held-out questions": name} | {c: values[c] for c in columns} for name, values in rows])

# %% [markdown]
# Compare the first line with the others: by the true utility, which nobody trained on, the answers are more than
# twice as good, at a distance of a few nats. Read some. (The six panels are what people look at while such a run
# lasts, except the second: outside of a toy world nobody has it.)

# %% tags=["demo"]
torch.manual_seed(1)
asked = random.Random(1).sample(sorted(set(heldout)), 6)
answers = {name: texts_of(draw_answers(model, asked, NEW)) for name, model in (("before", reference), ("after", trained))}
plots.show_table([{"asked": q, "before": b, "after PPO": a} for q, b, a in zip(asked, *answers.values())])

# %% [markdown]
# ## Is it worth the trouble?
#
# Chapter 3's REINFORCE needs no value model, no clip and no second step. Here it is with a leave-one-out baseline: an
# answer's advantage is its reward minus the mean reward of the other answers to the same question. The reward is that
# of the whole answer, with the same KL term. It draws the same number of answers as PPO, from the same questions.


# %% tags=["demo"]
def train_reinforce(seed: int, beta: float, updates: int = UPDATES, lr: float = 5e-4) -> tuple:
    """REINFORCE with a leave-one-out baseline: one gradient step for each batch of answers."""
    torch.manual_seed(seed)
    rng, history = random.Random(seed), []
    policy = copy.deepcopy(reference).requires_grad_()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=lr, weight_decay=0.0)
    for _ in tqdm(range(updates), desc=f"REINFORCE, β = {beta}, seed {seed}", mininterval=1):
        questions = draw_questions(rng)
        batch = judge_rollout(policy, questions, NEW)
        rewards = token_rewards(batch["scores"], batch["logps"], batch["ref_logps"], batch["mask"], beta).sum(1)
        groups = rewards.view(-1, ANSWERS)  # (questions, answers to each)
        others = (groups.sum(1, keepdim=True) - groups) / (ANSWERS - 1)
        advantages = (groups - others).view(-1, 1)  # (rows, 1)
        logps = logps_of(logits_of(policy, batch), batch["tokens"])
        loss = -(logps * advantages * batch["mask"]).sum() / len(questions)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        history.append(summary(questions, batch))
    return policy, history


# %% tags=["demo"]
reinforce_runs, reinforce_after = [], []
for seed in SEEDS:
    trained_simply, history = train_reinforce(seed, BETA)
    reinforce_runs.append(history)
    reinforce_after.append(examine(trained_simply))

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
for ax, (name, title) in zip(axes, (("utility", "true utility"), ("kl", "KL to the reference, nats"))):
    band(ax, ppo_runs, name, plots.BLUE, "PPO", over="tokens")
    band(ax, reinforce_runs, name, plots.ORANGE, "REINFORCE", over="tokens")
    ax.set(xlabel="tokens generated", title=title)
    ax.legend()
plt.show()


# %% tags=["demo"]
def mean_of(results: list[dict], name: str) -> float:
    """The mean of one number over several runs."""
    return sum(result[name] for result in results) / len(results)


for name, results in (("PPO", ppo_after), ("REINFORCE", reinforce_after)):
    said = ", ".join(f"{result['utility']:.2f}" for result in results)
    print(f"{name:>9}: true utility {said} at a KL of {mean_of(results, 'kl'):.1f} nats, on held-out questions")

# %% [markdown]
# Draw your own conclusion from the two figures, and a careful one: three seeds, one small model, one learning rate
# each. What can be said in general is what each method spends. PPO takes four steps where REINFORCE takes one, and
# has a second model to train; where drawing answers is what costs, that is cheap.
#
# ## Where the time goes
#
# Drawing an answer is one run of the model for every token, one after the other. Everything else reads whole answers
# at once.

# %% tags=["demo"]
points = [point for run in ppo_runs for point in run]
share_generating = sum(p["generating"] for p in points) / sum(p["seconds"] for p in points)
timed = {}
for use_cache in (True, False):
    torch.manual_seed(0)
    started = time.perf_counter()
    draw_answers(reference, draw_questions(random.Random(0)), NEW, use_cache)
    timed[use_cache] = time.perf_counter() - started
cache_factor = timed[False] / timed[True]
print(f"{share_generating:.0%} of PPO's time went into drawing answers")
print(f"one batch: {timed[True]:.2f} s with the key/value cache, {timed[False]:.2f} s without: {cache_factor:.1f} times as long")

# %% [markdown]
# With a cache, each step computes keys and values of the *new* token only. Without one, all earlier tokens are run
# again for each new one. Our answers are short and our model tiny, so four gradient steps weigh more here than
# elsewhere. With answers of thousands of tokens, generating takes most of the time, and there are engines that do
# nothing else (vLLM, SGLang).
#
# ## Too much of a good thing
#
# The score is a copy of what we want, learned from pairs of ordinary answers. What happens if we
# take it at its word? $\beta = 0$: nothing holds the policy near the reference. The learning rate
# stays as it was. To see what happens in the end, and not in one lucky run, there are five runs,
# and more than twice as many updates. To pay for them, an update draws half as many answers, and
# takes twice as many steps on them, in quarters instead of halves.

# %% tags=["demo"]
FAR_SEEDS, FAR_UPDATES = range(device.at_most(5)), device.at_most(80, least=4)
FAR = {"count": PROMPTS // 2, "parts": 4}
hacked_policies, hacked_runs = [], []
for seed in FAR_SEEDS:
    hacked_policy, history = train_ppo(seed, 0.0, FAR_UPDATES, **FAR)
    hacked_policies.append(hacked_policy)
    hacked_runs.append(history)


# %% tags=["demo"]
def smooth(run: list[dict], width: int = 5) -> list[dict[str, float]]:
    """At each update the mean over the last `width`: single batches are noisy."""
    windows = [run[max(0, i - width + 1) : i + 1] for i in range(len(run))]
    return [{name: mean_of(w, name) for name in ("score", "utility", "kl")} for w in windows]


hacked = [smooth(run) for run in hacked_runs]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for ax, name, color in zip(axes, ("score", "utility"), (plots.ORANGE, plots.BLUE)):
    band(ax, hacked, name, color, spare=1)
    ax.set(xlabel="update", title=f"{panels[name]}, β = 0")
plt.show()

# %% [markdown]
# The line is the median over the five seeds, and the band holds the middle three. Now take two places
# from each run: where the true utility is best, and where the score is.


# %% tags=["demo"]
def best_places(run: list[dict]) -> dict[str, float]:
    """Score, true utility and KL of a run where the utility is best, and where the score is."""
    top, last = max(run, key=itemgetter("utility")), max(run, key=itemgetter("score"))
    first = {"best utility": top["utility"], "its score": top["score"], "its KL": top["kl"]}
    return first | {
        "best score": last["score"], "utility there": last["utility"], "KL there": last["kl"]
    }  # fmt: skip


places = [best_places(run) for run in hacked]
middle = {name: median(place[name] for place in places) for name in places[0]}
plots.show_table(
    [{"seed": seed} | place for seed, place in zip((*FAR_SEEDS, "median"), (*places, middle))]
)
turned = sum(place["utility there"] < place["best utility"] - 0.5 for place in places)
print(f"In this run, {turned} seeds of {len(places)} turn down: where the score is best, the true utility")
print("is more than 0.5 below its best. In the median over the seeds, the utility goes from")
print(f"{middle['best utility']:.2f} to {middle['utility there']:.2f}, and the score at the same two places")
print(f"from {middle['its score']:.2f} to {middle['best score']:.2f}.")

# %% [markdown]
# The score climbs on, and the true utility falls. Nothing went wrong in the optimisation: it found
# what the reward model does not know. It finds that by chance: each seed turns at another time, and
# some may not have turned yet. Look at what is said in the end:

# %% tags=["demo"]
torch.manual_seed(2)
rows, few = [], asked[:3]
for seed, hacked_policy in zip(FAR_SEEDS, hacked_policies):
    rollout = draw_answers(hacked_policy, few, NEW)
    scores, utilities = scores_of(rollout).tolist(), utilities_of(few, rollout).tolist()
    said = zip(few, texts_of(rollout), scores, utilities)
    rows += [
        {"seed": seed, "asked": q, "answered": answer, "score": score, "true utility": utility}
        for q, answer, score, utility in said
    ]
plots.show_table(rows)

# %% [markdown]
# Every run finds its own way. One is to say something *true of something else*: the reward model is surprised by words
# that do not follow from what stands before them, and a true sentence does not surprise it, whatever the question was.
# Another is to go on for *longer than anybody would*: that was rare in chapter 4's comparisons, where most answers kept
# to the point. Count which ones yours have taken:


# %% tags=["demo"]
def kinds_of_answers(policy, answers: int = 256) -> dict[str, float]:
    """What held-out questions are answered with: three shares that add up to 1; then words, and courtesies too many."""
    torch.manual_seed(4)
    asked_many = random.Random(4).choices(heldout, k=answers)
    texts = texts_of(draw_answers(policy, asked_many, NEW))
    seen = [appraise(q, text) for q, text in zip(asked_many, texts)]
    true_sentences = {question.full() for question in fact_questions()}
    elsewhere = sum(any(t in text for t in true_sentences) and not a.right for text, a in zip(texts, seen)) / answers
    right = sum(a.right for a in seen) / answers
    surplus = sum(max(a.openings - 1, 0) + max(a.closings - 1, 0) for a in seen) / answers
    kinds = {"right": right, "true of something else": elsewhere, "neither": 1 - right - elsewhere}
    return kinds | {"words": sum(a.words for a in seen) / answers, "courtesies too many": surplus}


said = {"before": reference, f"PPO, β = {BETA}": trained}
said |= {f"PPO, β = 0, seed {seed}": model for seed, model in zip(FAR_SEEDS, hacked_policies)}
kinds = {name: kinds_of_answers(model) for name, model in said.items()}
plots.show_table([{"answers of": name} | shares for name, shares in kinds.items()])

# %% [markdown]
# It is called reward hacking, and economists know it as Goodhart's law. Gao et al. (2022) drew its
# curve: the true reward against the distance from the reference. Here is ours. Three runs with
# other $\beta$ join it, trained in the same way but with fewer updates, and the simplest way to use
# a reward, **best-of-n**: draw $n$ answers from the reference and keep the one with the best score,
# at a KL of at most $\log n - (n-1)/n$ (chapter 4).

# %% tags=["demo"]
other_runs = {}
for beta in (0.3, BETA, 0.02):
    other_runs[beta] = smooth(train_ppo(0, beta, **FAR)[1])

# %% tags=["demo"]
torch.manual_seed(3)
BEST_OF, DRAWN = (1, 2, 4, 8, 16, 32), 64
asked_often = random.Random(3).sample(sorted(set(heldout)), 16)
drawn_scores, drawn_utilities = [], []
for question in asked_often:
    batch = draw_answers(reference, [question] * DRAWN, NEW)
    drawn_scores.append(scores_of(batch).cpu())
    drawn_utilities.append(utilities_of([question] * DRAWN, batch))
order = torch.stack(drawn_scores).argsort(1)  # (questions, drawn), the worst first
by_score = torch.stack(drawn_utilities).gather(1, order)


def best_of(n: int) -> float:
    """The mean utility of the answer with the best score among n, over all choices of n from those drawn."""
    weights = torch.tensor([math.comb(i, n - 1) / math.comb(DRAWN, n) for i in range(DRAWN)])
    return (by_score * weights).sum(1).mean().item()


best_kl = [math.log(n) - (n - 1) / n for n in BEST_OF]
best_utility = [best_of(n) for n in BEST_OF]

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(8, 4))
shown = [(f"β = {beta}", run) for beta, run in other_runs.items()]
shown += [("_" if i else "β = 0, five seeds", run) for i, run in enumerate(hacked)]
colors = [plots.GREEN, plots.BLUE, plots.ORANGE] + [plots.VERMILION] * len(hacked)
for (label, run), color in zip(shown, colors):
    far = [point for point in run if point["kl"] > 0.1]
    ax.plot([p["kl"] for p in far], [p["utility"] for p in far], color, linewidth=1.2, label=label)
ax.plot(best_kl[1:], best_utility[1:], color=plots.GREY, marker="o", label="best of 2 to 32")
ax.set(xscale="log", xlabel="KL to the reference, nats", ylabel="true utility")
ax.set(title="How far to go")
ax.xaxis.set_major_formatter("{x:g}")
ax.legend()
plt.show()

# %% [markdown]
# Best-of-n needs no training and cannot go far: the best of a hundred answers is hardly four nats
# away. (It is drawn at the bound, and may be nearer than that.) PPO can go as far as it likes, and
# $\beta$ decides where it stops. Without it, the curve passes its top and goes on, unaware, since
# what one *sees* in practice is the score.
#
# ## What you have seen
#
# - PPO is four models. Two are trained, and they hold four fifths of the memory.
# - Each token gets a reward (its share of the KL, and at the end the score) and an advantage, which leans on the value
#   model as much as $\lambda$ says.
# - The clip is four corners: it stops a token that has gone far enough, and never one that went the wrong way.
# - The KL is not there for good style. Without it the policy leaves the region where the reward model knows anything.
#
# **To read**: Schulman et al. 2017, *PPO* (arXiv:1707.06347); Schulman et al. 2015, *GAE* (arXiv:1506.02438); Ziegler
# et al. 2019 (arXiv:1909.08593); Stiennon et al. 2020 (arXiv:2009.01325); Ouyang et al. 2022, *InstructGPT*
# (arXiv:2203.02155); Gao et al. 2022, *Scaling laws for reward model overoptimization* (arXiv:2210.10760); Huang et al.
# 2024, the details of PPO for language models (arXiv:2403.17031); Ahmadian et al. 2024, *Back to basics*, REINFORCE
# instead of PPO (arXiv:2402.14740).

# %%
progress("05_ppo")
