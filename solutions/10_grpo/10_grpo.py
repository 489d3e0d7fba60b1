# %% [markdown]
# # 10 · GRPO: rewards that can be checked
#
# In chapters 4 and 5 a reward was learned from people's comparisons, and a policy was trained on it, flaws included.
# Some answers need no opinion: a sum is right or wrong, a program passes its tests or does not. A reward that a rule
# can check is called **verifiable**. Here you train a small model with nothing but such a rule. The method is GRPO
# (group relative policy optimisation), with which reasoning models are trained.
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

from course import device, listed, methods, plots, puzzles
from course.drawings import c10 as drawings

plots.use_style()
torch.set_num_threads(1)  # so small a model gains nothing from more
print(device.describe_machine())
DEVICE = device.device()
drawings.recipes()

# %% [markdown]
# It is often said that DeepSeek-R1 was trained with RLHF only, without supervised fine-tuning. Two models are mixed
# up there. **R1-Zero** went from the base model straight to reinforcement learning, and with *verifiable rewards*:
# rules, and no human preferences. **R1** itself had four stages: a small supervised fine-tuning first (a *cold
# start*), then reinforcement learning with rules, then fine-tuning on answers chosen by *rejection sampling* (many
# answers are drawn, and those that pass are kept), then reinforcement learning again (DeepSeek-AI 2025,
# arXiv:2501.12948). All of these pieces are in this chapter, small enough for your machine.
#
# ## Puzzles, and people who write about them
#
# A puzzle is a number and five moves on a ring: after 9 comes 0. More than half of what people wrote about them are
# work sheets: running totals, and no answer. Others answer at once. A few write the totals first and then the answer;
# such notes are called a *scratchpad*. People make slips: now and then a total is off by one. Our base model reads all
# this. It is pre-trained here, three times over, in about a minute.

# %% tags=["demo"]
rng = random.Random(device.seed(0))
for _ in range(6):
    print(puzzles.document(rng))

SEEDS = [device.seed(n) for n in range(device.at_most(3))]
bases = []
for seed in tqdm(SEEDS, desc="pre-training"):
    model = puzzles.new_model(seed).to(DEVICE)
    puzzles.fit(model, puzzles.document, device.at_most(700, least=8), 64, 4e-3, seed)
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
    names = ("input_ids", "attention_mask", "tokens", "mask")
    return rollout_logps(model, *(batch[name] for name in names))


def luck(n: int) -> tuple[random.Random, torch.Generator]:
    """Two sources of randomness, from the seed n: for puzzles, and for tokens."""
    return random.Random(n), torch.Generator(DEVICE).manual_seed(n)


rng, generator = luck(device.seed(1))
asked = [puzzles.puzzle(rng) for _ in range(8)]
_, texts = draw(base, asked, generator)
rows = zip(asked, texts)
plots.show_table([{"asked": p.text, "truth": p.truth, "answered": t} for p, t in rows])

# %% [markdown]
# The base model does what people did. Mostly it fills in a work sheet or guesses, and now and then it thinks and
# answers. Reinforcement learning needs no more than that: the right answer must come up *sometimes*, because only what
# was drawn can be rewarded.
#
# ## Exercise 1: a verifier
#
# What we want has two parts, and they are paid apart. The *form*: a thought and then an answer, each between its marks.
# And the answer has to be *right*. The program that checks an answer is called a **verifier**. During training it sees
# thousands of answers. If there is a way to be paid without being right, sooner or later one of them has found it.

# %% nbgrader={"grade": false, "grade_id": "verify_answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verify_answer(text: str, truth: int) -> tuple[float, float]:
    """Two rewards of an answer, each 1.0 or 0.0: for its form, and for being right.

    text: what the model wrote, words with spaces between them. The four marks <think>,
    </think>, <answer> and </answer> are words too. The form is right when the text is one
    block <think> … </think> and directly behind it one block <answer> … </answer>, with
    nothing before, between or after them. A block holds any number of words, also none, and
    no mark. The answer is right when the text has exactly one <answer> and, behind it,
    exactly one </answer>, and what stands between them is one word, a whole number such as 7
    or -3, equal to truth. Each reward looks at its own condition alone.
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
# Take the words that are marks, in their order. What must that list be? Where must the first mark and the last mark
# stand in the text, and what may stand between `</think>` and `<answer>`?
# </details>
# <details><summary><b>Hint 2</b>: the answer</summary>
#
# What is right about `<answer> 1 2 3 4 5 </answer>` when the truth is 3? How many words may stand there? And if there
# are two answers?
# </details>
#
# Measured on several hundred new puzzles:

# %% tags=["demo"]
def examine(model, count: int = 400, seed: int = 77) -> dict[str, float]:
    """Of the answers to new puzzles: the share with the form, the right ones, the length."""
    rng, generator = luck(device.seed(seed))
    n = device.at_most(count, least=16)
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
# Draw $k$ answers to one puzzle: a **group**. GRPO compares each reward with its group, and divides by the group's
# spread:
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
# 0 / 0, and what prevents it?
# </details>
#
# Below: one group of the base model's answers. Beside your advantages stand those of chapter 3, leave-one-out.

# %% tags=["demo"]
leave_one_out = earlier("leave_one_out_advantages", methods.leave_one_out_advantages)
rng, generator = luck(device.seed(3))
one = puzzles.puzzle(rng)
for _ in range(50):  # until a group of eight has a right answer in it
    _, texts = draw(base, [one] * 8, generator)
    paid = torch.tensor([[verify_answer(text, one.truth)[1] for text in texts]])  # (1, 8)
    if paid.any():
        break
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
# Without the division, a puzzle with one right answer of eight moves the policy less than one with four. Divided by
# the spread the two come closer: hard and easy puzzles count more than they would in the gradient of the expected
# reward. That is a choice. Liu et al. 2025 (*Dr. GRPO*, arXiv:2503.20783) leave the division away. A group in which
# all rewards are equal teaches nothing in either way.
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
# It is chapter 5's loss with one advantage for each answer: which shape must `advantages` get? Which tensors are
# constants? Where could `exp` overflow on padding?
# </details>
# <details><summary><b>Hint 2</b>: three divisions</summary>
#
# Set what stands on padding to 0 first. Then all three are sums of the same losses: by what is each divided, and when?
# </details>
#
# Minus the loss of a single token, its *objective*, drawn with your own function, for the ends 0.8 and 1.28:

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
# A world with four answers: right or wrong, and each of these short (4 tokens) or long (16 tokens). All four are
# equally likely at first. Length has nothing to do with being right, and is not paid for.
#
# **Predict.** We train with your loss. As the policy learns to be right: what happens to the length of those answers
# that are still *wrong*?
#
# - **a** Nothing, with none of the three: length is not paid for.
# - **b** Per “answer” they get longer.
# - **c** Per “answer” they get shorter.
# - **d** Per “token” and by a constant they get longer: a long answer has more tokens, and each is pushed.

# %% tags=["demo"]
predict("wrong_and_long", "")

# %% tags=["demo"]
SHORT, LONG, KINDS = 4, 16, ("right, short", "right, long", "wrong, short", "wrong, long")
pays, long = torch.tensor([1.0, 1, 0, 0]), torch.tensor([SHORT, LONG, SHORT, LONG])


def four_answers(per: str, seed: int, updates: int = 60) -> list[dict]:
    """Train a table of four logits; of the wrong and of the right answers, the long ones."""
    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    generator, shares = torch.Generator().manual_seed(seed), []
    for _ in range(updates):
        p = logits.detach().softmax(0)
        of_wrong, of_right = p[3] / p[2:].sum(), p[1] / p[:2].sum()
        shares.append({"wrong": of_wrong.item(), "right": of_right.item()})
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
        ax.get_lines()[-1].set_linestyle("--" if per == "constant" else "-")
        ax.set(xlabel="update", title=f"Long ones among the {name} answers", ylim=(0, 1))
axes[0].legend(loc="lower left")
plt.show()
ends = {per: {name: median(run[-1][name] for run in runs) for name in ("wrong", "right")}
        for per, runs in lengths_learned.items()}  # fmt: skip
apart = ends["answer"]["wrong"] - ends["constant"]["wrong"]
came = "b" if apart > 0.1 else "c" if apart < -0.1 else "a"
came = "d" if min(ends["token"]["wrong"], ends["constant"]["wrong"]) > 0.6 else came
reveal("wrong_and_long", came, answer=ends["answer"], constant=ends["constant"])

# %% [markdown]
# Divided by its own length, a long answer is moved less by its reward. A long wrong one is hardly made rarer, and a
# long right one hardly more frequent. So right answers get shorter, and wrong ones longer. That is the **length bias**
# of the first GRPO. Per token and by a constant, answers of the same batch are treated alike. The mean per token has
# another, smaller fault: each answer of a batch with long answers counts less than one of a batch with short answers.
#
# ## A KL inside the loss
#
# PPO puts the KL into the reward. GRPO puts it into the loss. Chapter 3 has shown that this is not the same thing.
# Now you work it out. There are three estimators of $\mathrm{KL}(p_\theta \| p_0)$, of $d = \log p_\theta(y) - \log
# p_0(y)$:
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
# All nine have the form $\mathbb{E}[w\,\nabla\log p]$ with some weight $w$ for each answer. If k is differentiated,
# what is $\nabla k(d)$, when only $\log p_\theta$ in d has a gradient? For the ratio, use the product rule. And what
# is $\mathbb{E}[w\,\nabla\log p]$ at the logits of a softmax (chapter 3, exercise 2)?
# </details>
# <details><summary><b>A derivation</b>: open it when yours is written</summary>
#
# Let $s = \nabla\log p(y)$. Then $\nabla d = s$, and $\nabla k(d) = k'(d)\,s$.
#
# *Loss:* $\mathbb{E}[k'(d)\,s]$. For $k_1$ it is $\mathbb{E}[s] = \nabla\sum p = 0$. For $k_2$ it is
# $\mathbb{E}[d\,s]$, the gradient of $\mathrm{KL}(p\|p_0)$ (chapter 3's derivation). For $k_3$ it is $\mathbb{E}[(1 -
# p_0/p)\,s] = -\sum p_0 \nabla\log p$, the gradient of $\mathrm{KL}(p_0\|p)$.
#
# *Reward:* $\mathbb{E}[k(d)\,s]$. For $k_1$ it is $\mathbb{E}[d\,s]$. For $k_3$ it is
# $\mathbb{E}[d\,s] + \sum p_0 \nabla \log p$: the gradient of the *difference* of both KLs. For $k_2$ it is
# $\mathbb{E}[\tfrac12 d^2 s]$, which is neither.
#
# *Ratio:* by the product rule the sum of the two. $k_1$: $\mathbb{E}[d\,s] + 0$. $k_3$: the second KL cancels, and
# $\mathbb{E}[d\,s]$ remains. $k_2$: $\mathbb{E}[(d + \tfrac12 d^2)\,s]$, neither.
# </details>
#
# Your nine against autograd, in float64, and against the gradients of the two KLs:

# %% tags=["demo"]
world = listed.listed_world()
ref = world.ref_logps.double().log_softmax(-1)
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
names = {name: torch.autograd.grad(kl, theta, retain_graph=True)[0] for name, kl in kls.items()}
names["0"] = torch.zeros_like(theta)

# %% tags=["demo"]
nine, nine_gap = [], 0.0
for use in ("loss", "reward", "ratio"):
    for estimator in ("k1", "k2", "k3"):
        gradient = kl_gradient(policy_logits, ref, estimator, use)
        gap = (gradient - by_autograd(estimator, use)).abs().max().item()
        nine_gap = max(nine_gap, gap)
        equal = [name for name, g in names.items() if (gradient - g).abs().max() < 1e-9]
        nine.append({
            "use": use, "estimator": estimator, "is": equal[0] if equal else "neither",
            "length": gradient.norm().item(), "against autograd": f"{gap:.0e}",
        })  # fmt: skip
plots.show_table(nine)
counted = [row["is"] for row in nine].count("∇KL(p‖p₀)")
reveal("how_many", {6: "a", 4: "b", 1: "c"}.get(counted, "b"), counted=counted)

# %% [markdown]
# So a number can measure the KL without error on average, and still be wrong as a *loss*. $k_1$ as a loss does
# nothing on average. $k_3$ as a loss, the term of the first GRPO, pulls the policy to $p_0$ by the other KL. Two papers
# say so and are worth reading: Tang and Munos 2025 (arXiv:2506.09477), and Shah et al. 2025 (arXiv:2512.21852).
#
# ## Exercise 5: a KL for the loss
#
# Four of the nine pull the right way. Which of them can be had as a *loss*, is never negative, and is still right
# when the answers come from an older policy, as in the second step on a batch? The docstring says what must hold. The
# way is yours.

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
# In your table, which rows have the right gradient? Which of those estimators is never negative, and has the KL as
# its mean?
# </details>
#
# This is the KL that `trl`'s GRPO trainer adds when its `beta` is above 0 (the default is 0: no KL). We compare your
# loss with the trainer's, on the base model's answers, with another model as the reference. In the last row it is
# compared with the loss of `trl`'s RLOO trainer, chapter 3's method. There each ratio is that of a whole answer.

# %% tags=["demo"]
rng, generator = luck(device.seed(5))
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
    yours = grpo_loss(*given).item()
    agreement.append({"trl": f"GRPO, {loss_type}", "yours": yours, "theirs": theirs})
whole, old = ((x * mask).sum(1, keepdim=True) for x in (logps, batch["logps"]))
given = whole, old, batch["advantages"], torch.ones_like(mask[:, :1]), 0.2, 0.2, "answer"
theirs = puzzles.trl_loss(base, batch, "RLOO")
agreement.append({"trl": "RLOO", "yours": grpo_loss(*given).item(), "theirs": theirs})
trl_gap = max(abs(row["yours"] - row["theirs"]) for row in agreement)
plots.show_table(agreement, caption=f"largest difference {trl_gap:.0e}")

# %% [markdown]
# ## Exercise 6: scored as it was drawn
#
# Answers are often drawn at a temperature that is not 1, or with top-p. Then they come from *another distribution*
# than `log_softmax(logits)`. If the loss forgets that, no error is reported. Trainers have had this bug. The right
# log-probability is that of the distribution that was really drawn from.

# %% nbgrader={"grade": false, "grade_id": "drawn_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def drawn_logps(
    logits: torch.Tensor, tokens: torch.Tensor, temperature: float = 1.0, top_p: float = 1.0
) -> torch.Tensor:
    """log p of each token under the distribution that it was really drawn from.

    logits: (..., vocab), the model's, of ordinary size; tokens: (...), one drawn from each.
    temperature > 0: the logits were divided by it. 0 < top_p <= 1: of the distribution at
    that temperature only the most likely tokens were kept, as few as have a sum of at least
    top_p, and the others could not be drawn; top_p = 1 keeps every token, however unlikely.
    Returns (...): log-probabilities, -inf for a token that could not be drawn. Gradients flow
    to the logits; for tokens that could be drawn they are finite.
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
# What comes first, the temperature or top-p? After some tokens are left out, what is the sum of the rest, and what
# has to be done about it?
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
    rng, generator = luck(device.seed(6))
    asked = [puzzles.puzzle(rng) for _ in range(device.at_most(count, least=8))]
    ids, seen = (x.to(DEVICE) for x in puzzles.encoded([p.text for p in asked], "left"))
    tokens, noted = ids[:, :0], []  # noted: what the sampler knows of each token it draws
    for _ in range(NEW):  # token by token; the distribution is that of drawn_logps
        logits = base(ids, attention_mask=seen).logits[:, -1]  # (answers, vocab)
        vocab = logits.shape[1]
        every = torch.arange(vocab, device=DEVICE).expand(logits.shape)
        repeated = logits[:, None].expand(-1, vocab, -1)  # (answers, vocab, vocab)
        chances = drawn_logps(repeated, every, temperature, top_p)
        new = torch.multinomial(chances.exp(), 1, generator=generator)
        tokens, ids = torch.cat([tokens, new], 1), torch.cat([ids, new], 1)
        noted.append(chances.gather(1, new))
        seen = torch.cat([seen, torch.ones_like(new)], 1)
    mask = answer_mask(tokens, puzzles.END).bool()
    logits = base(ids, attention_mask=seen).logits[:, -NEW - 1 : -1]
    scored = {"at 1": (1.0, 1.0), "as drawn": (temperature, top_p)}
    now = {name: drawn_logps(logits, tokens, *how)[mask] for name, how in scored.items()}
    sampled = torch.cat(noted, 1)[mask]
    ratios = {name: (logps - sampled).exp() for name, logps in now.items()}
    found = {f"outside the clip, scored {name}": ((r - 1).abs() > 0.2).float().mean().item()
             for name, r in ratios.items()}  # fmt: skip
    mean = ratios["at 1"].mean().item()
    return {"temperature": temperature, "top-p": top_p, "mean ratio, scored at 1": mean} | found


mismatch = [draw_and_score(*how) for how in ((1.0, 1.0), (0.7, 1.0), (1.4, 1.0), (1.0, 0.7))]
plots.show_table(mismatch)

# %% [markdown]
# At a temperature of 0.7, likely tokens are drawn more often than the loss assumes. Before anything is learned, some
# tokens are already outside the clip, and the other ratios are not 1 either. With top-p the mean ratio is below 1,
# because the loss gives chances to tokens that could not come. Scored as drawn, all ratios are 1.
#
# ## Exercise 7: right at least once
#
# How good is a policy? **pass@1** is the share of right answers. **pass@k** is the chance that of $k$ answers at
# least one is right: what the policy *can* do, if somebody checks. Taking k answers and looking is noisy. Better:
# draw more answers, $n$, and count over all choices of $k$ of them (Chen et al. 2021, arXiv:2107.03374).

# %% nbgrader={"grade": false, "grade_id": "pass_at_k", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pass_at_k(right: int, drawn: int, k: int) -> float:
    """The chance that at least one of k answers is right, without bias.

    `drawn` answers were drawn to a question, and `right` of them are right, 0 <= right <=
    drawn. Choose k of them, 1 <= k <= drawn, without putting any back, all choices equally
    likely: the chance that a right one is among them. drawn is at most 10,000.
    """
    ### BEGIN SOLUTION
    all_wrong = 1.0
    for i in range(k):  # one after the other, each from what is left
        all_wrong *= (drawn - right - i) / (drawn - i)
    return 1.0 - all_wrong
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pass_at_k_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("pass_at_k", pass_at_k)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What is the chance that the first one chosen is wrong? If it was: what is left for the second? When can k wrong ones
# not be chosen at all, and what does your product say then?
# </details>
#
# ## Exercise 8: rejection sampling
#
# The simplest way to learn from checks has no policy gradient at all: draw many answers, keep the right ones, and
# fine-tune on them as in chapter 2. R1's third stage is of this kind.

# %% nbgrader={"grade": false, "grade_id": "rejection_sample", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rejection_sample(
    answers: list[list[str]], rewards: torch.Tensor, most: int
) -> list[tuple[int, int]]:
    """Which answers to learn from: pairs (prompt, place), in the order of prompts and places.

    answers[i][j]: a text, the j-th answer drawn to prompt i. rewards: (prompts, k), 1 where
    it is right and 0 where it is not. Chosen are right answers only. Of answers with the
    same text to the same prompt the first one alone counts. Of what is left of a prompt, the
    first `most` are taken.
    """
    ### BEGIN SOLUTION
    chosen = []
    for i, texts in enumerate(answers):
        seen = []
        for j, text in enumerate(texts):
            if rewards[i, j] == 1 and text not in seen and len(seen) < most:
                seen.append(text)
                chosen.append((i, j))
    return chosen
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rejection_sample_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("rejection_sample", rejection_sample)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# In which order do the three conditions come: right, new to this prompt, not too many? What do you have to remember
# of a prompt, and when is it forgotten?
# </details>
#
# ## Exercise 9: the training loop
#
# All pieces are there. Think first: what is drawn once an update, and what is computed anew for each step?

# %% nbgrader={"grade": false, "grade_id": "train_grpo", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_grpo(
    policy, optimizer, sample, logps_of, updates: int, *, steps: int, clip_low: float,
    clip_high: float, per: str, max_tokens: int, beta: float, max_norm: float = 1.0,
) -> list[float]:  # fmt: skip
    """Train a policy on its own answers. Returns the mean reward of each update's answers.

    In each update, the policy answers once, as it is then: sample() returns a dictionary
    with "rewards" (prompts, k), and, for the same answers in the same order, one row each,
    "logps", "ref_logps" and "mask", all (prompts * k, seq). There may be more in it.
    logps_of(batch), with that dictionary, gives the present log-probabilities of the
    answers' tokens, with gradients.

    Then the optimizer takes `steps` steps on these answers. Each goes down the gradient of
    grpo_loss (with clip_low, clip_high, per, max_tokens), where every token also pays beta
    times its kl_term. "logps" are those of the policy that drew, in all steps. The
    advantages are those of the groups. Where the gradient of all the policy's parameters
    together is longer than max_norm, it is scaled to that length. The mean rewards are plain
    numbers.
    """
    ### BEGIN SOLUTION
    earned = []
    for _ in range(updates):
        batch = sample()
        drawn, ref_logps, mask = (batch[name] for name in ("logps", "ref_logps", "mask"))
        advantages = group_advantages(batch["rewards"]).flatten()  # (answers,)
        for _ in range(steps):
            logps = logps_of(batch)
            extra = beta * kl_term(logps, drawn, ref_logps)
            loss = grpo_loss(
                logps, drawn, advantages, mask, clip_low, clip_high, per, max_tokens, extra
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)
            optimizer.step()
        earned.append(batch["rewards"].mean().item())
    return earned
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_grpo_check", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}
check("train_grpo", train_grpo)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# It is chapter 3's loop with a second loop inside. Which three tensors of the batch stay what they are during all
# steps? Where does beta come in, if `grpo_loss` has an argument for something extra?
# </details>
#
# ## Reward alone
#
# Now the base models learn, each from its own answers. The only reward is 1 for a right answer: nothing is paid for the
# form, and there are no demonstrations.

# %% tags=["demo"]
PROMPTS, K, UPDATES = 8, 8, device.updates(40, least=2)
GRPO = dict(steps=2, clip_low=0.2, clip_high=0.28, per="constant", max_tokens=NEW, beta=0.0)


def only_right(text: str, asked) -> float:
    """1 for a right answer, in whatever form, else 0."""
    return verify_answer(text, asked.truth)[1]


def train(start, seed: int, reward=only_right, updates: int = UPDATES) -> tuple:
    """GRPO from a model; of every batch of answers, what is true of them and what was paid."""
    policy = copy.deepcopy(start).train()
    (rng, generator), history = luck(seed), []

    def sample() -> dict:
        asked = [p for p in (puzzles.puzzle(rng) for _ in range(PROMPTS)) for _ in range(K)]
        batch, texts = draw(policy, asked, generator)
        paid = [reward(text, p) for text, p in zip(texts, asked)]
        batch["rewards"] = torch.tensor(paid, device=DEVICE).view(PROMPTS, K)
        with torch.no_grad():
            batch["logps"] = logps_under(policy, batch)
            batch["ref_logps"] = logps_under(start, batch)
        form, right = zip(*(verify_answer(text, p.truth) for text, p in zip(texts, asked)))
        history.append({"paid": sum(paid) / len(paid), "form": sum(form) / len(form),
                        "right": sum(right) / len(right),
                        "tokens": batch["mask"].sum().item() / len(texts)})  # fmt: skip
        return batch

    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=0.0)
    train_grpo(policy, optimizer, sample, lambda b: logps_under(policy, b), updates, **GRPO)
    return policy.eval(), history


alone = [train(model, seed) for seed, model in zip(SEEDS, tqdm(bases, desc="reward alone"))]

# %% [markdown]
# **Predict.** DeepSeek gave R1 a small cold start, and reports that it did better than R1-Zero. We try
# the same: a few updates on demonstrations of the form, *with people's slips in them*, and then the same training with
# the same reward. Compared with reward alone, the policy with a cold start
#
# - **a** learns sooner, and ends about equal;
# - **b** ends clearly better;
# - **c** ends worse: it has learned the slips.

# %% tags=["demo"]
predict("cold_start", "")

# %% tags=["demo"]
def shown(rng: random.Random) -> tuple[str, str]:
    """A puzzle and a demonstration of the form, written by somebody who makes slips."""
    asked = puzzles.puzzle(rng)
    return asked.text, puzzles.demonstration(asked.text, rng, puzzles.SLIP)


few = [shown(random.Random(device.seed(100 + i))) for i in range(64)]  # demonstrations
started = [copy.deepcopy(model).train() for model in bases]
for seed, model in zip(SEEDS, started):
    steps = device.at_most(60)
    puzzles.fit(model, lambda rng: rng.choice(few), steps, 16, 1e-3, seed, asked=True)
    model.eval()
cold = [train(m, seed) for seed, m in zip(SEEDS, tqdm(started, desc="with a cold start"))]

# %% tags=["demo"]
RUNS = {"reward alone": (alone, plots.BLUE), "with a cold start": (cold, plots.ORANGE)}
fig, axes = plt.subplots(1, 3, figsize=(8.5, 2.8))
for ax, name in zip(axes, ("right", "form", "tokens")):
    for label, (runs, color) in RUNS.items():
        plots.band(ax, [history for _, history in runs], name, color, label)
    ax.set(xlabel="update", title=name.capitalize())
axes[2].legend(loc="lower right")
plt.show()
print(f"Lines: medians of {len(SEEDS)} seeds. Bands: from the lowest to the highest.")

stages = {"base": bases, "reward alone": [m for m, _ in alone],
          "cold start": started, "cold start, reward": [m for m, _ in cold]}  # fmt: skip
accuracy = {name: [examine(m)["right"] for m in found] for name, found in stages.items()}
plots.show_table([
    {"model": name, "right, median": median(x), "lowest": min(x), "highest": max(x)}
    for name, x in accuracy.items()
])  # fmt: skip

# %% tags=["demo"]
def updates_until(history: list[dict], level: float = 0.6) -> int:
    """The first update whose answers are right this often; all of them where none is."""
    return next((i for i, point in enumerate(history) if point["right"] >= level), len(history))


until = {name: median(updates_until(h) for _, h in runs) for name, (runs, _) in RUNS.items()}
end = {name: median(accuracy[name]) for name in stages}
gap = end["cold start, reward"] - end["reward alone"]
came = "a" if abs(gap) < 0.1 else "b" if gap > 0 else "c"
reveal("cold_start", came, until=until, end=end)
times = median(a / max(b, 1e-9) for a, b in zip(accuracy["reward alone"], accuracy["base"]))
print(f"Right answers, reward alone against the base model: {times:.1f} times as many (median)")

# %% [markdown]
# What did reward do that demonstrations did not? The demonstrations teach the form, and slips with it:
# the model writes thoughts as people do. A verifier pays for right answers only. Thoughts without a slip lead to those
# more often, and so they become likelier. Without the cold start the policy had to find the form by itself. It could,
# because the base model had read some answers of this form. If the form never comes up, reward alone cannot teach it.
#
# ### Learned, or sharpened?
#
# **Predict.** We draw 64 answers to each of some new puzzles. pass@1 has risen. What about pass@64 (with reward alone),
# compared with the base model?
#
# - **a** It has risen as much as pass@1: the policy can now solve what it could not.
# - **b** It has risen by much less, or not at all.
# - **c** It has fallen clearly.

# %% tags=["demo"]
predict("pass_many", "")

# %% tags=["demo"]
DRAWN, PUZZLES, TRIES = 64, device.at_most(32, least=4), (1, 2, 4, 8, 16, 32, 64)


def passes(model, seed: int) -> list[float]:
    """pass@k on new puzzles, for each number of tries."""
    rng, generator = luck(seed + 50)
    asked = [puzzles.puzzle(rng) for _ in range(PUZZLES)]
    _, texts = draw(model, [p for p in asked for _ in range(DRAWN)], generator)
    right = [sum(verify_answer(t, p.truth)[1] for t in texts[i * DRAWN : (i + 1) * DRAWN])
             for i, p in enumerate(asked)]  # fmt: skip
    return [sum(pass_at_k(int(r), DRAWN, k) for r in right) / PUZZLES for k in TRIES]


pass_of = {name: [passes(m, s) for m, s in zip(stages[name], SEEDS)] for name in stages}
fig, ax = plt.subplots(figsize=(7, 3))
for (name, runs), color in zip(pass_of.items(), plots.CYCLE):
    ax.plot(TRIES, [median(column) for column in zip(*runs)], "o-", color=color, label=name)
ax.set(xscale="log", xlabel="k", title="pass@k (median of the seeds)", ylim=(0, 1.03))
ax.set_xticks(TRIES, TRIES)
ax.legend()
plt.show()
first = {name: median(run[0] for run in runs) for name, runs in pass_of.items()}
many = {name: median(run[-1] for run in runs) for name, runs in pass_of.items()}
rise = [after["reward alone"] - after["base"] for after in (first, many)]
came = "a" if rise[1] > 0.8 * rise[0] else "c" if rise[1] < -0.1 else "b"
reveal("pass_many", came, first=first, many=many)

# %% [markdown]
# The gap between the two lines is large at k = 1 and much smaller at k = 64. Most of what the policy does after the
# training, the base model could do before, but rarely. The training made it frequent. Yue et al. 2025
# (arXiv:2504.13837) report this of large models, too. It is useful, because nobody asks a model 64 times. But it is not
# new knowledge.
#
# ### A reward that can be gamed
#
# Now a careless verifier: it looks for the truth *anywhere* in the text. Who answers rightly is paid by it, always.
# We train the base models with it, with twice as many updates.

# %% tags=["demo"]
def careless(text: str, asked) -> float:
    """Paid when the true number stands anywhere in the text."""
    return float(str(asked.truth) in text.split())


LONGER = 2 * UPDATES
gamed = [train(model, seed, careless, LONGER)
         for seed, model in zip(SEEDS, tqdm(bases, desc="careless"))]
fig, axes = plt.subplots(1, 2, figsize=(9, 2.9))
for name, color in (("paid", plots.VERMILION), ("right", plots.BLUE)):
    plots.band(axes[0], [history for _, history in gamed], name, color, name)
plots.band(axes[1], [history for _, history in gamed], "tokens", plots.GREY)
for ax, title in zip(axes, ("Careless verifier: paid, and right", "Tokens an answer")):
    ax.set(xlabel="update", title=title)
axes[0].legend()
plt.show()


def at_the_end(runs: list[tuple]) -> dict[str, float]:
    """Medians over the runs, each the mean of its last five updates."""
    last = [history[-5:] for _, history in runs]
    return {name: median(sum(p[name] for p in h) / len(h) for h in last)
            for name in ("paid", "right", "form", "tokens")}  # fmt: skip


late, honest = at_the_end(gamed), at_the_end(alone)
plots.show_table([{"verifier": "careless"} | late, {"verifier": "yours"} | honest])
_, generator = luck(device.seed(8))
_, texts = draw(gamed[0][0], asked[:5], generator)
rows = zip(asked, texts)
plots.show_table([{"asked": p.text, "truth": p.truth, "answered": t} for p, t in rows])

# %% [markdown]
# The careless verifier pays every right answer. But there is an easier way to be paid than to answer. A work sheet is a
# list of numbers, and the truth is often one of them. So the policy learns to write numbers and to give no answer; with
# some seeds the lists get longer and longer. Compare the two curves. What is paid looks like success, and nothing in it
# says that the answers are missing.
#
# ### Rejection sampling, with a control
#
# From the policy with the cold start we draw answers to many puzzles, choose with your `rejection_sample`, and
# fine-tune. If the policy is better afterwards: is that due to the choice, or only to more fine-tuning? A **control**
# tells: as many answers to the same puzzles, chosen at random, right or wrong.

# %% tags=["demo"]
def rejection(start, seed: int) -> dict[str, float]:
    """Accuracy after fine-tuning on right answers, and on as many chosen by chance."""
    rng, generator = luck(seed + 9)
    asked = [puzzles.puzzle(rng) for _ in range(device.at_most(128, least=8))]
    _, texts = draw(start, [p for p in asked for _ in range(8)], generator)
    rows = [texts[i * 8 : i * 8 + 8] for i in range(len(asked))]
    paid = torch.tensor([[only_right(t, p) for t in row] for row, p in zip(rows, asked)])
    chosen, found = rejection_sample(rows, paid, 4), {}
    by_chance = [(i, rng.randrange(8)) for i, _ in chosen]
    for name, places in (("right ones", chosen), ("by chance", by_chance)):
        pairs = [(asked[i].text, rows[i][j]) for i, j in places] or [shown(rng)]
        model, steps = copy.deepcopy(start).train(), device.at_most(80)
        puzzles.fit(model, lambda r, p=pairs: r.choice(p), steps, 32, 1e-3, seed, asked=True)
        found[name] = examine(model.eval())["right"]
    return found


chosen = [rejection(model, seed) for seed, model in zip(SEEDS, tqdm(started, desc="rejection"))]
middle = {name: median(run[name] for run in chosen) for name in ("right ones", "by chance")}
rows = [("before", end["cold start"]), ("answers by chance", middle["by chance"])]
rows += [("right answers", middle["right ones"]), ("GRPO", end["cold start, reward"])]
plots.show_table([{"from the cold start": name, "right, median": x} for name, x in rows])

# %% [markdown]
# ## Exercise 10: few checks (open)
#
# Checks can be expensive: a program has to be run, a proof to be read. Here you may have 200 answers checked, and no
# more. The policy is small: each answer has some features, and the weights decide. Learn weights with which it is
# right as often as possible, also on prompts that it has never seen.
#
# The way is yours. What is measured is the chance of the right answer on 500 held-out prompts, which your function
# never sees. There are four bars: 0.25, 0.45, 0.65 and 0.82. GRPO as above reaches the first one or two.

# %% nbgrader={"grade": false, "grade_id": "learn_from_checks", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learn_from_checks(
    features: torch.Tensor, start: torch.Tensor, check_answers, budget: int,
    generator: torch.Generator,
) -> torch.Tensor:  # fmt: skip
    """Weights (d,) of a policy that is right as often as possible, also on new prompts.

    features: (prompts, answers, d). A policy with weights w, (d,), gives the answers to a
    prompt the probabilities softmax(features @ w). To each prompt exactly one answer is
    right. start: (d,), weights that are right now and then. check_answers(prompts, drawn),
    two tensors (m,) of numbers, returns the rewards (m,): 1.0 where the answer is right, else
    0.0. It may be called many times, for at most `budget` answers in all. All that is random
    comes from the generator.
    """
    ### BEGIN SOLUTION
    # Each check is a fact about one answer, and stays true: keep all of them, and find the
    # weights under which what was seen is likely, of wrong answers too. Ask about each prompt
    # once, and spread the checks over eight rounds: better weights find more right answers.
    weights = start.clone().requires_grad_()
    asked, drawn, seen = (torch.empty(0, dtype=torch.long) for _ in range(3))
    order = torch.randperm(budget, generator=generator) % len(features)
    for prompts in order.chunk(8):
        probs = (features[prompts] @ weights.detach()).softmax(-1)
        answers = torch.multinomial(probs, 1, generator=generator)[:, 0]
        rewards = check_answers(prompts, answers)
        asked, drawn = torch.cat([asked, prompts]), torch.cat([drawn, answers])
        seen = torch.cat([seen, rewards.long()])
        optimizer = torch.optim.Adam([weights], lr=0.1)
        for _ in range(25 if len(asked) < budget else 100):
            logps = (features[asked] @ weights).log_softmax(-1)
            logps = logps.gather(1, drawn[:, None])[:, 0].clamp(max=-1e-4)
            likelihood = torch.where(seen == 1, logps, torch.log1p(-logps.exp()))
            optimizer.zero_grad()
            (-likelihood.mean()).backward()
            optimizer.step()
    return weights.detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "learn_from_checks_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("learn_from_checks", learn_from_checks)

# %% [markdown]
# <details><summary><b>Where to think further</b></summary>
#
# - A policy gradient uses each check once and forgets it. What was checked stays true.
# - A wrong answer says something as well. With your weights, how likely is all that you have seen?
# - Which prompts and which answers are worth a check? If you are sure beforehand, what do you learn?
# </details>
#
# ## What you measured

# %% tags=["demo"]
wrong_long, right_long = (ends["answer"][name] for name in ("wrong", "right"))
cold_outside = mismatch[1]["outside the clip, scored at 1"]
print(f"""In this run (medians of the seeds, where there are several):
- One right answer of eight moves the policy {hard[0]:.2f} times as far as four do with GRPO's
  advantages, and {hard[1]:.2f} times with leave-one-out.
- Per "answer", {wrong_long:.0%} of the wrong answers are long in the end, {right_long:.0%}
  of the right ones; by a constant {ends["constant"]["wrong"]:.0%}
  and {ends["constant"]["right"]:.0%}.
- Of nine gradients {counted} are that of KL(p‖p₀). From autograd they differ by {nine_gap:.0e}.
- Your loss and trl's differ by at most {trl_gap:.0e}.
- Drawn at 0.7 and scored at 1: {cold_outside:.0%} of the tokens are outside
  the clip before the first step.
- Right answers: {end["base"]:.0%} before, {end["reward alone"]:.0%} after reward alone,
  {end["cold start"]:.0%} after the cold start, {end["cold start, reward"]:.0%} after both.
- The first update with 60 % right answers: number {until["reward alone"]:g} with reward alone,
  number {until["with a cold start"]:g} with a cold start.
- pass@64: {many["base"]:.0%} before, {many["reward alone"]:.0%} after reward alone.
- The careless verifier pays {late["paid"]:.0%} in the end, and {late["right"]:.0%} are right.
- Fine-tuned on right answers {middle["right ones"]:.0%}, on answers by chance
  {middle["by chance"]:.0%}.""")

# %% [markdown]
# ## Questions
#
# <details><summary>1. All eight answers of a group are wrong. What does the policy learn from them?</summary>
#
# Nothing: all advantages are 0. (A KL term would still pull.) That is so for puzzles that are too hard and for those
# that are too easy. DAPO draws again until a group has both kinds.
# </details>
# <details><summary>2. Why is a reward for the form alone dangerous?</summary>
#
# It is easy to get: two empty blocks have the form. If it is paid as much as a right answer, that is what is learned
# first, and perhaps last. The form should be a condition, or a small part.
# </details>
# <details><summary>3. A trainer logs k₃ and also adds k₃ to its loss. Is one of the two wrong?</summary>
#
# As a number to watch, k₃ is right: its mean is the KL. As a loss it has the gradient of the other KL, KL(p₀‖p).
# Times the ratio it would have the right one.
# </details>
# <details><summary>4. pass@64 is the same before and after the training. Was the training useless?</summary>
#
# No. One answer is what people get, and pass@1 has risen. But if you can check answers anyway, drawing many from the
# base model may do as well.
# </details>
# <details><summary>5. Your accuracy is measured with the verifier that pays. What is missing?</summary>
#
# A second look. A flaw of the verifier raises both numbers. Read some answers, and check with a rule that was not
# trained on.
# </details>
#
# ## What was not shown
#
# Our model has a hundred thousand weights and one kind of puzzle, which a scratchpad makes easy. Whether reward alone
# can teach what no answer of the base model ever shows was not tried. Nor did we show where reward alone fails: with
# less pre-training, a model's rare thoughts are mostly wrong, and it can settle for answering at once, which is right
# now and then. One learning rate was used, none was tuned, and the cold start had one size. A KL that every token pays
# for itself, as in exercise 9 and in `trl`, leaves something out: earlier tokens decide which places are reached at
# all, and they are not charged for that (Tang and Munos call it a partial gradient). Answers here are short; the length
# bias was shown in a world of four answers. Programs and proofs need verifiers that are hard to write, and those are
# gamed in ways that are harder to see.
#
# **To read**: Shao et al. 2024, *DeepSeekMath* (GRPO, arXiv:2402.03300); DeepSeek-AI 2025, *DeepSeek-R1*
# (arXiv:2501.12948); Yu et al. 2025, *DAPO* (arXiv:2503.14476); Liu et al. 2025, *Understanding R1-Zero-like
# training* (Dr. GRPO, arXiv:2503.20783); Tang and Munos 2025, *On a few pitfalls in KL divergence gradient estimation
# for RL* (arXiv:2506.09477); Shah et al. 2025, *A comedy of estimators* (arXiv:2512.21852); Yue et al. 2025, on
# pass@k (arXiv:2504.13837); Chen et al. 2021, pass@k without bias (arXiv:2107.03374); Ahmadian et al. 2024, *Back to
# basics* (RLOO, arXiv:2402.14740).

# %%
progress("10_grpo")
