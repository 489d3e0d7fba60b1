# %% [markdown]
# # 5 · PPO
#
# PPO (proximal policy optimisation) is the method by which chat models were first trained on human preferences. It
# needs four models at once, and two of them are often not mentioned. Here you write all of it, piece by piece. Then
# you train a small chat model on a learned reward: first with a KL penalty, and then without.
#
# **You will be able to**
# - name the four models of PPO, and say what each costs in memory;
# - give every token of an answer its own reward and its own advantage;
# - write the clipped objective, and say what it does to a token and why;
# - write the training loop, from a batch of judged answers to the steps of the optimizer;
# - recognise reward hacking, and draw the curve that shows when more training makes a model worse.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 a reward for every token | ● ● ○ | 10 | | 6 how much the clip stops | ● ● ○ | 10 |
# | 2 advantages | ● ● ● | 15 | | 7 the loss of the value model | ● ● ○ | 5 |
# | 3 whitening under a mask | ● ● ○ | 5 | | 8 the training loop | ● ● ● | 15 |
# | 4 what each model learns from | ● ○ ○ | 5 | | 9 a reward one cannot trust | open | 15 |
# | 5 the clipped objective | ● ● ● | 10 | | | | |
#
# You need chapters 3 and 4, or to know what a policy gradient and a reward model are. The letters are those of the
# [table in chapter 0](../00_start_here/00_start_here.ipynb): $p_\theta$ is the policy, $p_0$ the reference. Hints are
# folded, and stand behind most checks.

# %% tags=["imports"]
import math

import torch

from autograder import check, earlier, predict, progress, reveal

# %% tags=["demo"]
import copy
import random
from collections import Counter
from operator import itemgetter
from statistics import median

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import device, methods, models, plots, rollouts, widgets
from course.drawings import c05 as drawings

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more threads
print(device.describe_machine())
DEVICE, DOSE = device.device(), device.dose()

# %% [markdown]
# ## Four models
#
# - The **policy** writes the answers, and is trained.
# - The **reference** is a frozen copy of the policy as it was at the start. The KL is measured from it.
# - The **reward model** of chapter 4 is frozen too. It gives a whole answer one number, the *score*.
# - The **value model** is trained together with the policy. *Before each token* it predicts the sum of the rewards
#   that are still to come.
#
# (PPO is from Schulman et al. 2017. It was first used like this by Ziegler et al. 2019, Stiennon et al. 2020 and
# Ouyang et al. 2022.)

# %% tags=["demo"]
reference = models.load_nano("sft").to(DEVICE).requires_grad_(False)
reward_model = models.load_nano("reward").to(DEVICE).requires_grad_(False)
policy = copy.deepcopy(reference).requires_grad_(True)
value_model = rollouts.new_value_model(reference)  # the same body, and a head that says 0

cast = dict(policy=policy, reference=reference, reward=reward_model, value=value_model)
sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in cast.items()}
drawings.four_models(sizes)

# %% [markdown]
# **Predict.** Take four models of the same size, and AdamW as the optimizer. Which share of the memory belongs to the
# two frozen models? (Not counted: what is kept of the batch while a gradient is computed.)
#
# - **a** About a half.
# - **b** About a third.
# - **c** About a fifth.

# %% tags=["demo"]
predict("frozen_share", "")

# %% tags=["demo"]
# The two that learn are measured after a step of AdamW, with gradients and its state.
held = {
    "policy": rollouts.bytes_in_training(policy),
    "reference": rollouts.bytes_of(reference),
    "reward": rollouts.bytes_of(reward_model),
    "value": rollouts.bytes_in_training(value_model),
}
numbers = {name: held[name] / 4 / sizes[name] for name in held}  # 4 bytes a number
plots.show_table(
    [{"model": n, "bytes": f"{held[n]:,}", "numbers a weight": numbers[n]} for n in held]
)
frozen_share = (held["reference"] + held["reward"]) / sum(held.values())
giant = 7e9 * 4 * sum(numbers.values()) / 2**30
print(f"With seven billion weights each, in float32: {giant:.0f} GiB before the first token.")
nearest = "a" if frozen_share > 0.42 else "b" if frozen_share > 0.27 else "c"
reveal("frozen_share", nearest, share=frozen_share, numbers=numbers["policy"])

# %% [markdown]
# This is why many newer methods have no value model (RLOO of chapter 3, and GRPO), and why chapter 6 needs no
# reward model either.
#
# ## A rollout
#
# PPO learns from what the policy itself says. A **rollout** is a batch of answers, with everything that is needed
# about them later. The questions are those of chapter 4's comparisons, about facts: the reward model has learned to
# judge answers to these. There is also the **true utility**. The reward model is an imperfect copy of it, learned
# from comparisons. We measure the true utility, but nothing is trained on it.

# %% tags=["demo"]
NEW = 32  # tokens an answer may have
learned_on, heldout = (rollouts.questions_about_facts(split) for split in ("train", "heldout"))
print(f"{len(set(learned_on))} questions to learn on, {len(set(heldout))} are kept back")

torch.manual_seed(device.seed(0))
questions = random.Random(device.seed(0)).sample(sorted(set(heldout)), 8)
rollout = rollouts.draw(policy, questions, NEW)
judged = {
    "asked": questions,
    "answered": rollouts.texts(rollout),
    "score": rollouts.scores(reward_model, rollout).tolist(),
    "true utility": rollouts.utilities(questions, rollout).tolist(),
}
plots.show_table([dict(zip(judged, row)) for row in zip(*judged.values())])

# %% [markdown]
# ## Exercise 1: a reward for every token
#
# What is to be maximised is the score *minus* $\beta$ times the KL to the reference (chapter 3). The log-ratio of an
# answer is a sum over its tokens. So each token can pay its own share at once:
#
# $$ r_t = -\beta\,\big(\log p_\theta(y_t) - \log p_0(y_t)\big) + [\,t \text{ is the last token}\,]\; \text{score}. $$
#
# Here it is for one answer. At the start the policy *is* the reference, and nothing would be paid. So we take another
# policy, $p_0$ made sharper (its logits times 1.5), and ask how likely each token is under it. The answer itself was
# drawn from $p_0$. Take care: the last token is the last one of the *answer*, not of the padded row.

# %% tags=["demo"]
longest = rollout["mask"].sum(1).argmax().item()  # the longest answer
row = {name: tensor[longest : longest + 1] for name, tensor in rollout.items()}
with torch.no_grad():
    logits = rollouts.answer_logits(reference, row)  # (1, new, vocab)
ref_logps = rollouts.token_logps(logits, row["tokens"])
sharper_logps = rollouts.token_logps(1.5 * logits, row["tokens"])
said = rollouts.words(row, 0)
log_ratios = (sharper_logps - ref_logps)[0, : len(said)].tolist()
row_score = rollouts.scores(reward_model, row).item()
drawings.payments(said, log_ratios, row_score, beta=0.1)


# %% nbgrader={"grade": false, "grade_id": "token_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def token_rewards(
    scores: torch.Tensor, logps: torch.Tensor, ref_logps: torch.Tensor, mask: torch.Tensor,
    beta: float,
) -> torch.Tensor:  # fmt: skip
    """The reward of every token, (batch, seq): its share of the KL penalty, and the score.

    scores: (batch,), the reward model's opinion of each whole answer. logps, ref_logps:
    (batch, seq), log-probabilities of the answers' tokens under policy and reference. mask:
    (batch, seq), integers 0 and 1; the 1s are the tokens of the answer, at least one, from the
    first place of its row on. On padding logps and ref_logps mean nothing and may be anything,
    -inf and NaN too; the reward there is 0. No gradient flows from the rewards to any
    argument.
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
# What does the sum of a row of the mask tell you about the place of the last token? How do you pick one entry from
# each row of a tensor, each at a place of its own?
# </details>
# <details><summary><b>Hint 2</b>: padding</summary>
#
# What is `0 * nan`? If that is not what you want, look for a function that *replaces* entries (`masked_fill`).
# </details>
#
# ## Exercise 2: generalised advantage estimation
#
# An answer gets one score. Which of its tokens earned it? The value model helps. If its expectation changes after a
# token, that token mattered. The change, together with the reward of the token, is the **TD error** (TD: temporal
# difference)
#
# $$ \delta_t = r_t + \gamma V_{t+1} - V_t, $$
#
# where $V_t$ is the value before token $t$; a $\gamma$ below 1 makes later rewards count less (in this chapter's runs
# it is 1). If the value model is good, $\delta_t$ alone is a good advantage. If it is bad, it is better to count the
# rewards that really come. GAE (Schulman et al. 2015) lies between the two. It adds up the TD errors from token $t$
# on, with the weights 1, $\gamma\lambda$, $(\gamma\lambda)^2$ and so on:
#
# $$ A_t = \delta_t + \gamma\lambda\,\delta_{t+1} + (\gamma\lambda)^2\,\delta_{t+2} + \dots
#        = \delta_t + \gamma\lambda\, A_{t+1}. $$
#
# For example, let $\gamma\lambda = 0.5$, and let the TD errors of three tokens be 0.2, −0.1 and 0.4. From the end:
# $A_3 = 0.4$, $A_2 = -0.1 + 0.5 \cdot 0.4 = 0.1$, $A_1 = 0.2 + 0.5 \cdot 0.1 = 0.25$.
#
# After the last token of an answer there is nothing: $V = 0$ and $A = 0$. What the value model says on the padding
# behind it means nothing.
#
# The next cell draws the TD errors of the answer from above. For $V_t$ it takes the score that the answer would have
# if it had stopped there.

# %% tags=["demo"]
guessed = rollouts.scores_on_the_way(reward_model, row, 0).tolist()  # before each token
paid = [-0.1 * ratio for ratio in log_ratios]
paid[-1] += row_score
drawings.credit(said, paid, guessed, gamma=1.0, lam=0.8, place=len(said) // 3)


# %% nbgrader={"grade": false, "grade_id": "gae", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> torch.Tensor:
    """The advantage of every token by generalised advantage estimation, (batch, seq).

    rewards, values: (batch, seq); values[:, t] is what the value model expected *before* token
    t was chosen. mask: (batch, seq) of 0 and 1; the 1s are the tokens of the answer, at least
    one, from the first place of its row on. An answer is an episode that ends with its last
    token: the value after it is 0. On padding rewards and values mean nothing and may be
    anything, NaN too; the advantage there is 0. The arguments are not changed.
    """
    ### BEGIN SOLUTION
    rewards, values = (x.masked_fill(mask == 0, 0.0) for x in (rewards, values))
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])  # (batch,): after the end
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
# From which end of the row must the recursion start? If rewards and values were 0 on the padding, what would it carry
# from there into the answer?
# </details>
# <details><summary><b>Hint 2</b>: the loop</summary>
#
# Going backwards, you need two numbers for each row from the column that you visited before. Which two? And when may
# you overwrite them?
# </details>
#
# What does $\lambda$ do? Here is a made-up answer of twelve tokens: a score at the end, and a value model whose
# expectation rises after the sixth token. Move the sliders. Which tokens get the credit? What happens if the score is
# lower than expected?

# %% tags=["demo"]
widgets.credit_explorer(torch.zeros(12), torch.tensor([0.2] * 6 + [0.8] * 6), gae)

# %% [markdown]
# Now a world in which the right advantages are known. An answer has twelve tokens, and each is a toss of a coin: it
# adds 1 to the score or subtracts 1. The score is given at the end. So the right advantage of a token is +1 or −1.
#
# **Predict.** The value model is exact: before each token it knows what the tokens so far are worth. With which
# $\lambda$ do the advantages have the least noise?
#
# - **a** With $\lambda = 0$.
# - **b** With some $\lambda$ in the middle: a mixture is better than both ends.
# - **c** With $\lambda = 1$: it uses everything that came later.

# %% tags=["demo"]
predict("lambda_noise", "")

# %% tags=["demo"]
coins = torch.Generator().manual_seed(device.seed(6))
tosses = torch.randint(0, 2, (4000, 12), generator=coins) * 2.0 - 1  # +1 or -1 for each token
rewards = torch.zeros_like(tosses)
rewards[:, -1] = tosses.sum(1)
exact = tosses.cumsum(1) - tosses  # (answers, tokens): the sum of the tosses before each
everywhere = torch.ones_like(tosses, dtype=torch.long)
LAMBDAS = [i / 10 for i in range(11)]


def credit_and_noise(values: torch.Tensor, lam: float) -> tuple[float, float]:
    """What a token that adds 1 is credited with, and how the advantages scatter about it."""
    advantages = gae(rewards, values, everywhere, 1.0, lam)
    credit = (advantages * tosses).mean(0)  # (tokens,): 1 is right
    return credit.mean().item(), (advantages - credit * tosses).std().item()


judges = {"exact": exact, "always 0": torch.zeros_like(exact)}
coin_world = {
    name: [credit_and_noise(values, lam) for lam in LAMBDAS] for name, values in judges.items()
}

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharex=True)
for (name, pairs), color in zip(coin_world.items(), (plots.BLUE, plots.ORANGE)):
    for ax, numbers_of in zip(axes, zip(*pairs)):
        ax.plot(LAMBDAS, numbers_of, color=color, label=f"value model: {name}")
axes[0].set(xlabel="λ", title="Credit of a token that adds 1", ylim=(0, 1.1))
axes[1].set(xlabel="λ", title="Noise of the advantages")
axes[1].legend()
plt.show()
noise = [scatter for _, scatter in coin_world["exact"]]
least = LAMBDAS[noise.index(min(noise))]
came = "a" if least == 0 else "c" if least == 1 else "b"
blind = [credit for credit, _ in coin_world["always 0"]]
reveal("lambda_noise", came, best=least, noise=noise, blind=blind)

# %% [markdown]
# ## Exercise 3: whitening under a mask
#
# The size of the advantages depends on the scale of the reward model. To use the same learning rate for any scale,
# they are **whitened**: shifted to mean 0 and divided by their standard deviation, over all answer tokens of the
# batch. (Rewards are sometimes only divided, and keep their mean.)


# %% nbgrader={"grade": false, "grade_id": "masked_whiten", "locked": false, "schema_version": 3, "solution": true, "task": false}
def masked_whiten(
    values: torch.Tensor, mask: torch.Tensor, shift_mean: bool = True
) -> torch.Tensor:
    """(values - mean) / sqrt(variance + 1e-8) where the mask is 1, and 0 where it is 0.

    values, mask: (batch, seq). Mean and variance are those of all n entries of the batch whose
    mask is 1; the variance is their mean squared distance from the mean (divided by n, not by
    n - 1). shift_mean=False: the mean is added back at the end. Where the mask is 0, values
    mean nothing and may be anything, infinite and NaN too.
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
# How would you do it for a plain vector? Which indexing makes a vector of the entries that count? By which number does
# torch's `var` divide, if you say nothing?
# </details>
#
# ## Exercise 4: what each model learns from
#
# The policy learns from the whitened advantages. The value model learns to predict the **returns**: advantages plus
# values, in the scale of the rewards. Take care which advantages you add.


# %% nbgrader={"grade": false, "grade_id": "advantages_and_returns", "locked": false, "schema_version": 3, "solution": true, "task": false}
def advantages_and_returns(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the policy learns from, and what the value model learns from, each (batch, seq).

    First the advantages, whitened with the mean shifted to 0. Second the returns, in the scale
    of the rewards. Both are 0 on padding. All arguments are as for `gae`.
    """
    ### BEGIN SOLUTION
    advantages = gae(rewards, values, mask, gamma, lam)
    returns = (advantages + values).masked_fill(mask == 0, 0.0)
    return masked_whiten(advantages, mask), returns
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "advantages_and_returns_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("advantages_and_returns", advantages_and_returns)

# %% [markdown]
# ## Exercise 5: the clipped objective
#
# Drawing answers takes time, so we want to take several gradient steps on the same answers. But from the second step
# on the answers come from an older policy. The ratio $\rho_t = p_\theta(y_t) / p_{\text{old}}(y_t)$ corrects for
# that, as long as it stays near 1. Where it leaves a range around 1, PPO can stop the gradient. Its objective for one
# token, which is made large, is
#
# $$ \min\big(\rho_t A_t,\ \text{clip}(\rho_t,\, 1 - \varepsilon,\, 1 + \varepsilon)\, A_t\big). $$
#
# There are four cases: $A_t$ is positive or negative, and the ratio has left the range upwards or downwards. In two of
# them the token has gone far enough in the right direction, and its gradient is 0. In the other two it has gone in the
# *wrong* direction. Which two? What should happen there? The check has a case for each of the four.


# %% nbgrader={"grade": false, "grade_id": "clipped_policy_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def clipped_policy_loss(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor,
    clip_range: float,
) -> torch.Tensor:  # fmt: skip
    """Minus the mean of PPO's clipped objective over all answer tokens of the batch, a scalar.

    logps, old_logps: (batch, seq), log-probabilities of the tokens now and when they were
    drawn. advantages: (batch, seq). mask: (batch, seq) of 0 and 1, 1 on the answers' tokens.
    What stands on padding is finite and means nothing: old and new may be a hundred nats apart
    there, and loss and gradients are finite all the same. clip_range is the epsilon of the
    formula. Gradients flow through logps, and not through old_logps, even where that tensor
    would let them.
    """
    ### BEGIN SOLUTION
    log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0)  # before exp
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
# Which two products does the formula compare? For a bad token, which of them is smaller when the ratio is 1.5? Which
# tensor must be a constant? And where could `exp` overflow?
# </details>
#
# The objective against the ratio, drawn with your own function (dashed: without the clip). Where the line is flat,
# there is no gradient.

# %% tags=["demo"]
one, zero = torch.ones(1, 1), torch.zeros(1, 1)


def objective(ratio: float, advantage: float) -> float:
    """Your objective for a single token."""
    return -clipped_policy_loss(math.log(ratio) * one, zero, advantage * one, one, 0.2).item()


drawings.clip(objective, 0.2)

# %% [markdown]
# ## Exercise 6: how much the clip stops
#
# People watch this number while PPO runs. Near 0, the policy hardly moves on a batch, and more steps would be
# possible. Near 1, most of the batch has no effect any more. The docstring says *what* to count. You decide *how* to
# find those tokens.


# %% nbgrader={"grade": false, "grade_id": "clip_fraction", "locked": false, "schema_version": 3, "solution": true, "task": false}
def clip_fraction(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor,
    clip_range: float,
) -> torch.Tensor:  # fmt: skip
    """The share of the batch's answer tokens whose gradient the clip removes, from 0 to 1.

    These are the tokens that have a gradient in the unclipped objective, and none in the
    clipped one. A token exactly on the bound of the range is not stopped. The arguments are
    those of `clipped_policy_loss`.
    """
    ### BEGIN SOLUTION
    ratio = (logps - old_logps).exp()
    good, bad = advantages > 0, advantages < 0
    stopped = (good & (ratio > 1 + clip_range)) | (bad & (ratio < 1 - clip_range))
    return (stopped * mask).sum() / mask.sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "clip_fraction_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("clip_fraction", clip_fraction)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Look at the drawing: on which side of the range is a good token stopped, and on which a bad one? What is special about
# a token with A = 0?
# </details>
#
# Is this what people train with? `trl` has no trainer for PPO any more, but its GRPO trainer minimises the same clipped
# objective. We give it the answers from above, made-up advantages, and log-probabilities that have moved.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(device.seed(0))
shape = rollout["tokens"].shape
moved, made_up = (torch.randn(shape, generator=generator).to(DEVICE) for _ in range(2))
with torch.no_grad():
    logps = rollouts.token_logps(rollouts.answer_logits(reference, rollout), rollout["tokens"])
old_logps = logps - 0.3 * moved
ours = clipped_policy_loss(logps, old_logps, made_up, rollout["mask"], 0.2).item()
theirs = rollouts.policy_loss_of_trl(reference, rollout, old_logps, made_up, 0.2)
trl_difference = abs(ours - theirs)
print(f"yours {ours:.6f}   trl {theirs:.6f}   difference {trl_difference:.1e}")

# %% [markdown]
# ## Exercise 7: the loss of the value model
#
# It is a squared error, with its own clip: the value should stay within a range around the old value. There are two
# errors, that of the value and that of the clipped value, and the *larger* counts. (It is disputed whether this
# helps. It was part of most PPO programs, see Huang et al. 2024.)


# %% nbgrader={"grade": false, "grade_id": "value_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor,
    clip_range: float,
) -> torch.Tensor:  # fmt: skip
    """Half the mean over the batch's answer tokens of the *larger* of two squared errors.

    One is that of the values. The other is that of the values clipped to within clip_range of
    the old ones, on either side. All are (batch, seq); mask is 1 on the answers' tokens, 0 on
    padding, where the rest is finite and means nothing. Returns a scalar through which
    gradients flow to values.
    """
    ### BEGIN SOLUTION
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    errors = (values - returns).square(), (clipped - returns).square()  # (batch, seq) each
    return 0.5 * (torch.maximum(*errors) * mask).sum() / mask.sum()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "value_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("value_loss", value_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What is clipped is a *distance*: from what? Which of the two errors counts is decided token by token.
# </details>
#
# ## Exercise 8: the training loop
#
# Now put the pieces together: from a batch of judged answers to the steps of the optimizer. Think about three things
# before you write. What is computed once for the batch, and what anew for each step? Which numbers are constants? Over
# which rows is the mean taken when the advantages are whitened?


# %% nbgrader={"grade": false, "grade_id": "ppo_update", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ppo_update(
    evaluate, batch: dict[str, torch.Tensor], minibatches: list[torch.Tensor], optimizer, *,
    beta: float, gamma: float, lam: float, clip_range: float, value_clip: float,
    value_coef: float, epochs: int, max_norm: float = 1.0,
) -> tuple[list[float], list[float]]:  # fmt: skip
    """Learn from one batch of judged answers. Returns two lists with a number for each step.

    batch: what was noted when the answers were drawn: "scores" (rows,), and "logps",
    "ref_logps", "values", "mask", each (rows, seq). There may be more in it.
    minibatches: 1-d tensors of row numbers. Each is one gradient step; the list is gone
    through, in its order, `epochs` times.
    evaluate(rows) gives the present (logps, values) of these rows, each (len(rows), seq),
    with gradients.

    Rewards, whitened advantages and returns are those of the whole batch as it was drawn. A
    step minimises clipped_policy_loss (with clip_range) plus value_coef times value_loss (with
    value_clip) over the rows of its minibatch. The norm of the gradient of all parameters in
    the optimizer together is clipped to max_norm.
    Returned are, both from before each step: the loss that it minimised, and the clip fraction
    of its rows.
    """
    ### BEGIN SOLUTION
    given = (batch[name] for name in ("scores", "logps", "ref_logps", "mask"))
    rewards = token_rewards(*given, beta)  # (rows, seq)
    advantages, returns = advantages_and_returns(
        rewards, batch["values"], batch["mask"], gamma, lam
    )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    losses, stopped = [], []
    for rows in list(minibatches) * epochs:
        logps, values = evaluate(rows)
        old_logps, old_values, mask = (batch[k][rows] for k in ("logps", "values", "mask"))
        policy_part = logps, old_logps, advantages[rows], mask, clip_range
        value_part = values, old_values, returns[rows], mask, value_clip
        loss = clipped_policy_loss(*policy_part) + value_coef * value_loss(*value_part)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        losses.append(loss.item())
        stopped.append(float(clip_fraction(*policy_part)))
    return losses, stopped
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "ppo_update_check", "locked": true, "points": 12, "schema_version": 3, "solution": false, "task": false}
check("ppo_update", ppo_update)

# %% [markdown]
# <details><summary><b>Hint 1</b>: before the loop</summary>
#
# Rewards, advantages and returns come from your earlier functions, and belong to the whole batch. Do any of them change
# when the policy takes a step?
# </details>
# <details><summary><b>Hint 2</b>: one step</summary>
#
# The loop over minibatches is that of chapter 2: forward, loss, `zero_grad`, `backward`, clip the norm, `step`. Which
# rows of the old numbers belong to the minibatch? Where are all parameters of the optimizer (`param_groups`)?
# </details>
#
# ## The whole loop
#
# What is left is the outer loop: draw answers, let the models judge them, and call your `ppo_update`.

# %% tags=["demo"]
PROMPTS, ANSWERS = 16 * DOSE, 4  # 64 answers an update, 4 to each question
BETA, LR, VALUE_LR = 0.1, 4e-4, 1e-3
PPO = dict(gamma=1.0, lam=0.95, clip_range=0.2, value_clip=1.0, value_coef=0.5, epochs=2)


@torch.no_grad()
def collect(policy, questions: list[str]) -> dict[str, torch.Tensor]:
    """Answers of the policy, and what policy, reference and reward model say of them."""
    batch = rollouts.draw(policy, questions, NEW)
    logits = rollouts.answer_logits(policy, batch)
    batch["logps"] = rollouts.token_logps(logits, batch["tokens"])
    batch["entropy"] = rollouts.entropies(logits)
    ref_logits = rollouts.answer_logits(reference, batch)
    batch["ref_logps"] = rollouts.token_logps(ref_logits, batch["tokens"])
    batch["scores"] = rollouts.scores(reward_model, batch)
    return batch


# %% tags=["demo"]
UPDATES = device.at_most(32, least=2)


def train_ppo(seed: int, beta: float, lr=LR, updates=UPDATES, count=PROMPTS, parts=2) -> tuple:
    """PPO from the SFT model: `count` questions an update, `parts` minibatches.

    Returns the policy, and what was measured of every batch before it was learned from.
    """
    torch.manual_seed(device.seed(seed))
    rng, history = random.Random(device.seed(seed)), []
    policy = copy.deepcopy(reference).requires_grad_()
    value_model = rollouts.new_value_model(reference)
    learning = [{"params": policy.parameters(), "lr": lr}]
    learning += [{"params": value_model.parameters(), "lr": VALUE_LR}]
    optimizer = torch.optim.AdamW(learning, weight_decay=0.0)
    for _ in tqdm(range(updates), desc=f"PPO, β = {beta}, seed {seed}", mininterval=1):
        questions = rollouts.draw_questions(rng, learned_on, count, ANSWERS)
        batch = collect(policy, questions)
        with torch.no_grad():
            batch["values"] = rollouts.token_values(value_model, batch)
        minibatches = [rows.to(DEVICE) for rows in torch.randperm(len(questions)).chunk(parts)]
        evaluate = rollouts.reader(policy, value_model, batch)
        _, stopped = ppo_update(evaluate, batch, minibatches, optimizer, beta=beta, **PPO)
        history.append(rollouts.summary(questions, batch) | {"stopped": stopped})
    return policy, history


# %% [markdown]
# First we break it. A usual mistake is to use the *present* log-probabilities as the old ones, computed again before
# each step. We take many steps on the same batch, once correctly and once with the mistake. There is no KL term, so
# only the clip limits the policy.

# %% tags=["demo"]
def many_steps(broken: bool, steps: int = 16) -> dict[str, float]:
    """How far the policy goes from the one that drew, and how much is stopped at the end."""
    torch.manual_seed(device.seed(7))
    policy = copy.deepcopy(reference).requires_grad_()
    value_model = rollouts.new_value_model(reference)
    learning = [*policy.parameters(), *value_model.parameters()]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    rng = random.Random(device.seed(7))
    batch = collect(policy, rollouts.draw_questions(rng, learned_on, 8, ANSWERS))
    evaluate = rollouts.reader(policy, value_model, batch)
    drawn, rows = batch["logps"], torch.arange(8 * ANSWERS, device=DEVICE)
    once = PPO | {"epochs": 1}
    for _ in range(steps):
        now, values = (numbers.detach() for numbers in evaluate(rows))
        batch |= {"logps": now if broken else drawn, "values": values}
        _, stopped = ppo_update(evaluate, batch, [rows], optimizer, beta=0.0, **once)
    gone = ((drawn - now) * batch["mask"]).sum(1).mean().item()  # an estimate of KL(old || now)
    return {"nats from the old policy": gone, "stopped in the last step": stopped[-1]}


broken_steps = {name: many_steps(name != "right") for name in ("right", "old log-probs anew")}
plots.show_table([{"": name} | found for name, found in broken_steps.items()])

# %% [markdown]
# With the broken version the ratio is always 1. The clip never acts, there is no error message, and the policy moves
# far away from the one that drew the answers.
#
# Now the real loop. What is maximised is the score minus $\beta$ times the KL, so we try three learning rates with one
# seed, keep the one for which this number is highest at the end, and run two more seeds with it.
#
# **Predict.** Every batch is learned from in four steps: two halves, each of them twice. In which of the four steps does
# the clip stop the largest share of the tokens?
#
# - **a** In the first: there is most to learn.
# - **b** In all four about the same.
# - **c** In the third or fourth.

# %% tags=["demo"]
predict("when_it_clips", "")

# %% tags=["demo"]
SEEDS = range(device.at_most(3))


def maximised(history: list[dict], last: int = 8) -> float:
    """Score minus β KL, the mean of the last updates."""
    return sum(p["score"] - BETA * p["kl"] for p in history[-last:]) / len(history[-last:])


def tuned(train, rates: tuple[float, ...]) -> tuple[float, dict[float, float], list[tuple]]:
    """The best rate with the first seed; what each reached; all seeds with the best."""
    tried = {lr: train(SEEDS[0], BETA, lr) for lr in rates}
    reached = {lr: maximised(history) for lr, (_, history) in tried.items()}
    best = max(reached, key=reached.get)
    return best, reached, [tried[best], *(train(seed, BETA, best) for seed in SEEDS[1:])]


ppo_lr, ppo_reached, ppo = tuned(train_ppo, (LR / 2, LR, 2 * LR))
print({lr: round(number, 2) for lr, number in ppo_reached.items()})

# %% tags=["demo"]
panels = {
    "score": "score (learned reward)",
    "utility": "true utility",
    "kl": "KL to the reference, nats",
    "entropy": "entropy of the next token, nats",
    "length": "tokens an answer",
}
fig, axes = plt.subplots(2, 3, figsize=(10.5, 5.2))
for ax, (name, title) in zip(axes.flat, panels.items()):
    plots.band(ax, [history for _, history in ppo], name, plots.BLUE)
    ax.set(title=title, xlabel="update")
by_step = torch.tensor([p["stopped"] for _, history in ppo for p in history]).mean(0).tolist()
axes[1, 2].bar(range(1, 5), by_step, color=plots.BLUE, width=0.6)
axes[1, 2].set(title="share stopped by the clip", xlabel="step on a batch", xticks=range(1, 5))
plt.show()
late = max(by_step[2:])
came = "a" if by_step[0] >= late else "c" if late > 1.2 * max(by_step[:2]) else "b"
reveal("when_it_clips", came, shares=", ".join(f"{share:.1%}" for share in by_step))

# %% tags=["demo"]
def examine(policy, answers: int = 256) -> dict[str, float]:
    """The summary of answers to held-out questions."""
    torch.manual_seed(device.seed(0))
    asked = random.Random(device.seed(0)).choices(heldout, k=answers)
    return rollouts.summary(asked, collect(policy, asked))


before, ppo_after = examine(reference), [examine(trained) for trained, _ in ppo]
columns = ("score", "utility", "kl", "entropy", "length")
rows = [("before", before), *((f"PPO, seed {s}", after) for s, after in zip(SEEDS, ppo_after))]
plots.show_table([{"held-out": name} | {c: found[c] for c in columns} for name, found in rows])

torch.manual_seed(device.seed(1))
asked = random.Random(device.seed(1)).sample(sorted(set(heldout)), 6)
first, after = (rollouts.texts(rollouts.draw(m, asked, NEW)) for m in (reference, ppo[0][0]))
read = zip(asked, first, after)
plots.show_table([dict(zip(("asked", "before", "after PPO"), row)) for row in read])

# %% [markdown]
# People look at such panels during a run, except for the second one: outside of a made-up world the true utility is
# not known. (Lines are medians of the seeds; bands go from the lowest to the highest. Each update asks other questions,
# and a score has an unknown constant for each, as chapter 4 says, so its curve has some noise of that kind. In the table
# all policies answer the same questions.)
#
# ## Is it worth the trouble?
#
# Chapter 3's REINFORCE needs no value model, no clip and no second step. The next cells run it, with your
# leave-one-out baseline. The reward is that of the whole answer, with the same KL term. It draws as many answers as
# PPO, to the same questions, and is tuned in the same way: three learning rates, one of which is kept.

# %% tags=["demo"]
leave_one_out = earlier("leave_one_out_advantages", methods.leave_one_out_advantages)


def train_reinforce(seed: int, beta: float, lr: float) -> tuple:
    """REINFORCE with a leave-one-out baseline: one gradient step for each batch of answers."""
    torch.manual_seed(device.seed(seed))
    rng, history = random.Random(device.seed(seed)), []
    policy = copy.deepcopy(reference).requires_grad_()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=lr, weight_decay=0.0)
    for _ in tqdm(range(UPDATES), desc=f"REINFORCE, seed {seed}", mininterval=1):
        questions = rollouts.draw_questions(rng, learned_on, PROMPTS, ANSWERS)
        batch = collect(policy, questions)
        parts = (batch[name] for name in ("scores", "logps", "ref_logps", "mask"))
        rewards = token_rewards(*parts, beta).sum(1)  # (answers,)
        advantages = leave_one_out(rewards.view(-1, ANSWERS)).view(-1, 1)
        logps = rollouts.token_logps(rollouts.answer_logits(policy, batch), batch["tokens"])
        loss = -(logps * advantages * batch["mask"]).sum() / len(questions)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        history.append(rollouts.summary(questions, batch))
    return policy, history


# %% tags=["demo"]
reinforce_lr, reinforce_reached, reinforce = tuned(train_reinforce, (2.5e-4, 5e-4, 1e-3))
reinforce_after = [examine(trained) for trained, _ in reinforce]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2))
for ax, name in zip(axes, ("utility", "kl")):
    plots.band(ax, [history for _, history in ppo], name, plots.BLUE, "PPO")
    plots.band(ax, [history for _, history in reinforce], name, plots.ORANGE, "REINFORCE")
    ax.set(xlabel="update", title=panels[name])
    ax.legend()
plt.show()

# %% tags=["demo"]
compared = {}
ends = {"PPO": (ppo_lr, ppo_after), "REINFORCE": (reinforce_lr, reinforce_after)}
for name, (lr, found) in ends.items():
    utilities = [after["utility"] for after in found]
    compared[name] = {
        "learning rate": f"{lr:g}",
        "score − β KL": median(after["score"] - BETA * after["kl"] for after in found),
        "KL": median(after["kl"] for after in found),
        "true utility": median(utilities), "lowest": min(utilities), "highest": max(utilities),
    }  # fmt: skip
plots.show_table([{"held-out, median of the seeds": name} | c for name, c in compared.items()])
low, high = sorted(compared, key=lambda name: compared[name]["true utility"])
apart = compared[high]["lowest"] > compared[low]["highest"]
print(f"In this run {high} has the higher median utility, and the seeds of the two "
      f"{'do not overlap' if apart else 'overlap: no winner can be named'}.")  # fmt: skip

# %% [markdown]
# This comparison has three learning rates and a few seeds each, in one small world: do not conclude too much from it.
# In general we can only say what each method costs. On the same answers PPO takes four steps where REINFORCE takes
# one, and trains a second model. Where drawing the answers costs most, this matters little.
#
# ## Without the KL penalty
#
# The score is a copy of what we want, learned from pairs of ordinary answers. What happens if we trust it without
# limit? With $\beta = 0$ nothing keeps the policy near the reference. There are more updates now, and five seeds,
# because one run may be chance. To save time, each update draws half as many answers, and learns from them in
# quarters instead of halves. (In the figure the line is the median, and the band holds the middle three.)
#
# **Predict.** Over these updates, what do score and true utility do?
#
# - **a** Both rise, and then stay level.
# - **b** Without the penalty training becomes unstable, and both fall.
# - **c** The score rises. The utility rises at first, and falls later.

# %% tags=["demo"]
predict("without_kl", "")

# %% tags=["demo"]
FAR_SEEDS = range(device.at_most(5))
FAR = {"lr": LR, "updates": device.at_most(80, least=4), "count": PROMPTS // 2, "parts": 4}
hacked_policies, hacked = [], []
for seed in FAR_SEEDS:
    trained, history = train_ppo(seed, 0.0, **FAR)
    hacked_policies.append(trained)
    hacked.append(rollouts.smooth(history, ("score", "utility", "kl")))

fig, axes = plt.subplots(1, 2, figsize=(9, 3.2))
for ax, name, color in zip(axes, ("score", "utility"), (plots.ORANGE, plots.BLUE)):
    plots.band(ax, hacked, name, color, spare=1)
    ax.set(xlabel="update", title=f"{panels[name]}, β = 0")
plt.show()

# %% tags=["demo"]
# Two places of each run: where the true utility is best, and where the score is.
def best_places(run: list[dict]) -> dict[str, float]:
    """Score, true utility and KL of a run where the utility is best, and where the score is."""
    top, last = max(run, key=itemgetter("utility")), max(run, key=itemgetter("score"))
    return {
        "best utility": top["utility"], "its score": top["score"], "its KL": top["kl"],
        "best score": last["score"], "utility there": last["utility"], "KL there": last["kl"],
    }  # fmt: skip


places = [best_places(run) for run in hacked]
middle = {name: median(place[name] for place in places) for name in places[0]}
plots.show_table([{"seed": s} | p for s, p in zip((*FAR_SEEDS, "median"), (*places, middle))])
turned = sum(place["utility there"] < place["best utility"] - 0.5 for place in places)
print(f"{turned} seeds of {len(places)} turn down: where the score is best, the true utility")
print("is more than 0.5 below its best.")
rises = middle["best score"] > middle["its score"]
came = "c" if turned > len(places) / 2 and rises else "a" if rises else "b"
reveal("without_kl", came, turned=turned, runs=len(places), middle=middle)

# %% [markdown]
# Where the utility of a run has turned down, the optimisation worked as it should: it found answers that the reward
# model judges wrongly. It finds them by chance, so each seed turns at another time, and some may not have turned yet.
#
# What do the policies say in the end? Every run finds its own way. One that is often seen is to state a fact that is
# *true, but about something else*. Another is a *much too long* answer: such answers were rare in chapter 4's comparisons. The
# second table counts. (A "courtesy too many" is one beyond the first at the beginning or at the end.)

# %% tags=["demo"]
torch.manual_seed(device.seed(2))
rows, few = [], asked[:3]
for seed, trained in zip(FAR_SEEDS, hacked_policies):
    batch = rollouts.draw(trained, few, NEW)
    scores, utilities = rollouts.scores(reward_model, batch), rollouts.utilities(few, batch)
    said = zip(few, rollouts.texts(batch), scores.tolist(), utilities.tolist())
    rows += [(seed, *row) for row in said]
names = ("seed", "asked", "answered", "score", "true utility")
plots.show_table([dict(zip(names, row)) for row in rows])

# %% tags=["demo"]
said_by = {"before": reference, f"PPO, β = {BETA}": ppo[0][0]}
said_by |= {f"β = 0, seed {seed}": trained for seed, trained in zip(FAR_SEEDS, hacked_policies)}
kinds, many = {}, random.Random(device.seed(4)).choices(heldout, k=256)
for name, model in said_by.items():
    torch.manual_seed(device.seed(4))
    said = rollouts.texts(rollouts.draw(model, many, NEW))
    kinds[name] = rollouts.kinds_of_answers(many, said)
plots.show_table([{"answers of": name} | shares for name, shares in kinds.items()])

# %% [markdown]
# This is called *reward hacking*; in economics it is known as Goodhart's law. Gao et al. (2022) drew the true reward
# against the distance from the reference. We do the same. We add two runs with other $\beta$, one seed each, with the
# same learning rate and as many updates.
#
# And we add the simplest way to use a reward, **best-of-n**: draw $n$ answers from the reference and keep the one
# with the best score. Its KL is at most $\log n - (n-1)/n$, and can be less (chapter 4). So we measure it, with
# chapter 4's `best_of_n_probs`, on many answers to each of a few questions.
#
# **Predict.** Compare best of 32 with PPO *at the same KL*. The true utility of best-of-n is
#
# - **a** lower: PPO has been trained for it;
# - **b** about the same (within 0.2): both follow the same score;
# - **c** higher.

# %% tags=["demo"]
predict("best_of_n_or_ppo", "")

# %% tags=["demo"]
other_runs = {}
for beta in (BETA, BETA / 5):
    _, history = train_ppo(0, beta, **FAR)
    other_runs[beta] = rollouts.smooth(history, ("score", "utility", "kl"))

# %% tags=["demo"]
best_of_n_probs = earlier("best_of_n_probs", methods.best_of_n_probs)
BEST_OF, DRAWN = (1, 2, 4, 8, 16, 32), 256
torch.manual_seed(device.seed(3))
best_kl, best_utility = torch.zeros(len(BEST_OF)), torch.zeros(len(BEST_OF))
few = random.Random(device.seed(3)).sample(sorted(set(heldout)), 16)
for question in few:
    batch = rollouts.draw(reference, [question] * DRAWN, NEW)
    texts = rollouts.texts(batch)
    counts = Counter(texts)
    at = [texts.index(text) for text in counts]  # one place of each different answer
    scores = rollouts.scores(reward_model, batch).cpu()[at]
    worth = rollouts.utilities([question] * DRAWN, batch)[at].double()
    probs = torch.tensor([counts[text] / DRAWN for text in counts], dtype=torch.float64)
    for i, n in enumerate(BEST_OF):
        best = best_of_n_probs(probs, scores, n)  # (different answers,)
        best_kl[i] += torch.special.xlogy(best, best / probs).sum() / len(few)
        best_utility[i] += (best * worth).sum() / len(few)
best_kl, best_utility = best_kl.tolist(), best_utility.tolist()

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(8, 4))
lines = [("_" if i else "β = 0, five seeds", run) for i, run in enumerate(hacked)]
lines += [(f"β = {beta:g}", run) for beta, run in other_runs.items()]
colors = [plots.VERMILION] * len(hacked) + [plots.BLUE, plots.ORANGE]
for (label, run), color in zip(lines, colors):
    far = [(p["kl"], p["utility"]) for p in run if p["kl"] > 0.1]
    ax.plot(*zip(*far), color, linewidth=1.2, label=label)
ax.plot(best_kl[1:], best_utility[1:], color=plots.GREY, marker="o", label="best of 2 to 32")
ax.set(xscale="log", xlabel=panels["kl"], ylabel="true utility", title="How far to go")
ax.xaxis.set_major_formatter("{x:g}")
ax.legend()
plt.show()
as_far = [next((p for p in run if p["kl"] >= best_kl[-1]), run[-1]) for _, run in lines]
ppo_there = median(p["utility"] for p in as_far)  # of seven runs
gap = best_utility[-1] - ppo_there
came = "c" if gap > 0.2 else "a" if gap < -0.2 else "b"
reveal("best_of_n_or_ppo", came, kl=best_kl[-1], best=best_utility[-1], ppo=ppo_there)

# %% [markdown]
# Best-of-n needs no training, and cannot go far: the best of a hundred answers is less than four nats away. But every
# answer then costs $n$ answers and $n$ scores. PPO has its cost once, in training, and has no such limit: $\beta$
# decides how far it goes. Without it a policy can pass its best place and go on. In practice this is hard to see,
# because only the score is known.
#
# ## Exercise 9: a reward one cannot trust (open)
#
# Your function receives, for some prompts, the log-probabilities of all answers under the reference, the scores of
# these answers by four reward models, and a limit for the KL. It returns the logits of a policy. Each reward model
# was fitted to other comparisons, so each makes other errors. Where they disagree, the scores are uncertain. Build a
# policy that has a high *true* utility and stays near the reference.
#
# How you do it is up to you. The check measures your policy's expected true utility, which your function does not
# see: how much it gains over the reference, as a share of the gain of the best policy *with the same KL*, made by
# someone who knows the true utility. There are four bars. If you use the mean score and the best $\beta$, you reach
# the lowest. The highest needs your own idea.


# %% nbgrader={"grade": false, "grade_id": "careful_policy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def careful_policy(
    ref_logps: torch.Tensor, scores: torch.Tensor, max_kl: float
) -> torch.Tensor:
    """Logits (prompts, answers) of a policy with a high true utility, near the reference.

    ref_logps: (prompts, answers), log-probabilities of all answers under the reference.
    scores: (models, prompts, answers). Each score is the answer's true utility plus noise. The
    noise is independent from model to model and has mean 0; it is larger for some answers than
    for others. No score is missing. max_kl: in nats. KL(policy || reference), averaged over
    the prompts, must not exceed it.
    """
    ### BEGIN SOLUTION
    mean, noise = scores.mean(0), scores.var(0) / len(scores)  # noise: the variance of the mean
    # Rare answers have noisier scores. Average the noise over answers that are about as rare.
    pooled = torch.empty_like(noise).flatten()
    for alike in ref_logps.flatten().argsort().chunk(16):
        pooled[alike] = noise.flatten()[alike].mean()
    noise = pooled.view_as(mean)  # (prompts, answers)
    # What one should believe: the mean score, drawn towards the level of its question.
    level = (mean / (1 + noise)).sum(1, keepdim=True) / (1 / (1 + noise)).sum(1, keepdim=True)
    sure = noise.square().reciprocal()
    spread = (((mean - level).square() - noise) * sure).sum() / sure.sum()  # of the utilities
    spread = spread.clamp(min=0.05)
    believed = level + (mean - level) * spread / (spread + noise)
    # The smallest beta that the budget allows, by bisection.
    low, high = -10.0, 10.0  # log beta
    for _ in range(60):
        beta = math.exp((low + high) / 2)
        logps = (ref_logps + believed / beta).log_softmax(-1)
        kl = (logps.exp() * (logps - ref_logps)).sum(-1).mean().item()
        low, high = ((low + high) / 2, high) if kl > max_kl else (low, (low + high) / 2)
    return ref_logps + believed / math.exp(high)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "careful_policy_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("careful_policy", careful_policy)

# %% [markdown]
# <details><summary><b>Where to think further</b></summary>
#
# - For a given reward, which policy is best at a given KL? (Chapter 3, the optimum.) How do you find the $\beta$ that
#   uses the whole budget? Must every question get the same share of it?
# - A high mean of four noisy scores: is the answer good, or was it lucky? What would you guess of the true utility?
# - Four numbers say little about their own noise. Do some answers have noisier scores than others? Could you see from
#   the inputs which?
# </details>
#
# ## What you measured

# %% tags=["demo"]
old_anew = broken_steps["old log-probs anew"]["stopped in the last step"]
gained = {name: found["true utility"] for name, found in compared.items()}
distances = [f"{run[-1]['kl']:.1f} with β = {beta:g}" for beta, run in other_runs.items()]
distances.append(f"{median(run[-1]['kl'] for run in hacked):.0f} with β = 0 (median)")
print(f"""In this run:
- The two frozen models take {frozen_share:.0%} of the memory.
- With an exact value model, the noise of the advantages is {noise[0]:.2f} at λ = 0,
  and {noise[-1]:.2f} at λ = 1.
- With the old log-probabilities taken anew, the clip stops {old_anew:.0%} of the tokens.
- True utility on held-out questions: {before["utility"]:.2f} before,
  {gained["PPO"]:.2f} after PPO, {gained["REINFORCE"]:.2f} after REINFORCE (medians).
- Without the KL, {turned} of {len(FAR_SEEDS)} seeds turn down. In the median the utility goes
  from {middle["best utility"]:.2f} to {middle["utility there"]:.2f}, and the score from \
{middle["its score"]:.2f} to {middle["best score"]:.2f}.
- After as many updates, the KL in nats is {", ".join(distances)}.
- Best of {BEST_OF[-1]} reaches a utility of {best_utility[-1]:.2f} at {best_kl[-1]:.2f} nats,
  PPO at that distance {ppo_there:.2f} (median of its runs).""")

# %% [markdown]
# ## Questions
#
# <details><summary>1. Why does the score stand on the last token, and not on every token?</summary>
#
# The reward model judged the whole answer once. If each token got the score, a long answer would collect it many times,
# and the policy would learn to be long. Which token *earned* the score is for the advantages to say.
# </details>
# <details><summary>2. At the first step on a batch every ratio is 1. Is there anything to learn then?</summary>
#
# Yes. The ratio is 1, but its gradient is that of log p. So the first step is that of REINFORCE with the same
# advantages. The clip can act only later.
# </details>
# <details><summary>3. The value model is removed, and V = 0 everywhere. Which λ would you take?</summary>
#
# λ = 1. With λ = 0 only the last token would get any credit for the score, as the coin world shows. With λ and γ both
# 1, each token gets the sum of the rewards from there on. Then another baseline is needed against the noise: chapter
# 3's leave-one-out.
# </details>
# <details><summary>4. Your score still rises after a week of training. What do you check before you trust it?</summary>
#
# The KL, the length of the answers, and the answers themselves; and a judge that the training has not seen: people,
# or another reward model, or a check that can be verified. The score itself cannot tell you.
# </details>
#
# ## What was not shown
#
# Scale: our policy is tiny, our answers have at most 32 tokens, and there is one kind of question
# here. The value clip, the whitening and $\lambda$ were not taken out one by one. The reward model was
# not trained again on the policy's new answers, as one does in practice. And the comparison with REINFORCE tried
# three learning rates only.
#
# **To read**: Schulman et al. 2017, *PPO* (arXiv:1707.06347); Schulman et al. 2015, *GAE* (arXiv:1506.02438); Ziegler
# et al. 2019 (arXiv:1909.08593); Stiennon et al. 2020 (arXiv:2009.01325); Ouyang et al. 2022, *InstructGPT*
# (arXiv:2203.02155); Gao et al. 2022, *Scaling laws for reward model overoptimization* (arXiv:2210.10760); Huang et al.
# 2024, the details of PPO for language models (arXiv:2403.17031); Ahmadian et al. 2024, *Back to basics*, REINFORCE
# instead of PPO (arXiv:2402.14740); Coste et al. 2023, reward model ensembles against over-optimisation
# (arXiv:2310.02743).

# %%
progress("05_ppo")
