# %% [markdown]
# # 6 · Direct preference optimisation
#
# With PPO there are two stages: first a reward model is made from comparisons, and then a policy from the reward model.
# Four models are in memory, and new answers are drawn at every step. DPO (Rafailov et al. 2023) makes the policy
# directly from the comparisons, with a loss of one line. Here you derive that line, and measure what it costs.
#
# **You will be able to**
# - read a reward off a policy, and say which part of it no comparison can tell;
# - derive DPO's loss and its gradient, and see that it is the one in `trl`;
# - show with exact numbers when DPO arrives at the best policy, and when it does not;
# - write the loop that trains a language model on pairs, with one model in memory;
# - watch what happens to the *chosen* answers, and tell when more training makes a model worse.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 the reward inside a policy | ● ● ○ | 10 | | 5 all pairs at once | ● ● ● | 15 |
# | a derivation, in writing | ● ● ○ | 15 | | 6 the log-probabilities of pairs | ● ● ○ | 10 |
# | 2 the loss | ● ● ○ | 5 | | 7 the reference, once | ● ● ○ | 10 |
# | 3 how hard a pair pulls | ● ● ● | 10 | | 8 the training loop | ● ● ○ | 10 |
# | 4 implicit rewards | ● ○ ○ | 5 | | 9 few pairs | open | 20 |
#
# You need chapters 3 and 4, or to know what the KL term and the model of Bradley and Terry are. The letters are those
# of the [table in chapter 0](../00_start_here/00_start_here.ipynb): $p_\theta$ is the policy, $p_0$ the frozen
# reference that it starts from, $r(x, y)$ a reward, $u(x, y)$ the true utility.

# %% tags=["imports"]
import torch
import torch.nn.functional as F

from autograder import check, earlier, predict, progress, reveal
from course import methods

# What you wrote in chapter 2 is called again, or the course's own where you skipped it.
collate = earlier("collate", methods.collate)
sequence_logprob = earlier("sequence_logprob", methods.sequence_logprob)

# %% tags=["demo"]
import copy
import random
import time
from statistics import median

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import comparisons, data, device, listed, models
from course import pairs, plots, rewarded, rollouts, widgets
from course.drawings import c06 as drawings

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more threads
print(device.describe_machine())
DEVICE = device.device()
drawings.two_roads()

# %% [markdown]
# The lower road leaves out the reward model and PPO. Why may one do that? The answer begins with a formula of chapter 3.
#
# ## The best policy, and what is inside it
#
# Each nat of KL to the reference costs $\beta$. For a reward $r$, the best policy is then known in closed form:
#
# $$ p_*(y|x) = \frac{1}{Z(x)}\, p_0(y|x)\, e^{r(x,y)/\beta}, \qquad Z(x) = \sum_y p_0(y|x)\, e^{r(x,y)/\beta}. $$
#
# Here it is in chapter 3's world of three questions with 32 answers each, where $Z$ can be summed. The reward is the
# true utility.

# %% tags=["demo"]
optimal_policy = earlier("optimal_policy", rewarded.optimal_policy)
world, BETA = listed.listed_world(), 1.0
ref_logps, utilities = world.ref_logps, world.utilities  # (prompts, answers)
best_probs, log_z = (torch.as_tensor(x) for x in optimal_policy(ref_logps, utilities, BETA))
best_logps = best_probs.log()
plots.show_table([
    {"answer": world.answers[0][i], "utility": utilities[0, i].item(),
     "p₀": ref_logps[0, i].exp().item(), "p*": best_probs[0, i].item()}
    for i in (0, 1, 4, 7, 8, 15)
], caption=f"{world.prompts[0]} (6 of its {len(world.answers[0])} answers)")  # fmt: skip
print("β log Z for each prompt:", [round(BETA * z, 3) for z in log_z.tolist()])

# %% [markdown]
# ## Exercise 1: the reward inside a policy
#
# Now the other way round. Somebody gives you a policy, the reference and β, and says: this policy is the best one for
# some reward. Which reward? Take the logarithm of the formula, and solve it for $r$:
#
# $$ r(x, y) = \beta \log\frac{p_*(y|x)}{p_0(y|x)} + \beta \log Z(x). $$
#
# The first part you can compute. The second you cannot, but it is the same for all answers to a prompt. So a reward
# can be computed from a policy up to a constant for each prompt. To fix that constant we agree on this: the reward of
# each prompt is 0 on average over the answers of the *reference*.


# %% nbgrader={"grade": false, "grade_id": "recovered_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def recovered_rewards(
    logps: torch.Tensor, ref_logps: torch.Tensor, beta: float
) -> torch.Tensor:
    """The rewards for which this policy is the best one, (prompts, answers).

    logps, ref_logps: (prompts, answers), log-probabilities of all answers under the policy and
    under the reference. beta > 0 is the price of the KL to the reference. The rewards of each
    prompt are shifted so that their expectation under the reference is 0. Where both
    log-probabilities are minus infinity, nothing can be known: the reward there is 0.
    """
    ### BEGIN SOLUTION
    excluded = ref_logps == -torch.inf
    rewards = beta * (logps - ref_logps).masked_fill(excluded, 0.0)  # (prompts, answers)
    expected = (ref_logps.exp() * rewards).sum(-1, keepdim=True)  # (prompts, 1)
    return (rewards - expected).masked_fill(excluded, 0.0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "recovered_rewards_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("recovered_rewards", recovered_rewards)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the shift</summary>
#
# Which numbers weigh the rewards in an expectation under the reference? Do you then still divide by the number of
# answers?
# </details>
# <details><summary><b>Hint 2</b>: excluded answers</summary>
#
# What is minus infinity minus minus infinity? And 0 times that? Replace such entries before anything is computed from
# them (`masked_fill`, `torch.where`).
# </details>
#
# With your function, the utility comes back out of $p_*$. Only a constant for each prompt is lost. The drawing shows
# both sides before anything is shifted: they differ by $\beta\log Z$, for every answer by the same.

# %% tags=["demo"]
found = recovered_rewards(best_logps, ref_logps, BETA)
shifted = utilities - (ref_logps.exp() * utilities).sum(-1, keepdim=True)
recovery_error = (found - shifted).abs().max().item()
print(f"largest difference to the utility, shifted in the same way: {recovery_error:.1e}")
few = [0, 1, 4, 8, 15]
drawings.reward_inside(
    [world.answers[0][i] for i in few], utilities[0, few].tolist(),
    (BETA * (best_logps - ref_logps))[0, few].tolist(), BETA * log_z[0].item(),
)  # fmt: skip

# %% [markdown]
# ## A derivation, in writing
#
# Annotators choose by the model of Bradley and Terry: they prefer $y^+$ to $y^-$ with the probability
# $\sigma\big(r(x, y^+) - r(x, y^-)\big)$. We want the policy that belongs to the most likely reward. Derive its loss,
# and the gradient of the loss:
#
# 1. Put the formula for $r$ above, with a trained $p_\theta$ in the place of $p_*$, into the probability of one label.
# 2. Say what happens to $Z(x)$, and why it must.
# 3. Write the loss of one pair, with the margin $m = \beta\log\frac{p_\theta(y^+|x)}{p_0(y^+|x)} -
#    \beta\log\frac{p_\theta(y^-|x)}{p_0(y^-|x)}$.
# 4. Derive its gradient with respect to θ.
#
# In a class a person reads it; alone, compare it with the model below. Six points:
#
# | points | for |
# |---|---|
# | 1 | the formula for r is put in on both sides of the difference |
# | 2 | β log Z(x) cancels; the reason: both answers belong to one prompt |
# | 1 | the loss of a pair as minus the logarithm of a sigmoid |
# | 2 | the gradient, with the weight σ(−m), and what that weight says |

# %% [markdown] nbgrader={"grade": true, "grade_id": "cancellation", "locked": false, "points": 6, "schema_version": 3, "solution": true, "task": false}
# Every policy is the best one for some reward. For $p_\theta$ that reward is
# $r_\theta(x, y) = \beta\log p_\theta(y|x) - \beta\log p_0(y|x) + \beta\log Z_\theta(x)$.
#
# In the difference of two rewards for one $x$ the last term occurs once with plus and once with minus, and it does not
# depend on the answer. So it disappears, and what remains is the margin $m$. That the two answers were given to *one*
# prompt is essential here. No value of $Z_\theta$ is ever needed.
#
# The label then has probability $\sigma(m)$, and the loss is $-\log\sigma(m)$.
#
# By the chain rule, with $\frac{d}{dm}\log\sigma(m) = 1 - \sigma(m) = \sigma(-m)$ and a reference that has no θ,
# the gradient is $-\sigma(-m)\,\beta\,\big(\nabla\log p_\theta(y^+|x) - \nabla\log p_\theta(y^-|x)\big)$. A pair that is
# already in the right order by a wide margin has a weight near 0. One in the wrong order has a weight near 1.

# %% [markdown]
# <details><summary><b>A model derivation</b>: open it when yours is written</summary>
#
# *Put in.* For a given θ ask: for which reward would $p_\theta$ be the optimum? By the formula, for $r_\theta =
# \beta\log\frac{p_\theta}{p_0} + \beta\log Z_\theta(x)$. So to fit a policy *is* to fit a reward model. Only the
# parameters are others.
#
# *Cancel.* $r_\theta(x, y^+) - r_\theta(x, y^-) = m + \beta\log Z_\theta(x) - \beta\log Z_\theta(x) = m$. It had to be
# so: a comparison says nothing about a number that is added to all answers of a prompt (chapter 4), and $\beta\log Z$
# is such a number.
#
# *Loss.* The most likely $p_\theta$ minimises the mean of $-\log\sigma(m)$ over the pairs.
#
# *Gradient.* $-\frac{\sigma'(m)}{\sigma(m)}\nabla m$, and $\sigma' = \sigma(1-\sigma)$. So it is $-\sigma(-m)\,\nabla m$
# with $\nabla m = \beta\nabla\log p_\theta(y^+|x) - \beta\nabla\log p_\theta(y^-|x)$. The weight is the probability that
# this policy's reward gives to the *other* label: surprising labels pull harder.
# </details>
#
# **Check yourself with numbers.** We add a constant of its own to the utilities of each prompt. Which quantities
# change?

# %% tags=["demo"]
constants = torch.tensor([[50.0], [-7.0], [3.0]])  # one for each prompt
other_probs, other_log_z = optimal_policy(ref_logps, utilities + constants, BETA)


def preferences(rewards: torch.Tensor) -> torch.Tensor:
    """P(first preferred) for all pairs of answers to a prompt, (prompts, answers, answers)."""
    return torch.sigmoid(rewards[:, :, None] - rewards[:, None, :])


lines = {
    "annotators' probabilities": (
        preferences(utilities + constants) - preferences(utilities)).abs().max().item(),
    "the best policy": (other_probs - best_probs).abs().max().item(),
    "β log Z, minus the constant": (
        BETA * (other_log_z - log_z) - constants[:, 0]).abs().max().item(),
    "probabilities from log-ratios of p*": (
        preferences(BETA * (best_logps - ref_logps)) - preferences(utilities)
    ).abs().max().item(),
}  # fmt: skip
plots.show_table(
    [{"quantity": name, "largest change": f"{gap:.0e}"} for name, gap in lines.items()]
)

# %% [markdown]
# All four are 0, up to rounding. The last line is DPO in one number: the log-ratios of the best policy say how every
# pair would be judged, and $Z$ was not needed.
#
# ## Exercise 2: the loss
#
# $$ \mathcal{L} = -\frac{1}{N}\sum_i \log\sigma(m_i), \qquad
# m = \beta\Big(\log\frac{p_\theta(y^+|x)}{p_0(y^+|x)} - \log\frac{p_\theta(y^-|x)}{p_0(y^-|x)}\Big). $$
#
# The $\log p$ are those of whole answers: sums over their tokens. Annotators make mistakes, and the loss can expect
# that: with probability ε the label is the wrong way round. Then a pair's loss is the expectation over both labels,
# $-(1-\varepsilon)\log\sigma(m) - \varepsilon\log\sigma(-m)$. This is called *label smoothing*. DPO with it is known as
# *conservative* DPO, or cDPO (Mitchell 2023).


# %% nbgrader={"grade": false, "grade_id": "dpo_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dpo_loss(
    chosen_logps: torch.Tensor, rejected_logps: torch.Tensor,
    ref_chosen_logps: torch.Tensor, ref_rejected_logps: torch.Tensor,
    beta: float, label_smoothing: float = 0.0,
) -> torch.Tensor:  # fmt: skip
    """The mean of DPO's loss over the pairs, a scalar.

    The four tensors: (pairs,), log-probabilities of whole answers under the policy and under
    the reference. label_smoothing is the probability that a label is the wrong way round, at
    least 0 and below one half. Loss and gradients are finite for margins of any size. Gradients
    flow to the policy's log-probabilities, and not to those of the reference, even where these
    tensors would let them.
    """
    ### BEGIN SOLUTION
    chosen = chosen_logps - ref_chosen_logps.detach()  # (pairs,), log-ratios
    rejected = rejected_logps - ref_rejected_logps.detach()
    margins = beta * (chosen - rejected)
    right, wrong = F.logsigmoid(margins), F.logsigmoid(-margins)
    return -((1 - label_smoothing) * right + label_smoothing * wrong).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dpo_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("dpo_loss", dpo_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which function gives $\log\sigma$ without ever taking the logarithm of a 0? If the label were the other way round,
# which sign would the margin have?
# </details>
#
# ## Exercise 3: how hard a pair pulls
#
# Your derivation says that the gradient of a pair is its margin's gradient times a weight. With smoothing there is a
# weight too, and it can be negative: then the step makes the margin *smaller*. Find it, without autograd:
#
# $$ \nabla\mathcal{L} = -\frac{1}{N}\sum_i w_i\, \nabla m_i. $$
#
# Behind the check it is compared with the gradient of your loss.


# %% nbgrader={"grade": false, "grade_id": "pair_weights", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pair_weights(margins: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """The weights w of the pairs in the gradient of DPO's loss, (pairs,).

    margins: (pairs,), of any size. The gradient of the loss with this label_smoothing is minus
    the mean over the pairs of w times the gradient of the margin. Without smoothing, tiny
    weights are exact to four digits and not 0.
    """
    ### BEGIN SOLUTION
    return torch.sigmoid(-margins) - label_smoothing
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pair_weights_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("pair_weights", pair_weights)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What is the derivative of $\log\sigma(m)$, and what that of $\log\sigma(-m)$? Write both with $\sigma(-m)$, and add
# them up with their probabilities. What is $1 - \sigma(20)$ in a float?
# </details>

# %% tags=["demo"]
grid = torch.linspace(-5, 5, 81, requires_grad=True)
zero, fig = torch.zeros(81), plt.figure(figsize=(6.5, 3))
weight_error = 0.0
for eps, color in ((0.0, plots.BLUE), (0.1, plots.ORANGE), (0.3, plots.VERMILION)):
    loss = dpo_loss(grid, zero, zero, zero, 1.0, eps)  # the margin is the chosen log p here
    by_autograd = -len(grid) * torch.autograd.grad(loss, grid)[0]
    weights = pair_weights(grid.detach(), eps)
    weight_error = max(weight_error, (weights - by_autograd).abs().max().item())
    plt.plot(grid.detach(), weights, color=color, label=f"ε = {eps:g}")
plt.axhline(0, color=plots.GREY, linewidth=1)
plt.xlabel("margin m")
plt.ylabel("weight w")
plt.title("How hard a pair pulls")
plt.legend()
plt.show()
print(f"largest difference to autograd: {weight_error:.0e}")

# %% [markdown]
# Without smoothing the weight is never 0: the margin of a pair in the right order grows for ever, only more and more
# slowly. With ε the weight is 0 where $\sigma(-m) = \varepsilon$, and the margin stays there. Remember it for the open
# task.
#
# ## Exercise 4: implicit rewards
#
# While DPO runs, people look at numbers that come from the policy itself. $\beta\log\frac{p_\theta}{p_0}$ is called the
# **implicit reward** of an answer.


# %% nbgrader={"grade": false, "grade_id": "implicit_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def implicit_rewards(
    chosen_logps: torch.Tensor, rejected_logps: torch.Tensor,
    ref_chosen_logps: torch.Tensor, ref_rejected_logps: torch.Tensor, beta: float,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """What one looks at while DPO runs, in a dictionary; no gradient flows from it.

    The four tensors are those of `dpo_loss`. "chosen" and "rejected": the implicit rewards of
    the answers, and "margins": their difference, each (pairs,). "accuracy": the share of pairs
    whose chosen answer has the larger implicit reward; a tie counts one half.
    """
    ### BEGIN SOLUTION
    chosen = beta * (chosen_logps - ref_chosen_logps).detach()  # (pairs,)
    rejected = beta * (rejected_logps - ref_rejected_logps).detach()
    right = ((chosen - rejected).sign() + 1) / 2  # 1, 0, or one half for a tie
    return {"chosen": chosen, "rejected": rejected, "margins": chosen - rejected,
            "accuracy": right.mean()}  # fmt: skip
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "implicit_rewards_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("implicit_rewards", implicit_rewards)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Is a chosen answer that is likelier than the rejected one always in the right order? What does the reference say of
# the two? Which function gives 1, 0 and −1?
# </details>
#
# ## Does it arrive at the best policy?
#
# Your derivation says that DPO looks for the most likely policy. It does not say that this is $p_*$. That depends on the
# pairs. So first give DPO the best data there can be: all pairs, with exact probabilities instead of drawn labels.
#
# ## Exercise 5: all pairs at once
#
# The docstring says what the loss is. Find out yourself how to compute it without drawing anything.


# %% nbgrader={"grade": false, "grade_id": "expected_dpo_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def expected_dpo_loss(
    logps: torch.Tensor, ref_logps: torch.Tensor, rewards: torch.Tensor, beta: float
) -> torch.Tensor:
    """The expectation of DPO's loss over a random pair, averaged over the prompts: a scalar.

    logps, ref_logps, rewards: (prompts, answers). A pair is drawn so: two answers to a prompt
    come independently from the reference (they may be the same one). An annotator then prefers
    one of them, with the probability of Bradley and Terry for these rewards, at temperature 1.
    Rewards and log-ratios may be large. A gradient flows to logps, and to no other argument.
    """
    ### BEGIN SOLUTION
    ref_logps, rewards = ref_logps.detach(), rewards.detach()
    probs, log_ratio = ref_logps.exp(), logps - ref_logps  # (prompts, answers)
    margins = beta * (log_ratio[:, :, None] - log_ratio[:, None, :])  # first minus second
    first_wins = torch.sigmoid(rewards[:, :, None] - rewards[:, None, :])
    losses = -first_wins * F.logsigmoid(margins) - (1 - first_wins) * F.logsigmoid(-margins)
    return torch.einsum("pi,pj,pij->p", probs, probs, losses).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "expected_dpo_loss_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("expected_dpo_loss", expected_dpo_loss)

# %% [markdown]
# <details><summary><b>Hint 1</b>: a table of pairs</summary>
#
# How many ordered pairs of answers has a prompt? Can you make a tensor (prompts, answers, answers) of their margins by
# broadcasting? How probable is each pair?
# </details>
# <details><summary><b>Hint 2</b>: the label</summary>
#
# For a given pair, the label is one of two. What is the loss of each, and how probable are they? Is anything in this
# probability to be learned?
# </details>
#
# We minimise this loss with exact gradients, for all three prompts at once, from five random policies. Then the same
# with what one really has: some pairs, drawn from $p_0$ and labelled once each (200 steps from $p_0$, five draws).
#
# **Predict.** A thousand labelled pairs, for three prompts with 32 answers each. How far from $p_*$ does DPO end? (Total
# variation: 0 is equal, 1 disjoint. It begins at $p_0$.)
#
# - **a** Near 0, below 0.05: that is plenty of pairs.
# - **b** Clearly nearer than the reference, and not there.
# - **c** Farther away than the reference was.

# %% tags=["demo"]
predict("fixed_pairs", "")

# %% tags=["demo"]
distance = lambda logps: listed.total_variation(logps.exp(), best_probs)  # noqa: E731
FIVE = range(5)
starts = [torch.randn(ref_logps.shape, generator=torch.Generator().manual_seed(device.seed(s)))
          for s in FIVE]  # fmt: skip
exact = [
    distance(pairs.descend(lambda p: expected_dpo_loss(p, ref_logps, utilities, BETA), start))
    for start in tqdm(starts, desc="exact preferences")
]


def on_wins(wins: torch.Tensor):
    """The loss on a table of drawn pairs, wins[x, i, j]; each counts as often as it came."""
    x, i, j = wins.nonzero().T
    times = wins[x, i, j]

    def loss_of(logps: torch.Tensor) -> torch.Tensor:
        ratio = logps - ref_logps
        losses = -F.logsigmoid(BETA * (ratio[x, i] - ratio[x, j]))
        return (times * losses).sum() / times.sum()

    return loss_of


COUNTS = [100, 1000, 10_000, 100_000]
fixed = {}
for n in tqdm(COUNTS, desc="fixed pairs"):
    drawn = [pairs.drawn_wins(ref_logps, utilities, n, device.seed(s)) for s in FIVE]
    fixed[n] = [distance(pairs.descend(on_wins(wins), ref_logps, 200)) for wins in drawn]
at_start = distance(ref_logps)

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(6.8, 3.2))
middle = [median(fixed[n]) for n in COUNTS]
for n in COUNTS:
    ax.plot([n] * len(FIVE), fixed[n], "o", color=plots.BLUE, markersize=3, alpha=0.6)
ax.plot(COUNTS, middle, color=plots.BLUE, label="drawn labels")
ax.set(xscale="log", xlabel="labelled pairs", ylabel="total variation to p*", ylim=(0, 1))
ax.set(title="How many pairs it takes")
plots.mark_levels(ax, {"p₀": at_start, "exact preferences": median(exact)})
ax.legend()
plt.show()
print("exact preferences, five starts:", [round(x, 4) for x in exact])
at_1000 = median(fixed[1000])
came = "a" if at_1000 < 0.05 else "b" if at_1000 < at_start else "c"
reveal("fixed_pairs", came, start=at_start, found=at_1000, exact=median(exact), middle=middle)

# %% [markdown]
# With exact preferences DPO arrives, from each of the five starts. With fixed pairs the loss has been minimised too, and
# the policy is somewhere else. A rare pair has been labelled only once. The probability of its loser is pushed towards
# 0, and nothing stops it. β does not either: it scales the margin, and the loss asks for an infinite one.
#
# **Break it.** Four errors that are easily made, in the exact world. None of them raises an exception, and with each
# of them the loss goes down.

# %% tags=["demo"]
def exact_loss(logps, forget=False, one_sided=False, swapped=False, eps=0.0):
    """The expected loss of all pairs, with one thing wrong."""
    x = torch.arange(len(logps))[:, None, None]
    first, second = torch.meshgrid(*[torch.arange(logps.shape[1])] * 2, indexing="ij")
    ref = 0 * ref_logps if forget else ref_logps
    win, lose = (logps - ref)[x, first], (logps - ref)[x, second]
    lose = lose / BETA_BROKEN if one_sided else lose
    chance = preferences(utilities).mT if swapped else preferences(utilities)
    probs = ref_logps.exp()
    m = BETA_BROKEN * (win - lose)
    losses = -(1 - eps) * F.logsigmoid(m) - eps * F.logsigmoid(-m)
    return 2 * torch.einsum("xi,xj,xij->x", probs, probs, chance * losses).mean()


BETA_BROKEN = 0.7  # at β = 1 the third error would not show
aim, _ = optimal_policy(ref_logps, utilities, BETA_BROKEN)
kinds = {
    "right": {}, "reference forgotten": {"forget": True}, "β on one side": {"one_sided": True},
    "labels swapped": {"swapped": True}, "smoothed by 0.2": {"eps": 0.2},
}  # fmt: skip
broken = {}
for name, wrong in kinds.items():
    end = pairs.descend(lambda p, wrong=wrong: exact_loss(p, **wrong), ref_logps).exp()
    kl = torch.special.xlogy(end, end) - end * ref_logps
    worth = (end * utilities - BETA_BROKEN * kl).sum(-1).mean().item()
    broken[name] = {"to p*": listed.total_variation(end, aim), "E[u] − β KL": worth}
plots.show_table([{"loss": name} | ends for name, ends in broken.items()])

# %% [markdown]
# Smoothing stands in the table too. Where the labels' probabilities are exact, it is an error like the others: it
# believes that the annotators err more often than they do. Whether it helps with drawn labels is measured below.
#
# What β does to the *optimum* you may try yourself. At each place of the slider, a table of one prompt is trained anew
# with your exact loss.


# %% tags=["demo"]
def trained_anew(ref, rewards, beta: float):
    """Where your exact loss leads at this β: probabilities, and a log Z that nobody needs."""
    end = pairs.descend(lambda p: expected_dpo_loss(p, ref, rewards, beta), ref, 120, 0.2)
    return end.exp(), None


seen = [("right", 3.0, "right"), ("opening", 1.2, "openings"), ("closing", 1.0, "closings")]
parts = pairs.worths(world, seen)
widgets.optimum_explorer(world.answers[0], ref_logps[0], parts, trained_anew)

# %% [markdown]
# ## A language model
#
# Now the nano model. The pairs are chapter 4's comparisons about facts. The policy begins as `nano-sft`, which answers
# as the people in its data do: sometimes right, sometimes polite.
#
# ## Exercise 6: the log-probabilities of pairs
#
# For each pair the loss needs $\log p(y^+|x)$ and $\log p(y^-|x)$, of *whole* answers. Both go through the model in one
# batch, first all chosen answers and then all rejected ones. Your `collate` and `sequence_logprob` from chapter 2 do
# most of it.

# %% tags=["demo"]
tokenizer = data.load_tokenizer()
PAD = tokenizer.pad_token_id
train_records, heldout_records = comparisons.load()
chosen, rejected = (pairs.examples(train_records, k, tokenizer) for k in ("chosen", "rejected"))
print(f"{len(chosen):,} pairs to learn from, {len(heldout_records)} held out")
shown = [(chosen[0], "chosen"), (rejected[0], "rejected")]
drawings.pair_in_a_batch(
    [(tokenizer.convert_ids_to_tokens(ids), labels, name) for (ids, labels), name in shown]
)


# %% nbgrader={"grade": false, "grade_id": "pair_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pair_logps(
    model, chosen: list, rejected: list, pad_id: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of the chosen and of the rejected answers, each (pairs,), with gradients.

    chosen, rejected: lists of equal length; the examples of a pair stand at the same place. An
    example is (token ids, labels) as in chapter 2: two lists, with -100 where a token is not
    supervised. An answer's log-probability is the sum over its supervised tokens. The model is
    called once; model(input_ids=..., attention_mask=...).logits are the logits, where the mask
    is 1 on the tokens of an example. The batch belongs on model.device. pad_id fills up rows.
    """
    ### BEGIN SOLUTION
    batch = collate([*chosen, *rejected], pad_id)
    ids, mask, labels = (
        batch[name].to(model.device) for name in ("input_ids", "attention_mask", "labels")
    )
    logits = model(input_ids=ids, attention_mask=mask).logits  # (2 * pairs, seq, vocab)
    first, second = sequence_logprob(logits, labels).chunk(2)  # (pairs,) each
    return first, second
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pair_logps_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("pair_logps", pair_logps)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# In which order do the rows stand if you give `collate` the list `[*chosen, *rejected]`? Which half belongs to which?
# Which tokens does `sequence_logprob` leave out?
# </details>
#
# Is this what people train with? Below, `trl`'s `DPOTrainer` gets the raw conversations of eight pairs and a model that
# has moved away from the reference. It makes template, batch, log-probabilities and loss by itself.

# %% tags=["demo"]
reference = models.load_nano("sft").to(DEVICE).requires_grad_(False)
moved = copy.deepcopy(reference)
torch.manual_seed(device.seed(0))
for weight in moved.parameters():
    weight.data += 0.02 * torch.randn_like(weight)
with torch.no_grad():
    now, before = (pair_logps(m, chosen[:8], rejected[:8], PAD) for m in (moved, reference))
ours = {eps: dpo_loss(*now, *before, 0.1, eps).item() for eps in (0.0, 0.2)}
theirs = pairs.trl_losses(
    moved, reference, train_records[:8], tokenizer, 0.1, ("sigmoid", "robust"), 0.2
)
# trl's "robust" is (0.8 L(m) - 0.2 L(-m)) / 0.6; so the smoothed loss follows from both.
smoothed = 1.6 * theirs["sigmoid"] - 0.6 * theirs["robust"]
trl_difference = max(abs(ours[0.0] - theirs["sigmoid"]), abs(ours[0.2] - smoothed))
print(f"without smoothing: yours {ours[0.0]:.6f}, trl's {theirs['sigmoid']:.6f}")
print(f"with smoothing:    yours {ours[0.2]:.6f}, trl's {smoothed:.6f}")
print(f"largest difference {trl_difference:.0e}")

# %% [markdown]
# (In the version used here, `trl` has no argument for cDPO any more. Its loss "robust" is made of the same two terms,
# so the smoothed loss can be put together from what it returns.)
#
# ## Exercise 7: the reference, once
#
# It is often said that DPO needs two models in memory. But the reference never changes, and the pairs are fixed. So its
# log-probabilities can be computed *once*, before the training: two numbers a pair. Nothing is learned here, so nothing
# need be kept for gradients. And the model will be trained afterwards: give it back as it came.


# %% nbgrader={"grade": false, "grade_id": "reference_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reference_logps(
    model, chosen: list, rejected: list, pad_id: int, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of all chosen and of all rejected answers under this model, each (pairs,).

    The arguments are those of pair_logps. At most `size` pairs go through the model at a time,
    in their order, in as few calls as that allows. No gradient flows from the result, and no
    graph is built on the way. The model reads in evaluation mode. Afterwards it is as it came,
    each of its parts in its own mode.
    """
    ### BEGIN SOLUTION
    modes = {part: part.training for part in model.modules()}
    model.eval()
    with torch.no_grad():
        found = [
            pair_logps(model, chosen[i : i + size], rejected[i : i + size], pad_id)
            for i in range(0, len(chosen), size)
        ]
    for part, training in modes.items():
        part.training = training
    first, second = (torch.cat(logps) for logps in zip(*found))
    return first, second
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "reference_logps_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("reference_logps", reference_logps)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What does `model.train()` do to the parts of a model that somebody had put into evaluation mode on purpose? Which
# method lists all parts? Where must `torch.no_grad()` begin?
# </details>

# %% tags=["demo"]
heldout_chosen, heldout_rejected = (
    pairs.examples(heldout_records[: device.at_most(192, least=8)], k, tokenizer)
    for k in ("chosen", "rejected")
)
MOST = device.at_most(len(chosen), least=64)
chosen, rejected = chosen[:MOST], rejected[:MOST]
ref_train = reference_logps(reference, chosen, rejected, PAD, 128)
ref_heldout = reference_logps(reference, heldout_chosen, heldout_rejected, PAD, 128)

learner = copy.deepcopy(reference).requires_grad_()
learning, frozen = rollouts.bytes_in_training(learner), rollouts.bytes_of(reference)
numbers = sum(t.numel() * t.element_size() for t in ref_train)
held = {
    "PPO: two that learn, two frozen ones": 2 * learning + 2 * frozen,
    "DPO, reference in memory": learning + frozen,
    "DPO, reference computed once": learning + numbers,
}
share_of_ppo = held["DPO, reference computed once"] / max(held.values())
plots.show_table(
    [{"method": n, "bytes": f"{b:,}", "of PPO's": f"{b / max(held.values()):.0%}"}
     for n, b in held.items()],
    caption="weights, gradients, AdamW's state, and numbers kept",
)  # fmt: skip

# %% [markdown]
# (The reward and value models are counted at the size of the policy. What is kept of a batch while a gradient is
# computed is not counted.)
#
# ## Exercise 8: the training loop
#
# The last piece. The loop knows nothing of language models: `logps_of` gives the present log-probabilities of some
# pairs. Those of the reference are at hand for all of them. Think about which of them belong to a batch.


# %% nbgrader={"grade": false, "grade_id": "train_dpo", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_dpo(
    logps_of, ref_chosen: torch.Tensor, ref_rejected: torch.Tensor, batches, optimizer, lr_at,
    *, beta: float, label_smoothing: float = 0.0, max_norm: float = 1.0, after_step=None,
) -> list[dict[str, float]]:  # fmt: skip
    """Train a policy on pairs. Returns a dictionary for each update, of plain numbers.

    batches: an iterable of 1-d tensors of pair numbers, one an update. logps_of(batch) gives
    log p of the chosen and of the rejected answers of these pairs now, with gradients;
    ref_chosen, ref_rejected: (all pairs,), those of the reference. Update s, counted from 0,
    takes one step down the gradient of dpo_loss, with the rate lr_at(s) in every parameter
    group. The norm of the gradient of all the optimizer's parameters together is clipped to
    max_norm. Gradients that were there before count for nothing.
    Each dictionary holds, from before the update: "loss", "margin" (the mean margin of the
    batch) and "accuracy", as in implicit_rewards. after_step(s) is called after each update.
    """
    ### BEGIN SOLUTION
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    history = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        four = *logps_of(batch), ref_chosen[batch], ref_rejected[batch]  # (pairs,) each
        loss = dpo_loss(*four, beta, label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        seen = implicit_rewards(*four, beta)
        history.append({"loss": loss.item(), "margin": seen["margins"].mean().item(),
                        "accuracy": float(seen["accuracy"])})  # fmt: skip
        if after_step is not None:
            after_step(step)
    return history
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_dpo_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("train_dpo", train_dpo)

# %% [markdown]
# <details><summary><b>Hint 1</b>: one update</summary>
#
# It is the loop of chapters 2 and 4. `ref_chosen` has a number for every pair there is. Which of them does this batch
# need?
# </details>
# <details><summary><b>Hint 2</b>: before and after</summary>
#
# The numbers that you return come from the same log-probabilities as the loss. Does `optimizer.step()` change those?
# </details>
#
# ## Training on pairs
#
# Three seeds. While the policy learns, we look at it on held-out questions: its true utility, its KL to the reference,
# and $\log p_\theta / p_0$ of held-out chosen and rejected answers.

# %% tags=["demo"]
PRICE, RATE, SIZE = 0.2, 3e-4, 16 * device.dose()
UPDATES, SEEDS = device.at_most(192, least=4), range(device.at_most(3))
questions = random.Random(device.seed(0)).choices(
    rollouts.questions_about_facts("heldout"), k=device.at_most(192, least=8))  # fmt: skip
before = pairs.look_at(reference, reference, questions, device.seed(50))
other = pairs.look_at(reference, reference, questions, device.seed(51))  # to compare with


def examine(policy) -> dict:
    """What the policy is like on held-out questions and pairs."""
    found = pairs.look_at(policy, reference, questions, device.seed(50))
    logps = reference_logps(policy, heldout_chosen, heldout_rejected, PAD, 128)
    up, down = (now - then for now, then in zip(logps, ref_heldout))
    found |= {"chosen": up.mean().item(), "rejected": down.mean().item()}
    found["accuracy"] = implicit_rewards(*logps, *ref_heldout, PRICE)["accuracy"].item()
    return found | {"win rate": pairs.win_rate(found["utilities"], other["utilities"])}


at_zero = {"update": 0, "seconds": 0.0} | examine(reference)


# %% tags=["demo"]
def train(seed: int, beta=PRICE, lr=RATE, updates=UPDATES, looks=4, eps=0.0, records=None):
    """DPO from the reference. Returns the policy, the loop's history, and what we saw."""
    yes, no, ref = (chosen, rejected, ref_train) if records is None else records
    policy = copy.deepcopy(reference).requires_grad_()
    optimizer = torch.optim.AdamW(policy.parameters(), weight_decay=0.0)
    curve, started = [at_zero], [time.process_time()]

    def logps_of(batch):
        return pair_logps(policy, [yes[i] for i in batch], [no[i] for i in batch], PAD)

    def look(step: int) -> None:
        bar.update()
        if (step + 1) % max(1, updates // looks) == 0:
            seconds = curve[-1]["seconds"] + time.process_time() - started[0]
            curve.append({"update": step + 1, "seconds": seconds} | examine(policy))
            started[0] = time.process_time()  # looking is not training

    bar = tqdm(total=updates, desc=f"β = {beta}, rate {lr:g}, seed {seed}", mininterval=1)
    drawn = comparisons.epochs(len(yes), SIZE, updates, device.seed(seed))
    history = train_dpo(
        logps_of, *ref, (torch.tensor(batch) for batch in drawn), optimizer,
        lambda step: lr * min(1, (step + 1) / 10), beta=beta, label_smoothing=eps,
        after_step=look,
    )  # fmt: skip
    bar.close()
    return policy, history, curve


# %% [markdown]
# **Predict.** The loss asks that the *chosen* answers become likelier than the rejected ones, compared with the
# reference. What happens to $\log p_\theta$ of held-out chosen answers in this training?
#
# - **a** It rises, and that of the rejected answers falls.
# - **b** It stays about where it was; the rejected answers fall.
# - **c** Both fall, the rejected answers farther.

# %% tags=["demo"]
predict("chosen_falls", "")

# %% tags=["demo"]
runs = [train(seed) for seed in SEEDS]
curves = [curve for *_, curve in runs]
fig, axes = plt.subplots(2, 2, figsize=(9, 5.2))
steps = [point["update"] for point in curves[0]]
tell = {"chosen": plots.GREEN, "rejected": plots.VERMILION}
for ax, names, title in (
    (axes[0, 0], ("accuracy",), "accuracy, held-out pairs"),
    (axes[0, 1], tuple(tell), "log p / p₀ of held-out answers, nats"),
    (axes[1, 0], ("utility",), "true utility"), (axes[1, 1], ("kl",), "KL to p₀, nats"),
):  # fmt: skip
    for name in names:
        for i, curve in enumerate(curves):
            color, label = tell.get(name, plots.BLUE), None if i else name
            ax.plot(steps, [p[name] for p in curve], color=color, lw=1.2, label=label)
    ax.set(xlabel="update", title=title)
axes[0, 1].legend()
plt.show()
ends = [curve[-1] for curve in curves]
up, down = (median(end[name] for end in ends) for name in ("chosen", "rejected"))
came = "a" if up > 0.3 else "b" if up > -0.3 else "c"
told_apart = median(end["accuracy"] for end in ends)
reveal("chosen_falls", came, chosen=up, rejected=down, accuracy=told_apart)

# %% [markdown]
# This is known as *likelihood displacement* (Razin et al. 2024; Pal et al. 2024 saw it before). The loss knows only the
# difference. Chosen and rejected answers of a pair share most of their words, and what makes one less likely makes the
# other less likely too. So the probability went to other answers. The loss says nothing about answers that are in no
# pair. They may be good or bad, so let us read them.

# %% tags=["demo"]
wins = [end["win rate"] for end in ends]
columns = ("utility", "kl", "length", "win rate")
start_row = {"held-out": "before"} | {c: at_zero[c] for c in columns}
rows = [{"held-out": f"seed {s}"} | {c: e[c] for c in columns} for s, e in zip(SEEDS, ends)]
plots.show_table([start_row, *rows])
some = range(0, len(questions), max(1, len(questions) // 6))
plots.show_table([
    {"asked": questions[i], "before": before["texts"][i], "after DPO": ends[0]["texts"][i]}
    for i in some
])  # fmt: skip
print(f"win rate over nano-sft, by the true utility: {median(wins):.2f} (median of the seeds)")

# %% [markdown]
# (The model before is compared with other answers of its own. What its win rate lacks to one half is chance.) Did the
# answers become more right, or more polite? Compare the columns. To be polite is the same for every question. A fact
# has to be known.
#
# ## Beside PPO and best of n
#
# Chapter 5's PPO, with your `ppo_update`, and chapter 4's reward model, which was learned from the same comparisons.
# And best of n by that reward model. How much utility has a policy for its *KL*, and how much for its *time* (seconds
# of this processor)? Two things favour the others: the time in which the reward model was made is not counted, and its
# reader is `nano-instruct`, which knows more facts than our policy does at the start.
#
# **Predict.** At the same KL to the reference, DPO's true utility is
#
# - **a** higher than PPO's: it has no reward model that could be wrong;
# - **b** about the same (within 0.2);
# - **c** lower than PPO's.

# %% tags=["demo"]
predict("dpo_or_ppo", "")

# %% tags=["demo"]
ppo_update = earlier("ppo_update", rewarded.ppo_update)
best_of_n_probs = earlier("best_of_n_probs", methods.best_of_n_probs)
reward_model = models.load_nano("reward").to(DEVICE).requires_grad_(False)
learned_on = rollouts.questions_about_facts("train")
PPO_UPDATES = device.at_most(20, least=2)


def ppo_curve(seed: int) -> list[dict]:
    """PPO from the reference: utility and KL on the way, and the seconds it took."""
    curve, started = [{"update": 0, "seconds": 0.0} | before], [time.process_time()]

    def look(policy, update: int) -> None:
        if (update + 1) % max(1, PPO_UPDATES // 4) == 0:
            seconds = curve[-1]["seconds"] + time.process_time() - started[0]
            found = pairs.look_at(policy, reference, questions, device.seed(50))
            curve.append({"update": update + 1, "seconds": seconds} | found)
            started[0] = time.process_time()

    given = reference, reward_model, learned_on, ppo_update, PPO_UPDATES
    pairs.train_ppo(*given, device.seed(seed), look)
    return curve


# %% tags=["demo"]
ppo_curves = [ppo_curve(seed) for seed in range(device.at_most(2))]
torch.manual_seed(device.seed(3))
NS = (1, 2, 4, 8, 16, 32)
few = random.Random(device.seed(3)).sample(sorted(set(questions)), device.at_most(12, least=2))
best_kl, best_utility = pairs.best_of_n(reference, reward_model, few, NS, best_of_n_probs)

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for ax, along in zip(axes, ("kl", "seconds")):
    for name, many, color in (("DPO", curves, plots.BLUE), ("PPO", ppo_curves, plots.ORANGE)):
        for i, curve in enumerate(many):
            points = [(p[along], p["utility"]) for p in curve]
            ax.plot(*zip(*points), "o-", color=color, ms=4, lw=0.8, label=None if i else name)
axes[0].plot(best_kl, best_utility, "o-", color=plots.GREY, ms=4, label="best of 1 to 32")
axes[0].set(xlabel="KL to p₀, nats", ylabel="true utility", title="For the same distance")
axes[1].set(xlabel="seconds of training", title="For the same time")
axes[1].legend(*axes[0].get_legend_handles_labels(), loc="lower right")
plt.show()
reached = {"DPO": ends, "PPO": [curve[-1] for curve in ppo_curves]}
table = {
    name: {what: median(end[what] for end in found) for what in ("utility", "kl", "seconds")}
    for name, found in reached.items()
}
plots.show_table([{"median of the seeds": name} | row for name, row in table.items()])
level = pairs.utility_at(curves, ppo_curves)  # median utilities at the KL that both reach
gap = level["first"] - level["second"]
came = "a" if gap > 0.2 else "c" if gap < -0.2 else "b"
reveal("dpo_or_ppo", came, kl=level["kl"], dpo=level["first"], ppo=level["second"])

# %% [markdown]
# DPO draws no answers while it trains. That is its advantage: a step costs a forward and a backward pass, and the
# training could be done by people who have no reward model. It is also its weakness: it never sees what the policy
# *would* say now. The pairs stay those of yesterday's model. What PPO learns from are its own answers. (One can do in
# between: draw new answers, have them compared, and go on with DPO. Chapter 11 does.)
#
# ## Too far
#
# β is half as large now, and the rate is higher. So the policy goes farther from the reference.
#
# **Predict.** The loss on the pairs falls, and *held-out* pairs are told apart about as well as before. What is the true
# utility of the answers where the policy is farthest from the reference?
#
# - **a** About as good as anywhere: if held-out pairs are told apart, nothing is lost.
# - **b** Clearly below the best value of the same training.
# - **c** The best of all: it is there that the policy has learned most.

# %% tags=["demo"]
predict("too_far", "")

# %% tags=["demo"]
FAR = dict(beta=PRICE / 2, lr=8e-4, updates=device.at_most(150, least=4), looks=5)
far = [train(seed, **FAR) for seed in SEEDS]
far_curves = [curve for *_, curve in far]
fig, axes = plt.subplots(2, 2, figsize=(9, 5.2))
panels = {"accuracy": "accuracy, held-out pairs", "chosen": "log p / p₀, chosen answers",
          "kl": "KL to p₀, nats"}  # fmt: skip
for ax, (name, title) in zip(axes.flat, panels.items()):
    for curve in far_curves:
        points = [(p["update"], p[name]) for p in curve]
        ax.plot(*zip(*points), color=plots.VERMILION, lw=1.2)
    ax.set(xlabel="update", title=title)
for many, color, label in (
    (curves, plots.BLUE, "before"), (far_curves, plots.VERMILION, "now"),
):  # fmt: skip
    points = [(p["kl"], p["utility"]) for curve in many for p in curve[1:]]
    axes[1, 1].plot(*zip(*points), "o", color=color, ms=4, label=label)
axes[1, 1].set(xscale="log", xlabel="KL to p₀, nats", title="true utility")
axes[1, 1].set_xticks([3, 10, 30, 100], ["3", "10", "30", "100"])
axes[1, 1].minorticks_off()
axes[1, 1].legend()
plt.show()

# %% tags=["demo"]
far_places = {"utility": "at its best", "kl": "farthest from p₀"}
far_middle = {
    place: {
        what: median(max(curve, key=lambda p: p[most])[what] for curve in far_curves)
        for what in ("utility", "kl", "accuracy")
    }
    for most, place in far_places.items()
}
plots.show_table([{"median of the seeds": place} | row for place, row in far_middle.items()])
at_best, farthest = far_middle.values()
fall = at_best["utility"] - farthest["utility"]
came = "b" if fall > 0.3 else "c" if fall < 0.02 else "a"
reveal("too_far", came, best=at_best, far=farthest)

# %% [markdown]
# There was no reward model here, and yet it is the same picture as in chapter 5. The implicit reward is a learned
# reward like any other. It has been compared with labels on the pairs alone, and the policy now gives other answers.
# Rafailov et al. (2024) measured the same on larger models. A smaller β and a higher rate led there here. More updates
# can do it too.
#
# ## One hyper-parameter?
#
# It is often written that β is the only hyper-parameter. Here are other learning rates with the same β, and another β
# with the same rate. Then come pairs of which three in ten are labelled the wrong way round, without and with smoothing.
# One seed each, and fewer updates: look for large differences only.

# %% tags=["demo"]
SHORT = dict(updates=device.at_most(64, least=4), looks=1)
turned = torch.rand(MOST, generator=torch.Generator().manual_seed(device.seed(1))) < 0.3
both = [(no, yes) if turn else (yes, no) for yes, no, turn in zip(chosen, rejected, turned)]
first, second = (numbers.cpu() for numbers in ref_train)
swapped = torch.where(turned, second, first), torch.where(turned, first, second)
noisy = (*zip(*both), tuple(numbers.to(DEVICE) for numbers in swapped))
tried = {
    "β = 0.2, rate 3e-4": {}, "rate 1e-4": {"lr": 1e-4}, "rate 1e-3": {"lr": 1e-3},
    "β = 0.8": {"beta": 0.8},
    "30 % turned round": {"records": noisy},
    "30 % turned round, ε = 0.3": {"records": noisy, "eps": 0.3},
}  # fmt: skip
settings = {name: train(0, **SHORT, **changed)[-1][-1] for name, changed in tried.items()}
columns = ("utility", "kl", "length", "chosen", "accuracy", "win rate")
plots.show_table(
    [{"seed 0": name} | {c: end[c] for c in columns} for name, end in settings.items()]
)
by_rate = [settings[name]["kl"] for name in ("rate 1e-4", "rate 1e-3")]

# %% [markdown]
# Look at the KL column first. How far the policy goes depends on the rate too, and on the number of updates. So β is one
# of *three* numbers that have to be chosen, and the loss does not tell you which values are good.
#
# With wrong labels, smoothing makes the loss ask for smaller margins. Did it help here? Compare the last two rows, and
# do not trust one seed too far. (In the exact world it moved the optimum, as you saw.)
#
# ## Exercise 9: few pairs (open)
#
# Why does DPO go too far with fixed pairs? Take a pair of answers that was labelled *once*. The likeliest preference is
# then 100 %, and no finite margin reaches it. Azar et al. (2023) propose to ask for less, with a squared loss that has
# a minimum at a finite margin. This is **IPO**:
#
# $$ \mathcal{L}_{\mathrm{IPO}} = \frac{1}{N}\sum_i\Big(h_i - \frac{1}{2\tau}\Big)^2, \qquad
# h = \log\frac{p_\theta(y^+|x)}{p_0(y^+|x)} - \log\frac{p_\theta(y^-|x)}{p_0(y^-|x)}. $$
#
# Where a pair has been judged many times, its target is met on average, and τ really is a price of leaving $p_0$.
# (`trl` divides each log-ratio by the number of its tokens; the formula in the paper does not.)
#
# Here are 96 prompts with 12 answers each, and ten labelled pairs a prompt. Answer $j$ is, for every prompt, an answer
# in manner $j$ (short, polite, …). Make the policy of which $\mathbb{E}[u] - \beta\,\mathrm{KL}$ is largest, where $u$
# is the true utility, which your function never sees. What is measured is the gain over the reference, as a share of
# what somebody who knows $u$ could gain, in six such worlds together. The bars: 0.25, 0.36, 0.46 and 0.5. DPO's
# loss, minimised to the end, misses the first. IPO with a good τ reaches it.


# %% nbgrader={"grade": false, "grade_id": "policy_from_pairs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_from_pairs(
    ref_logps: torch.Tensor, pairs: torch.Tensor, beta: float
) -> torch.Tensor:
    """Logits (prompts, answers) of a policy with a large E[utility] - beta KL to the reference.

    ref_logps: (prompts, answers), of the reference. pairs: (n, 3), integers: a prompt, the
    chosen answer and the rejected one. Both answers were drawn from the reference, and the
    label by Bradley and Terry, from the utilities. The utility of an answer is the sum of a
    number for its manner, the same for all prompts, and a number of its own; these all come
    from the standard normal distribution. (A constant for each prompt is added, which nobody
    can see.)
    """
    ### BEGIN SOLUTION
    # The policy for rewards r is p_0 exp(r / β). J is linear in the utilities, so r should be
    # what one believes of them: here the most probable ones, given the pairs and the normals.
    manner = torch.zeros(ref_logps.shape[1], requires_grad=True)
    own = torch.zeros_like(ref_logps, requires_grad=True)
    x, yes, no = pairs.T
    optimizer = torch.optim.LBFGS([manner, own], max_iter=60, line_search_fn="strong_wolfe")

    def surprise():
        optimizer.zero_grad()
        rewards = manner + own  # (prompts, answers)
        labels = -F.logsigmoid(rewards[x, yes] - rewards[x, no]).sum()
        loss = labels + manner.square().sum() / 2 + own.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(surprise)
    return ref_logps + (manner + own).detach() / beta
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "policy_from_pairs_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("policy_from_pairs", policy_from_pairs)

# %% [markdown]
# <details><summary><b>Where to think further</b></summary>
#
# - In this world one can optimise the logits directly, with your `dpo_loss` or with IPO's. What stops it before it has
#   gone too far? Few steps, smoothing and τ are three ways. Do they know how many pairs an answer was in?
# - Which policy is best if the rewards are known? (The closed form.) And if they are only guessed from a few pairs, and
#   you know from which distribution they come, what would you put in their place?
# - Ten pairs a prompt say little about one prompt. What do all 960 pairs say about the twelve manners?
# </details>
#
# ## The same functions on a real model
#
# SmolLM2-135M-Instruct again, with small matrices beside the weights (LoRA, chapter 7). The pairs: to each question a
# plain answer, and one in the manner of a pirate, which is the chosen one. The reference costs no second model here
# either: its numbers are taken before the first step.

# %% tags=["demo"]
from peft import LoraConfig, get_peft_model

from course import manners

torch.set_num_threads(device.threads())  # this one is large enough to use them
render_chat = earlier("render_chat", methods.render_chat)
generate_answers = earlier("generate_answers", methods.generate_answers)
nano_records = [data.load_jsonl(f"instructions_{split}") for split in ("train", "heldout")]
real = manners.load_manner(
    device.updates(8, least=2), models.load_nano("sft"), tokenizer, *nano_records)  # fmt: skip
print(real.note)
to_learn = real.train[: device.updates(32, least=4)]
real_pairs = {
    split: [pairs.chat_examples(real, records, k, render_chat) for k in ("answer", "plain")]
    for split, records in (("train", to_learn), ("heldout", real.heldout))
}
real_pad = real.tokenizer.pad_token_id


def real_look(model) -> dict[str, float]:
    """Of held-out questions: pairs in the right order, answers in the manner, log-ratios."""
    logps = reference_logps(model, *real_pairs["heldout"], real_pad, 8)
    said = pairs.chat_answers(real, model, render_chat, collate, generate_answers)
    up, down = (now - then for now, then in zip(logps, real_ref))
    seen = implicit_rewards(*logps, *real_ref, PRICE)
    return {"accuracy": float(seen["accuracy"]), "log p / p₀, chosen": up.mean().item(),
            "log p / p₀, rejected": down.mean().item(), "said": said,
            "in the manner": sum(map(real.in_manner, said)) / len(said)}  # fmt: skip


# %% tags=["demo"]
real_train_ref = reference_logps(real.model, *real_pairs["train"], real_pad, 8)
real_ref = reference_logps(real.model, *real_pairs["heldout"], real_pad, 8)
real_before = real_look(real.model)
torch.manual_seed(device.seed(0))
lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
lora_model = get_peft_model(real.model, lora)
trainable = [p for p in lora_model.parameters() if p.requires_grad]
yes, no = real_pairs["train"]
drawn = comparisons.epochs(len(yes), 4, device.updates(8, least=2), device.seed(0))
history = train_dpo(
    lambda rows: pair_logps(
        lora_model, [yes[i] for i in rows], [no[i] for i in rows], real_pad),
    *real_train_ref, (torch.tensor(batch) for batch in tqdm(list(drawn), desc="LoRA")),
    torch.optim.AdamW(trainable, weight_decay=0.0), lambda step: 1e-3, beta=PRICE,
)  # fmt: skip
real_after = real_look(lora_model)
real_table = {"before": real_before, "after": real_after}
plots.show_table([{real.name: when} | {k: v for k, v in seen.items() if k != "said"}
                  for when, seen in real_table.items()])  # fmt: skip
columns = zip(real.heldout, real_before["said"], real_after["said"])
plots.show_table([{"asked": r["prompt"], "before": a, "after": b} for r, a, b in columns][:6])

# %% [markdown]
# The pairs are told apart after a few steps, and the log-ratios move far. The two answers of a pair share few words here,
# so the chosen one may well become likelier. Whether the model now *speaks* in that manner is another question. Whether
# it still answers what was asked is a third one. Read the last column. A model can prefer one of two answers, and say
# something else.
#
# ## What you measured

# %% tags=["demo"]
drawn_text = ", ".join(f"{m:.2f} ({n:,})" for n, m in zip(COUNTS, middle))
print(f"""In this run:
- The utility came back out of p* up to {recovery_error:.0e}, but for a constant a prompt.
- Total variation to p*: {at_start:.2f} at p₀, {median(exact):.4f} with exact preferences
  (median of five starts); with so many drawn labels {drawn_text}.
- Your loss and that of trl differ by {trl_difference:.0e}.
- Weights, gradients, optimizer: {share_of_ppo:.0%} of what PPO's four models take.
- log p / p₀ of held-out answers: chosen {up:+.1f}, rejected {down:+.1f} nats.
- Win rate over nano-sft: {median(wins):.2f} (median of {len(wins)} seeds), true utility from \
{before["utility"]:.2f} to {median(e["utility"] for e in ends):.2f}.
- At {level["kl"]:.1f} nats DPO has a utility of {level["first"]:.2f}, PPO of \
{level["second"]:.2f}.
- Seconds of training: DPO {table["DPO"]["seconds"]:.0f}, PPO {table["PPO"]["seconds"]:.0f}.
- Too far: utility {at_best["utility"]:.2f} at {at_best["kl"]:.0f} nats, and \
{farthest["utility"]:.2f} at {farthest["kl"]:.0f}.
- KL by the learning rate, 1e-4 and 1e-3: {by_rate[0]:.1f} and {by_rate[1]:.1f} nats.
- {real.name}, before and after: held-out pairs in the right order \
{real_before["accuracy"]:.2f} and {real_after["accuracy"]:.2f},
  answers in the manner {real_before["in the manner"]:.2f} and \
{real_after["in the manner"]:.2f}.""")

# %% [markdown]
# ## Questions
#
# <details><summary>1. DPO is said to be more stable than PPO, to have one hyper-parameter, two models instead of four, and no
# sampling. What of that did you see?</summary>
#
# No sampling: true, and it is why a step is cheap and why the pairs grow old. Two models: one is enough, with the reference's
# numbers computed once. One hyper-parameter: the rate and the number of updates decide as much. More stable: the *loss* is, but
# the policy it leads to can get worse while the loss falls. “State of the art”: the paper of 2023 found DPO as good as PPO or
# better, on three tasks. A later comparison (Xu et al. 2024) found PPO ahead in all of its tasks, when it is tuned well.
# </details>
# <details><summary>2. Somebody averages the log-probabilities over the tokens instead of summing them. What changes?</summary>
#
# The log-ratios are no longer those of answers, so the derivation does not hold: the constant that cancels belongs to a policy
# over whole answers. Each log-ratio is divided by the length of its answer, so the same β means something else. Some methods do
# it on purpose (SimPO, Meng et al. 2024), with another derivation.
# </details>
# <details><summary>3. Both log-probabilities of a pair fall, and the loss falls too. How?</summary>
#
# The rejected one fell farther. The loss knows only the margin. If it is to be avoided, one can add the log-likelihood of the
# chosen answer to the loss, as with fine-tuning; several methods do.
# </details>
# <details><summary>4. A pair's two answers are equal after cutting both off at a limit. What does it do to the training?</summary>
#
# Its margin is 0 for every policy: a loss of log 2, no gradient, and half a point in the accuracy. It does nothing, but it
# counts in the mean, and so makes all other steps smaller.
# </details>
#
# ## What was not shown
#
# Large models, real people, answers of more than a few words. PPO's settings are those of chapter 5 and were not tuned again;
# DPO's were chosen by looking at a few runs, so the comparison says little about who is better in general. IPO was tried
# on a table only. Pairs drawn from the *policy* while it learns (online DPO) come in chapter 11.
#
# **To read**: Rafailov et al. 2023, *Direct Preference Optimization: Your Language Model is Secretly a Reward Model*
# (arXiv:2305.18290); Azar et al. 2023, *A General Theoretical Paradigm to Understand Learning from Human Preferences* (IPO,
# arXiv:2310.12036); Mitchell 2023, *A note on DPO with noisy preferences & relationship to IPO* (cDPO,
# ericmitchell.ai/cdpo.pdf); Pal et al. 2024, *Smaug: Fixing Failure Modes of Preference Optimisation with DPO-Positive*
# (arXiv:2402.13228); Razin et al. 2024, *Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization*
# (arXiv:2410.08847); Rafailov et al. 2024, *Scaling Laws for Reward Model Overoptimization in Direct Alignment Algorithms*
# (arXiv:2406.02900); Meng et al. 2024, *SimPO: Simple Preference Optimization with a Reference-Free Reward* (arXiv:2405.14734);
# Xu et al. 2024, *Is DPO Superior to PPO for LLM Alignment? A Comprehensive Study* (arXiv:2404.10719).

# %%
progress("06_dpo")
