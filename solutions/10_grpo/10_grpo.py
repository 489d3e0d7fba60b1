# %% [markdown]
# # 10 · GRPO: rewards that can be checked
#
# In chapters 4 and 5 a reward was learned from people's comparisons, and a policy learned to please it, flaws included.
# Some answers need no opinion: a sum is right or wrong, a program passes its tests or does not. Such a reward is called
# **verifiable**. Here you train a small model with nothing but a rule that checks answers. The method is GRPO (group
# relative policy optimisation), with which reasoning models are trained.
#
# **You will be able to**
# - write a verifier, and say how a careless one is gamed;
# - write GRPO's advantages and its loss, and say what each of its three normalisations prefers;
# - say which KL a penalty inside the loss really pulls towards, for nine ways to put it there;
# - find the bug of drawing from one distribution and scoring with another;
# - measure whether a policy learned something new, or became surer of what it could do before.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 a verifier | ● ● ○ | 10 | | 6 scored as it was drawn | ● ● ● | 10 |
# | 2 compared with the group | ● ○ ○ | 5 | | 7 right at least once | ● ● ○ | 10 |
# | 3 the loss | ● ● ● | 15 | | 8 rejection sampling | ● ○ ○ | 5 |
# | 4 nine gradients | ● ● ● | 15 | | 9 the training loop | ● ● ○ | 10 |
# | 5 a KL for the loss | ● ● ● | 10 | | 10 few checks | open | 15 |
#
# You need chapter 3, or to know what a policy gradient, a baseline and $k_1$, $k_2$, $k_3$ are; and from chapter 5 the
# clipped objective. The letters are those of the [table in chapter 0](../00_start_here/00_start_here.ipynb).

# %% tags=["imports"]
import math

import torch

from autograder import check, earlier, predict, progress, reveal

# %% tags=["demo"]
import copy
import random
from statistics import median

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import device, listed, methods, models, plots, puzzles
from course.drawings import c10 as drawings

plots.use_style()
torch.set_num_threads(1)  # so small a model gains nothing from more
print(device.describe_machine())
DEVICE = device.device()
drawings.recipes()

# %% [markdown]
# It is often said that DeepSeek-R1 was trained with RLHF only, without supervised fine-tuning. Two models are mixed up
# there. **R1-Zero** went from the base model straight to reinforcement learning, and with *verifiable rewards*: rules, and
# no human preferences. **R1** itself had four stages: a small supervised fine-tuning first (a *cold start*), then
# reinforcement learning with rules, then fine-tuning on answers chosen by rejection sampling, then reinforcement learning
# again (DeepSeek-AI 2025, arXiv:2501.12948). All of these pieces are in this chapter, small enough for your machine.
#
# ## Puzzles, and people who write about them
#
# A puzzle is a number and five moves on a ring: after 9 comes 0. Some people write running totals before they answer (a
# *scratchpad*), most do not. They make slips: a total is off by one now and then. Our base model reads what they wrote. It
# is pre-trained here, in less than a minute.

# %% tags=["demo"]
rng = random.Random(device.seed(0))
for _ in range(6):
    print(puzzles.document(rng))

SEEDS = [device.seed(n) for n in range(device.at_most(3))]
bases = []
for seed in tqdm(SEEDS, desc="pre-training"):
    model = puzzles.new_model(seed).to(DEVICE)
    puzzles.fit(model, puzzles.document, device.at_most(450, least=8), 64, 4e-3, seed)
    bases.append(model.eval())
base = bases[0]
print(f"{sum(p.numel() for p in base.parameters()):,} parameters, {len(bases)} models")

# %% tags=["demo"]
NEW = 18  # tokens an answer may have
generate = earlier("generate_answers", methods.generate_answers)
answer_mask = earlier("answer_mask", methods.answer_mask)
rollout_logps = earlier("rollout_logps", methods.rollout_logps)


@torch.no_grad()
def draw(model, asked: list, generator, temperature: float = 1.0) -> tuple[dict, list[str]]:
    """An answer to each puzzle: tensors (answers, new), and the answers as texts."""
    ids, mask = (x.to(DEVICE) for x in puzzles.encoded([p.text for p in asked], "left"))
    tokens = generate(model, ids, mask, NEW, puzzles.END, puzzles.PAD, temperature, generator)
    said = answer_mask(tokens, puzzles.END).long()
    batch = {"input_ids": ids, "attention_mask": mask, "tokens": tokens, "mask": said}
    return batch, puzzles.words_of(tokens, said)


def logps_under(model, batch: dict) -> torch.Tensor:
    """log p of each token of the answers under a model, (answers, new)."""
    return rollout_logps(model, *(batch[n] for n in ("input_ids", "attention_mask", "tokens", "mask")))


rng, generator = random.Random(device.seed(1)), torch.Generator(DEVICE).manual_seed(device.seed(1))
asked = [puzzles.puzzle(rng) for _ in range(8)]
_, texts = draw(base, asked, generator)
plots.show_table([{"asked": p.text, "truth": p.truth, "answered": t} for p, t in zip(asked, texts)])

# %% [markdown]
# The base model does what people did: mostly it fills in a work sheet or guesses, and now and then it thinks and answers.
# That is all a reward needs: what is to be rewarded must come up by itself *sometimes*.
#
# ## Exercise 1: a verifier
#
# What we want has two parts, and they are paid apart. The *form*: a thought and then an answer, each between its marks.
# And the answer has to be *right*. A verifier is a program that many clever answers will meet. Each thing that it
# overlooks will be found.

# %% nbgrader={"grade": false, "grade_id": "verify_answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_answer(text: str, truth: int) -> tuple[float, float]:
    """Two rewards of an answer, each 1.0 or 0.0: for its form, and for being right.

    text: what the model wrote, words with spaces between them. The four marks <think>,
    </think>, <answer> and </answer> are words too. The form is right when the text is one
    block <think> … </think> and directly behind it one block <answer> … </answer>, with
    nothing before, between or after them. A block holds any number of words, also none, and
    no mark. The answer is right when the text has exactly one <answer> and exactly one
    </answer>, and what stands between them is one word, a whole number such as 7 or -3,
    equal to truth. Each reward looks at its own condition alone.
    """
    ### BEGIN SOLUTION
    words = text.split()
    marks = [w for w in words if w in ("<think>", "</think>", "<answer>", "</answer>")]
    form = (
        marks == ["<think>", "</think>", "<answer>", "</answer>"]
        and words[0] == "<think>"
        and words[-1] == "</answer>"
        and words.index("<answer>") == words.index("</think>") + 1
    )
    right = False
    if words.count("<answer>") == 1 and words.count("</answer>") == 1:
        inside = words[words.index("<answer>") + 1 : words.index("</answer>")]
        right = len(inside) == 1 and inside[0] == str(truth)
    return float(form), float(right)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "verify_answer_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("verify_answer", verify_answer)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the form</summary>
#
# Take the words that are marks, in their order. What must that list be? Where must the first mark and the last mark stand
# in the text, and what may stand between `</think>` and `<answer>`?
# </details>
# <details><summary><b>Hint 2</b>: the answer</summary>
#
# What is right about `<answer> 1 2 3 4 5 </answer>` when the truth is 3? How many words may stand there? And if there are
# two answers?
# </details>
#
# Measured on several hundred new puzzles:

# %% tags=["demo"]
def examine(model, count: int = 400, seed: int = 77) -> dict[str, float]:
    """Shares of the answers to new puzzles that have the form, and that are right; their length."""
    rng, n = random.Random(device.seed(seed)), device.at_most(count, least=16)
    generator = torch.Generator(DEVICE).manual_seed(device.seed(seed))
    asked = [puzzles.puzzle(rng) for _ in range(n)]
    batch, texts = draw(model, asked, generator)
    form, right = zip(*(verify_answer(text, p.truth) for text, p in zip(texts, asked)))
    thinks = [r for f, r in zip(form, right) if f]
    return {"form": sum(form) / n, "right": sum(right) / n,
            "right, of those with the form": sum(thinks) / max(1, len(thinks)),
            "tokens": batch["mask"].sum().item() / n}  # fmt: skip


before = [examine(model) for model in bases]
plots.show_table([{"base model": seed} | found for seed, found in zip(SEEDS, before)])

# %% [markdown]
# ## Exercise 2: compared with the group
#
# Draw $k$ answers to one puzzle: a **group**. GRPO compares each reward with its group, and divides by the group's spread:
#
# $$ A_i = \frac{r_i - \text{mean}(r_1, \dots, r_k)}{\text{std}(r_1, \dots, r_k) + \varepsilon}. $$
#
# There is no value model. All tokens of an answer get the same advantage.

# %% nbgrader={"grade": false, "grade_id": "group_advantages", "locked": false, "schema_version": 3, "solution": true, "task": false}
def group_advantages(rewards: torch.Tensor, eps: float = 1e-4) -> torch.Tensor:
    """Each reward compared with those of its group, (prompts, k).

    rewards: (prompts, k), of k >= 2 answers to each prompt, as floats. An advantage is the
    reward minus the mean of its group, divided by the group's standard deviation plus eps.
    The standard deviation has k - 1 in its denominator. A group of equal rewards gets zeros.
    """
    ### BEGIN SOLUTION
    centred = rewards - rewards.mean(1, keepdim=True)  # (prompts, k)
    return centred / (rewards.std(1, keepdim=True) + eps)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "group_advantages_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("group_advantages", group_advantages)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Over which axis is the group? Which shape must mean and spread have to be subtracted and divided row by row? What is
# 0 / 0, and who prevents it?
# </details>
#
# Below: one group of the base model's answers. Beside your advantages stand those of chapter 3, leave-one-out.

# %% tags=["demo"]
leave_one_out = earlier("leave_one_out_advantages", methods.leave_one_out_advantages)
generator = torch.Generator(DEVICE).manual_seed(device.seed(3))
one = puzzles.puzzle(random.Random(device.seed(3)))
texts, paid = [], []
while sum(paid) < 1 and len(texts) < 400:  # until a group of eight has a right answer in it
    _, texts = draw(base, [one] * 8, generator)
    paid = [verify_answer(text, one.truth)[1] for text in texts]
paid = torch.tensor([paid])
both = group_advantages(paid)[0].tolist(), leave_one_out(paid)[0].tolist()
drawings.group(texts, paid[0].tolist(), *both)

# %% tags=["demo"]
right = torch.arange(1, 8)  # of eight answers, how many are right
groups = (torch.arange(8) < right[:, None]).float()  # (7, 8)
share = (right / 8).tolist()
size = {
    "GRPO, the group": group_advantages(groups).abs().mean(1).tolist(),
    "chapter 3, leave one out": leave_one_out(groups).abs().mean(1).tolist(),
}
fig, ax = plt.subplots(figsize=(6.5, 2.8))
for (name, sizes), color in zip(size.items(), (plots.PURPLE, plots.BLUE)):
    ax.plot(share, sizes, "o-", color=color, label=name)
ax.set(xlabel="share of right answers in the group", title="Mean size of an advantage")
ax.legend()
plt.show()
hard = [sizes[0] / sizes[3] for sizes in size.values()]  # 1 of 8 right, against 4 of 8
print(f"One right of eight against four: {hard[0]:.2f} (GRPO), {hard[1]:.2f} (leave one out)")

# %% [markdown]
# Without the division, a puzzle with one right answer of eight moves the policy less than one with four. Divided by the
# spread the two come closer: hard and easy puzzles count more than they would in the gradient of the expected reward. That
# is a choice. Liu et al. 2025 (*Dr. GRPO*, arXiv:2503.20783) leave the division away. A group in which all rewards are
# equal teaches nothing in either way.
#
# ## Exercise 3: the loss
#
# Every token has a ratio, as in PPO (chapter 5), and the clip has two ends that may differ:
#
# $$ \ell_t = -\min\big(\rho_t A,\ \text{clip}(\rho_t,\, 1 - \varepsilon_{\text{low}},\, 1 + \varepsilon_{\text{high}})\, A\big), \qquad
# \rho_t = \frac{p_\theta(y_t)}{p_{\text{old}}(y_t)}. $$
#
# A higher upper end (*clip-higher*, Yu et al. 2025, DAPO, arXiv:2503.14476) leaves room for tokens that were rare.
# How are the tokens of many answers made one number? Three ways are in use:
#
# - per **answer**: the mean of each answer, then the mean of those (Shao et al. 2024, the first GRPO);
# - per **token**: the mean over all tokens of the batch (DAPO; today `trl`'s default);
# - by a **constant**: the sum, divided by a number that never changes (Dr. GRPO).

# %% tags=["demo"]
lengths = (4, 9, 16)
drawings.weights(lengths, {
    "answer": [1 / (3 * n) for n in lengths],
    "token": [1 / sum(lengths)] * 3,
    "constant": [1 / (3 * NEW)] * 3,
})  # fmt: skip

# %% nbgrader={"grade": false, "grade_id": "grpo_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def grpo_loss(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor,
    mask: torch.Tensor, clip_low: float, clip_high: float, per: str,
    max_tokens: int | None = None, extra: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """The loss of GRPO, a scalar, in one of three normalisations.

    logps, old_logps: (answers, seq), log-probabilities of the tokens now and when they were
    drawn. advantages: (answers,), one for all tokens of an answer. mask: (answers, seq) of
    integers 0 and 1, 1 on the tokens of the answer, at least one in each row; what stands on
    padding is finite and means nothing: there old and new may be a hundred nats apart.

    The loss of a token is minus the smaller of ratio * A and clipped ratio * A, where the
    ratio is clipped to the range from 1 - clip_low to 1 + clip_high; where extra, (answers,
    seq), is given, it is added to that. Then, by `per`:
    "answer": the mean of an answer's tokens, and the mean of that over the answers;
    "token": the mean over all answer tokens of the batch;
    "constant": the sum over all answer tokens, divided by max_tokens times the number of
    answers.
    Gradients flow through logps and extra, and not through old_logps and advantages.
    """
    ### BEGIN SOLUTION
    log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0)  # before exp
    ratio = log_ratio.exp()  # (answers, seq)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    weight = advantages.detach()[:, None]  # (answers, 1)
    losses = -torch.minimum(ratio * weight, clipped * weight)
    if extra is not None:
        losses = losses + extra
    losses = losses.masked_fill(mask == 0, 0.0)
    if per == "answer":
        return (losses.sum(1) / mask.sum(1)).mean()
    if per == "token":
        return losses.sum() / mask.sum()
    return losses.sum() / (len(losses) * max_tokens)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "grpo_loss_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("grpo_loss", grpo_loss)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the ratio</summary>
#
# It is chapter 5's loss with one advantage for each answer: which shape must `advantages` get? Which tensors are constants?
# Where could `exp` overflow on padding?
# </details>
# <details><summary><b>Hint 2</b>: three divisions</summary>
#
# Set what stands on padding to 0 first. Then all three are sums of the same losses: by what is each divided, and when?
# </details>
#
# Drawn with your own function, with ends 0.8 and 1.28:

# %% tags=["demo"]
one_token = torch.ones(1, 1)


def objective(ratio: float, advantage: float) -> float:
    """Your objective for a single token."""
    given = math.log(ratio) * one_token, 0 * one_token, advantage * one_token[0]
    return -grpo_loss(*given, one_token.long(), 0.2, 0.28, "token").item()


drawings.two_ends(objective, 0.2, 0.28)

# %% [markdown]
# ### What the three prefer
#
# A world with four answers: right or wrong, and each of these short (4 tokens) or long (16 tokens). All four are equally
# likely at first. Length has nothing to do with being right, and is not paid for.
#
# **Predict.** We train with your loss. As the policy learns to be right: what happens to the length of those answers that
# are still *wrong*?
#
# - **a** With no normalisation anything: length is not paid for.
# - **b** Per “answer” they get longer.
# - **c** Per “answer” they get shorter.
# - **d** Per “token” and by a constant they get longer: a long answer has more tokens to be pushed.

# %% tags=["demo"]
predict("wrong_and_long", "")

# %% tags=["demo"]
SHORT, LONG, KINDS = 4, 16, ("right, short", "right, long", "wrong, short", "wrong, long")
pays, long = torch.tensor([1.0, 1, 0, 0]), torch.tensor([SHORT, LONG, SHORT, LONG])


def four_answers(per: str, seed: int, updates: int = 60) -> list[dict]:
    """Train a table of four logits. The kind is chosen with the first token; the rest is sure."""
    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    generator, shares = torch.Generator().manual_seed(seed), []
    for _ in range(updates):
        p = logits.detach().softmax(0)
        shares.append({"wrong": (p[3] / p[2:].sum()).item(), "right": (p[1] / p[:2].sum()).item()})
        drawn = torch.multinomial(p, 512, replacement=True, generator=generator)
        advantages = group_advantages(pays[drawn].view(-1, 8)).flatten()
        mask = (torch.arange(LONG) < long[drawn][:, None]).long()
        # Each of n tokens holds 1/n of log p, so that no token is special.
        logps = (logits.log_softmax(0)[drawn] / long[drawn])[:, None] * mask
        optimizer.zero_grad()
        grpo_loss(logps, logps.detach(), advantages, mask, 0.2, 0.2, per, LONG).backward()
        optimizer.step()
    return shares


PERS = {"answer": plots.VERMILION, "token": plots.ORANGE, "constant": plots.BLUE}
lengths_learned = {per: [four_answers(per, device.seed(n)) for n in range(5)] for per in PERS}

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(9, 2.9), sharey=True)
for per, color in PERS.items():
    for ax, name in zip(axes, ("wrong", "right")):
        plots.band(ax, lengths_learned[per], name, color, f"per “{per}”")
        ax.set(xlabel="update", title=f"Share of long ones among the {name} answers", ylim=(0, 1))
axes[0].legend(loc="lower left")
plt.show()
ends = {per: {name: median(run[-1][name] for run in runs) for name in ("wrong", "right")}
        for per, runs in lengths_learned.items()}  # fmt: skip
apart = ends["answer"]["wrong"] - ends["constant"]["wrong"]
came = "b" if apart > 0.1 else "c" if apart < -0.1 else "a"
came = "d" if min(ends["token"]["wrong"], ends["constant"]["wrong"]) > 0.6 else came
reveal("wrong_and_long", came, answer=ends["answer"], constant=ends["constant"])

# %% [markdown]
# Divided by its own length, a long answer feels less of its reward: a long wrong one is hardly punished, and a long right
# one hardly praised. So right answers get shorter, and wrong ones longer. That is the length bias of the first GRPO. Per
# token and by a constant, answers of the same batch are treated alike. The mean per token has another, smaller fault: a
# batch with long answers counts less than a batch with short ones.
#
# ## A KL inside the loss
#
# PPO puts the KL into the reward. GRPO puts it into the loss. Chapter 3 has shown that this is not the same thing. Now you
# work it out. There are three estimators of $\mathrm{KL}(p_\theta \| p_0)$, of $d = \log p_\theta(y) - \log p_0(y)$:
#
# $$ k_1 = d, \qquad k_2 = \tfrac12 d^2, \qquad k_3 = e^{-d} - 1 + d, $$
#
# and three uses: as a **loss** that is differentiated; as a price in the **reward**, which is a constant; and times the
# **ratio** $p_\theta/\bar p$, where $\bar p$ is $p_\theta$ held constant (the ratio is 1, and has a gradient).
#
# **Predict.** Of these nine, how many have on average the gradient of $\mathrm{KL}(p_\theta \| p_0)$?
#
# - **a** All of those with $k_1$ and $k_3$: their mean is the KL. That makes six.
# - **b** Four.
# - **c** One: $k_1$ in the reward, as in PPO.

# %% tags=["demo"]
predict("how_many", "")

# %% [markdown]
# ## Exercise 4: nine gradients
#
# All answers of a small world can be listed, so each expectation is a sum. Autograd can do it too, but try with paper
# first: of each use, what is differentiated? A derivation stands folded below the check.

# %% nbgrader={"grade": false, "grade_id": "kl_gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_gradient(
    logits: torch.Tensor, ref_logits: torch.Tensor, estimator: str, use: str
) -> torch.Tensor:
    """The expected gradient at the logits of a KL estimator in one of its uses, exactly.

    logits, ref_logits: (prompts, answers); policy p and reference p_0 are the softmax over
    the answers. estimator: "k1", "k2" or "k3", of d = log p(y) - log p_0(y):
    d, d**2 / 2 and exp(-d) - 1 + d. Answers are drawn from p. use:
    "loss": the estimate is minimised, and differentiated like any loss;
    "reward": it is a price in the reward, a constant k that is minimised by the
    score-function gradient E[k ∇ log p];
    "ratio": p(y) / p̄(y) times the estimate is minimised, where p̄ is p held constant;
    both factors are differentiated.
    Returns (prompts, answers): for each prompt the expectation over its answers, a sum and
    no sample, of the same dtype as logits. It is the gradient to go *down*.
    """
    ### BEGIN SOLUTION
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    d = (logps - ref_logps).detach()  # (prompts, answers)
    value = {"k1": d, "k2": d**2 / 2, "k3": torch.expm1(-d) + d}[estimator]
    slope = {"k1": torch.ones_like(d), "k2": d, "k3": -torch.expm1(-d)}[estimator]
    weight = {"loss": slope, "reward": value, "ratio": value + slope}[use]
    probs = logps.detach().exp()
    return probs * (weight - (probs * weight).sum(-1, keepdim=True))  # E[weight ∇ log p]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_gradient_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("kl_gradient", kl_gradient)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# All nine have the form $\mathbb{E}[w\,\nabla\log p]$ with some weight $w$ for each answer. If k is differentiated, what is
# $\nabla k(d)$, when only $\log p_\theta$ in d has a gradient? For the ratio, use the product rule. And what is
# $\mathbb{E}[w\,\nabla\log p]$ at the logits of a softmax (chapter 3, exercise 2)?
# </details>
# <details><summary><b>A derivation</b>: open it when yours is written</summary>
#
# Let $s = \nabla\log p(y)$. Then $\nabla d = s$, and $\nabla k(d) = k'(d)\,s$.
#
# *Loss:* $\mathbb{E}[k'(d)\,s]$. For $k_1$ it is $\mathbb{E}[s] = \nabla\sum p = 0$. For $k_2$ it is $\mathbb{E}[d\,s]$, the gradient
# of $\mathrm{KL}(p\|p_0)$ (chapter 3's derivation). For $k_3$ it is $\mathbb{E}[(1 - p_0/p)\,s] = -\sum p_0 \nabla\log p$, the gradient of
# $\mathrm{KL}(p_0\|p)$.
#
# *Reward:* $\mathbb{E}[k(d)\,s]$. For $k_1$ it is $\mathbb{E}[d\,s]$. For $k_3$ it is
# $\mathbb{E}[d\,s] + \sum p_0 \nabla \log p$: the gradient of the *difference* of both KLs. For $k_2$ it is
# $\mathbb{E}[\tfrac12 d^2 s]$, which is neither.
#
# *Ratio:* by the product rule the sum of the two. $k_1$: $\mathbb{E}[d\,s] + 0$. $k_3$: the second KL cancels, and $\mathbb{E}[d\,s]$
# remains. $k_2$: $\mathbb{E}[(d + \tfrac12 d^2)\,s]$, neither.
# </details>
#
# Your nine against autograd, in float64, and against the gradients of the two KLs:

# %% tags=["demo"]
world = listed.listed_world()
ref = world.ref_logps.double()
policy_logits = ref + 0.4 * world.utilities.double()  # somewhere between p_0 and the optimum


def by_autograd(estimator: str, use: str) -> torch.Tensor:
    """The same gradient from autograd: the chances of the draws are held constant."""
    theta = policy_logits.clone().requires_grad_()
    logps = theta.log_softmax(-1)
    d = logps - ref
    k = {"k1": d, "k2": d**2 / 2, "k3": (-d).exp() - 1 + d}[estimator]
    ratio = (logps - logps.detach()).exp()
    minimised = {"loss": k, "reward": k.detach() * logps, "ratio": ratio * k}[use]
    (logps.detach().exp() * minimised).sum().backward()
    return theta.grad


theta = policy_logits.clone().requires_grad_()
p, q = theta.softmax(-1), ref.softmax(-1)
kls = {"∇KL(p‖p₀)": (p * (p / q).log()).sum(), "∇KL(p₀‖p)": (q * (q / p).log()).sum()}
(forward, backward) = (torch.autograd.grad(kl, theta, retain_graph=True)[0] for kl in kls.values())

# %% tags=["demo"]
names = {"∇KL(p‖p₀)": forward, "∇KL(p₀‖p)": backward, "0": torch.zeros_like(forward)}
nine, nine_gap = [], 0.0
for use in ("loss", "reward", "ratio"):
    for estimator in ("k1", "k2", "k3"):
        gradient = kl_gradient(policy_logits, ref, estimator, use)
        gap = (gradient - by_autograd(estimator, use)).abs().max().item()
        nine_gap = max(nine_gap, gap)
        equal = [name for name, g in names.items() if (gradient - g).abs().max() < 1e-9]
        nine.append({"use": use, "estimator": estimator, "is": equal[0] if equal else "neither",
                     "length": gradient.norm().item(), "against autograd": f"{gap:.0e}"})  # fmt: skip
plots.show_table(nine)
counted = [row["is"] for row in nine].count("∇KL(p‖p₀)")
reveal("how_many", {6: "a", 4: "b", 1: "c"}.get(counted, "b"), counted=counted)

# %% [markdown]
# So a number can be a perfect *measurement* of the KL and a wrong thing to *learn* from. $k_1$ as a loss does nothing.
# $k_3$ as a loss, the term of the first GRPO, holds the policy to $p_0$ by the other KL. (Both papers that say so are worth
# reading: Tang and Munos 2025, arXiv:2506.09477, and arXiv:2512.21852.)
#
# ## Exercise 5: a KL for the loss
#
# Four of the nine pull the right way. Which of them can be had as a *loss*, is never negative, and is still right when the
# answers come from an older policy, as in the second step on a batch? The docstring says what must hold. The way is yours.

# %% nbgrader={"grade": false, "grade_id": "kl_term", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_term(
    logps: torch.Tensor, old_logps: torch.Tensor, ref_logps: torch.Tensor
) -> torch.Tensor:
    """A KL penalty for the loss, one number for each sample, of the samples' shape (any).

    logps, old_logps, ref_logps: log-probabilities of the same samples under the policy p that
    is trained, under the older policy that drew them, and under the reference p_0. A number
    depends on its own sample alone. Whatever the three policies are (each gives every answer
    some probability):
    - no number is negative;
    - the expectation over the older policy's samples is KL(p || p_0);
    - so its gradient is that of KL(p || p_0), in expectation.
    Gradients flow through logps, and not through old_logps and ref_logps.
    """
    ### BEGIN SOLUTION
    log_ratio = logps - ref_logps.detach()
    k3 = torch.expm1(-log_ratio) + log_ratio
    return (logps - old_logps.detach()).exp() * k3
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_term_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("kl_term", kl_term)

# %% [markdown]
# <details><summary><b>Hint 1</b></summary>
#
# If samples come from the older policy, with what must any number be weighed so that its expectation becomes that under
# $p_\theta$? Has that weight a gradient?
# </details>
# <details><summary><b>Hint 2</b></summary>
#
# In your table, which rows have the right gradient? Which of those estimators is never negative, and has the KL as its mean?
# </details>
#
# This is what `trl`'s GRPO trainer adds since its version 1.16. We hold your loss against the trainer's, on the base model's answers, with
# another model as the reference; and the loss of RLOO, chapter 3's method, in which the clip is for whole answers.

# %% tags=["demo"]
rng, generator = random.Random(device.seed(5)), torch.Generator(DEVICE).manual_seed(device.seed(5))
batch, _ = draw(base, [puzzles.puzzle(rng) for _ in range(12)], generator)
mask, noise = batch["mask"], torch.Generator().manual_seed(device.seed(5))
with torch.no_grad():
    logps, ref_logps = logps_under(base, batch), logps_under(bases[-1], batch) - 0.1
batch["advantages"] = torch.randn(12, generator=noise).to(DEVICE)
batch["ref_logps"] = ref_logps * mask
batch["logps"] = (logps + 0.3 * torch.randn(mask.shape, generator=noise).to(DEVICE)) * mask
TRL = {"grpo": "answer", "bnpo": "token", "dapo": "token", "dr_grpo": "constant"}
extra = 0.05 * kl_term(logps, batch["logps"], batch["ref_logps"])
agreement = []
for loss_type, per in TRL.items():
    given = logps, batch["logps"], batch["advantages"], mask, 0.2, 0.28, per, NEW, extra
    theirs = puzzles.trl_loss(base, batch, loss_type=loss_type, epsilon=0.2, epsilon_high=0.28,
                              beta=0.05, max_completion_length=NEW)  # fmt: skip
    agreement.append({"trl": f"GRPO, {loss_type}", "yours": grpo_loss(*given).item(), "theirs": theirs})
whole, old = ((x * mask).sum(1, keepdim=True) for x in (logps, batch["logps"]))
given = whole, old, batch["advantages"], torch.ones_like(mask[:, :1]), 0.2, 0.2, "answer"
theirs = puzzles.trl_loss(base, batch, "RLOO")
agreement.append({"trl": "RLOO", "yours": grpo_loss(*given).item(), "theirs": theirs})
trl_gap = max(abs(row["yours"] - row["theirs"]) for row in agreement)
plots.show_table(agreement, caption=f"largest difference {trl_gap:.0e}")

# %% [markdown]
# ## Exercise 6: scored as it was drawn
#
# Answers are often drawn at a temperature that is not 1, or with top-p. Then they come from *another distribution* than
# `log_softmax(logits)`. If the loss forgets that, nothing reports an error: it is a bug that trainers have had. The right
# log-probability is that of the distribution that was really drawn from.

# %% nbgrader={"grade": false, "grade_id": "drawn_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def drawn_logps(
    logits: torch.Tensor, tokens: torch.Tensor, temperature: float = 1.0, top_p: float = 1.0
) -> torch.Tensor:
    """log p of each token under the distribution that it was really drawn from.

    logits: (..., vocab), the model's, of ordinary size; tokens: (...), one drawn from each.
    temperature > 0: the logits were divided by it. 0 < top_p <= 1: of the distribution at
    that temperature only the most likely tokens were kept, as few as have a sum of at least
    top_p, and the others could not be drawn. Returns (...): log-probabilities, -inf for a
    token that could not be drawn. Gradients flow to the logits; for tokens that could be
    drawn they are finite.
    """
    ### BEGIN SOLUTION
    logps = (logits / temperature).log_softmax(-1)
    ordered, order = logps.detach().sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()  # the sum of all that are more likely
    left_out = (before >= top_p) & (top_p < 1)
    left_out = torch.zeros_like(left_out).scatter(-1, order, left_out)  # in the old order
    kept = logps.masked_fill(left_out, -torch.inf).log_softmax(-1)
    return kept.gather(-1, tokens[..., None])[..., 0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "drawn_logps_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("drawn_logps", drawn_logps)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the order</summary>
#
# What comes first, the temperature or top-p? After some tokens are left out, what is the sum of the rest, and what has to
# be done about it?
# </details>
# <details><summary><b>Hint 2</b>: who is kept</summary>
#
# A token is kept if the sum of all that are *more* likely is still below top_p. How do you get these sums from sorted
# chances, and how do you bring the result back into the old order (`scatter`)?
# </details>
#
# The base model's answers, drawn in four ways. *Nothing has been trained*: every ratio should be 1. We score them as
# if they had been drawn at temperature 1 with all tokens, and as they were drawn.

# %% tags=["demo"]
@torch.no_grad()
def draw_and_score(temperature: float, top_p: float, count: int = 128) -> dict[str, object]:
    """What the loss would see on its first step, if it scores at temperature 1."""
    rng, generator = random.Random(device.seed(6)), torch.Generator(DEVICE).manual_seed(device.seed(6))
    asked = [puzzles.puzzle(rng) for _ in range(device.at_most(count, least=8))]
    ids, seen = (x.to(DEVICE) for x in puzzles.encoded([p.text for p in asked], "left"))
    tokens = ids[:, :0]
    for _ in range(NEW):  # token by token; the distribution is that of drawn_logps
        logits = base(ids, attention_mask=seen).logits[:, -1]  # (answers, vocab)
        every = torch.arange(logits.shape[1], device=DEVICE).expand(logits.shape)
        chances = drawn_logps(logits[:, None].expand(-1, logits.shape[1], -1), every, temperature, top_p)
        new = torch.multinomial(chances.exp(), 1, generator=generator)
        tokens, ids = torch.cat([tokens, new], 1), torch.cat([ids, new], 1)
        seen = torch.cat([seen, torch.ones_like(new)], 1)
    mask = answer_mask(tokens, puzzles.END).bool()
    logits = base(ids, attention_mask=seen).logits[:, -NEW - 1 : -1]
    drawn = drawn_logps(logits, tokens, temperature, top_p)[mask]
    plain = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0][mask]
    outside = lambda now: ((now - drawn).exp() - 1).abs() > 0.2  # noqa: E731
    return {"temperature": temperature, "top-p": top_p,
            "mean ratio, scored at 1": (plain - drawn).exp().mean().item(),
            "outside the clip, scored at 1": outside(plain).float().mean().item(),
            "outside, scored as drawn": outside(drawn_logps(logits, tokens, temperature, top_p)[mask]).float().mean().item()}  # fmt: skip


mismatch = [draw_and_score(*how) for how in ((1.0, 1.0), (0.7, 1.0), (1.4, 1.0), (1.0, 0.9))]
plots.show_table(mismatch)
