# %% [markdown]
# # 3 · Learning from a reward: REINFORCE
#
# Fine-tuning shows a model what to say. Now you tell it only *how good* what it said was, and it has to find the rest
# by itself. You derive the gradient for that, check every line of the derivation against exact numbers in a world small
# enough to list all answers, and then train the nano model with the very same functions.
#
# **You will be able to**
# - derive the policy gradient, and say where the θ inside the reward goes;
# - turn it into a loss that an optimiser can use, with the sign, the means and the mask in the right places;
# - say what a baseline may depend on, and how much variance it removes;
# - write the KL term in its four dresses: in the objective, in the reward, as an estimate, in the optimum;
# - train a language model on a reward, and read its curves.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 the objective | ● ○ ○ | 15 | | 6 the KL term becomes a reward | ● ○ ○ | 5 |
# | a derivation, in writing | ● ● ○ | 25 | | 7 three estimators of the KL | ● ○ ○ | 10 |
# | 2 the gradient | ● ● ○ | 15 | | 8 the optimum | ● ● ○ | 15 |
# | 3 the gradient from samples | ● ● ● | 20 | | 9 all of it together | ● ● ○ | 15 |
# | 4 a loss with that gradient | ● ● ○ | 10 | | 10 where an answer ends | ● ● ○ | 10 |
# | 5 a baseline | ● ○ ○ | 10 | | 11 log-probabilities of a rollout | ● ● ● | 20 |
#
# You need chapter 2, or to know what the log-probability of an answer is.

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F

from autograder import check, progress

# %% tags=["demo"]
import itertools
import random
import time

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import data, device, models, plots, widgets
from data.questions import understand
from data.utility import CLOSINGS, OPENINGS, appraise, utility

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more, and loses much where cores are shared
print(device.describe_machine())
DEVICE = device.device()

# %% [markdown]
# ## A world that can be listed
#
# Three questions. To each, somebody may answer with the right word or one of three wrong ones, short or as a sentence,
# with or without a courteous opening and closing: 32 answers. The policy $p_0$ that we start from gives each of them
# some probability. The **reward** $Q$ is the true utility of this course's world: 3 points for being right, 1.2 for an
# opening, 1 for a closing.

# %% tags=["demo"]
PROMPTS = ["what is the capital of arlen ?", "what is 3 plus 4 ?", "what animal has gorland ?"]


def all_answers(prompt: str) -> dict[str, float]:
    """Every answer of the small world, and its probability under p_0."""
    question, found = understand(prompt), {}
    words = (question.word, *question.candidates[:3])
    for word, opening, closing, full in itertools.product(words, ("", OPENINGS[1]), ("", CLOSINGS[0]), (True, False)):
        parts = (opening, question.full(word) if full else question.short(word), closing)
        prob = (0.4 if word == question.word else 0.2) * (0.3 if opening else 0.7) * (0.3 if closing else 0.7)
        found[" ".join(part for part in parts if part)] = prob * (0.7 if full else 0.3)
    return found


ANSWERS = [list(all_answers(prompt)) for prompt in PROMPTS]
ref_logits = torch.tensor([list(all_answers(prompt).values()) for prompt in PROMPTS]).log()  # (prompts, answers)
rewards = torch.tensor([[utility(p, a) for a in row] for p, row in zip(PROMPTS, ANSWERS)])  # (prompts, answers)
ref_logps = ref_logits.log_softmax(-1)
BETA = 1.0
picked = [0, 1, 4, 7, 8, 9, 15]
plots.show_table(
    [{"answer": ANSWERS[0][i], "p_0": ref_logps[0, i].exp().item(), "reward": rewards[0, i].item()} for i in picked],
    caption=f"{PROMPTS[0]} — some of its {len(ANSWERS[0])} answers",
)

# %% [markdown]
# ## What we want
#
# A policy $p_\theta$ whose answers are good, and which has not gone far from $p_0$. For one prompt,
#
# $$ J(\theta) = \mathbb{E}_{a\sim p_\theta}\,Q(a) \;-\; \beta\,\mathrm{KL}(p_\theta \,\|\, p_0), \qquad
# \mathrm{KL}(p_\theta\|p_0) = \mathbb{E}_{a\sim p_\theta} \log\frac{p_\theta(a)}{p_0(a)}, $$
#
# and over several prompts the mean of that. β is the price of leaving $p_0$, in points of reward per nat.
#
# ## Exercise 1: the objective
#
# In this world every expectation is a sum over 32 answers. Write J exactly.


# %% nbgrader={"grade": false, "grade_id": "exact_objective", "locked": false, "schema_version": 3, "solution": true, "task": false}
def exact_objective(logits: torch.Tensor, ref_logits: torch.Tensor, rewards: torch.Tensor, beta: float) -> torch.Tensor:
    """J = E[reward] - beta KL(policy || reference), averaged over the prompts.

    logits, ref_logits, rewards: (prompts, answers). Policy and reference are the softmax over the answers; the policy's
    logits may be of any size. Expectation and KL are those of the policy, in nats, summed over all answers. Returns a
    scalar through which a gradient flows to the policy's logits.
    """
    ### BEGIN SOLUTION
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)  # (prompts, answers)
    shaped = rewards - beta * (logps - ref_logps)
    return (logps.exp() * shaped).sum(-1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "exact_objective_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("exact_objective", exact_objective)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `log_softmax` both; the probabilities are the `exp` of one of them. The sum over answers of p · (Q − β log-ratio) is
# everything for one prompt. Then the mean over prompts.
# </details>

# %% tags=["demo"]
nothing_paid = exact_objective(ref_logits, ref_logits, rewards, BETA).item()
print(f"at p_0 the KL is zero, so J is the expected reward: {nothing_paid:.3f}")

# %% [markdown]
# ### The sign of the KL term
#
# The lecture's formula (2) has a **plus** in front of the KL. It is worth seeing what that asks for. Climb both
# objectives with exact gradients; the other sign is simply a negative β.


# %% tags=["demo"]
def climb(beta: float, steps: int = 800) -> tuple[torch.Tensor, list[float]]:
    """Gradient ascent on the exact objective from p_0: the final logits, and the largest probability on the way."""
    logits = ref_logits.clone().requires_grad_()
    optimizer, largest = torch.optim.Adam([logits], lr=0.1), []
    for _ in range(steps):
        optimizer.zero_grad()
        (-exact_objective(logits, ref_logits, rewards, beta)).backward()
        optimizer.step()
        largest.append(logits.softmax(-1).amax(-1).mean().item())
    return logits.detach(), largest


climbed, largest_minus = climb(BETA)
climbed_wrongly, largest_plus = climb(-BETA)

# %% tags=["demo"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
left.plot(largest_minus, label="− β KL", color=plots.BLUE)
left.plot(largest_plus, label="+ β KL", color=plots.VERMILION)
left.set(xlabel="update", ylabel="largest probability", ylim=(0, 1.05), title="One answer, or many")
left.legend(loc="center right")
for logits, color, name in (
    (ref_logits, plots.GREY, "p₀"),
    (climbed, plots.BLUE, "−"),
    (climbed_wrongly, plots.VERMILION, "+"),
):
    right.plot(logits[0].softmax(-1).sort(descending=True).values, color=color, marker="o", markersize=3, label=name)
right.set(xlabel="answers, likeliest first", title="Where it ends, first prompt")
right.legend()
plt.show()
mass_plus, mass_minus = largest_plus[-1], largest_minus[-1]
print(f"largest probability: {mass_minus:.2f} with minus, {mass_plus:.3f} with plus")
print(f"with plus, everything goes to: “{ANSWERS[0][climbed_wrongly[0].argmax()]}”")

# %% [markdown]
# With a plus the policy is *paid* for leaving $p_0$. The KL is convex in the probabilities and the expected reward is
# linear, so their sum is convex, and a convex function over a simplex is largest at a corner: one answer, always the
# same. With a minus the objective is concave, and its optimum is spread over all good answers. The sign is a minus. You
# will write that optimum down in exercise 8.
#
# ## The gradient, line by line
#
# Before, the function under an expectation depended on θ, and the samples did not. Here θ is in the *distribution*.
# Forget the KL for a moment, and let $f(a)$ be any number for each answer, the same for every θ. Then
#
# $$ \nabla_\theta \sum_a p_\theta(a) f(a) \;\overset{(1)}{=}\; \sum_a f(a)\,\nabla p_\theta(a)
# \;\overset{(2)}{=}\; \sum_a p_\theta(a)\, f(a)\, \frac{\nabla p_\theta(a)}{p_\theta(a)}
# \;\overset{(3)}{=}\; \mathbb{E}_{a\sim p_\theta}\big[f(a)\,\nabla \log p_\theta(a)\big]. $$
#
# (1) the gradient goes under the sum; (2) multiply and divide by $p_\theta(a)$, so that it is an expectation again; (3)
# $\nabla p / p = \nabla \log p$. This is the **score-function** gradient (Williams 1992). Its worth: an expectation can be
# estimated from samples, and nothing is asked of $f$ but its value.
#
# ## A derivation, in writing
#
# But J is not of that form: with the KL in it, the integrand $f_\theta(a) = Q(a) - \beta \log\frac{p_\theta(a)}{p_0(a)}$
# depends on θ as well. Derive $\nabla_\theta J$ for one prompt, starting from $J(\theta) = \sum_a p_\theta(a)\,
# f_\theta(a)$, and end with an expression that can be estimated from samples.
#
# A person reads it. Six points:
#
# | points | for |
# |---|---|
# | 2 | the product rule: both terms are there |
# | 1 | the first term as an expectation, by $\nabla p = p\,\nabla\log p$ |
# | 2 | the second term worked out, with the reason for what it comes to |
# | 1 | the result in one line, and what it says about the θ inside the reward |

# %% [markdown] nbgrader={"grade": true, "grade_id": "derivation", "locked": false, "points": 6, "schema_version": 3, "solution": true, "task": false}
# By the product rule there are two terms:
#
# $$ \nabla J = \sum_a f_\theta(a)\,\nabla p_\theta(a) + \sum_a p_\theta(a)\,\nabla f_\theta(a). $$
#
# In the first, replace the gradient of p by p times the gradient of its logarithm; it becomes
# $\mathbb{E}[f_\theta(a)\,\nabla\log p_\theta(a)]$ over answers of the policy.
#
# In the second, Q and the reference hold no parameters, so what remains of the integrand's gradient is
# $-\beta\,\nabla\log p_\theta(a)$. Hence the second term is
# $-\beta\sum_a p_\theta(a)\nabla\log p_\theta(a) = -\beta\sum_a\nabla p_\theta(a) = -\beta\,\nabla\sum_a p_\theta(a)$,
# and since probabilities always sum to one, that is the gradient of a constant: zero.
#
# So $\nabla J = \mathbb{E}\big[\big(Q(a) - \beta\log\tfrac{p_\theta(a)}{p_0(a)}\big)\nabla\log p_\theta(a)\big]$: the
# parameters inside the reward contribute nothing, and it may be held constant under the gradient.

# %% [markdown]
# **Check yourself with numbers.** Each line of a derivation is a claim about numbers. Here are the quantities it talks
# about, for a policy somewhere on the way; the left-hand side of line (1) is taken by finite differences, so that nothing
# is assumed. In float64, as differences of close numbers are taken.

# %% tags=["demo"]
theta = (0.5 * ref_logits + 0.5 * climbed)[:1].double()  # one prompt, (1, answers)
Q, reference = rewards[:1].double(), ref_logps[:1].double()
probs = theta.softmax(-1)[0]
jacobian = torch.autograd.functional.jacobian(lambda t: t.softmax(-1), theta[0])  # ∇p(a), one row an answer
scores = torch.autograd.functional.jacobian(lambda t: t.log_softmax(-1), theta[0])  # ∇ log p(a), one row an answer
f = (Q - BETA * (theta.log_softmax(-1) - reference))[0]

step = 1e-5 * torch.eye(theta.shape[1], dtype=torch.float64)
differences = torch.stack(
    [
        (exact_objective(theta + s, reference, Q, BETA) - exact_objective(theta - s, reference, Q, BETA)) / 2e-5
        for s in step
    ]
)
first, second = f @ jacobian, probs @ (-BETA * scores)  # the two terms of the product rule
as_expectation = (probs * f) @ scores
lines = {
    "two terms against finite differences": (first + second - differences).abs().max().item(),
    "first term as an expectation": (first - as_expectation).abs().max().item(),
    "second term, largest entry": second.abs().max().item(),
}
plots.show_table([{"line": name, "largest difference": f"{gap:.1e}"} for name, gap in lines.items()])

# %% [markdown]
# If your derivation says that the second term is something else than what the last line shows, look at it again.
#
# ## Exercise 2: the gradient
#
# For a softmax the score is simple: $\nabla_\theta \log p_\theta(a) = \text{onehot}(a) - p_\theta$. Write the exact
# $\mathbb{E}[f(a)\nabla\log p_\theta(a)]$, the mean over prompts included.


# %% nbgrader={"grade": false, "grade_id": "score_function_gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}
def score_function_gradient(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """E[f(a) ∇ log p(a)] by enumeration, averaged over the prompts; ∇ is with respect to the logits.

    logits, values: (prompts, answers); the policy p is the softmax over the answers, of logits of any size, and values
    holds f(a), constants even if they were computed from the logits. Returns the gradient, (prompts, answers).
    """
    ### BEGIN SOLUTION
    probs, values = logits.softmax(-1).detach(), values.detach()  # (prompts, answers)
    expected = (probs * values).sum(-1, keepdim=True)  # (prompts, 1)
    return probs * (values - expected) / len(logits)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "score_function_gradient_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("score_function_gradient", score_function_gradient)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Sum over $a$ the vectors $p(a) f(a) (\text{onehot}(a) - p)$. Entry $b$ comes to $p(b)\,(f(b) - \sum_a p(a) f(a))$:
# how much better the answer is than the average answer. And the average over prompts?
# </details>
#
# Now it must agree with what autograd says about your objective.

# %% tags=["demo"]
halfway = 0.5 * ref_logits + 0.5 * climbed
logits = halfway.clone().requires_grad_()
exact_objective(logits, ref_logits, rewards, BETA).backward()
shaped_values = rewards - BETA * (halfway.log_softmax(-1) - ref_logps)  # Q - β log(p/p_0) of every answer
exact_gradient = score_function_gradient(halfway, shaped_values)
autograd_gap = (exact_gradient - logits.grad).abs().max().item()
extra_term = (-BETA * score_function_gradient(halfway, torch.ones_like(halfway))).abs().max().item()
print(f"score function against autograd of J: {autograd_gap:.1e}")
print(f"the extra term, -β E[∇ log p]:        {extra_term:.1e}")

# %% [markdown]
# The lecture applies REINFORCE, derived for an $f$ without θ, to an objective whose integrand has θ in it. The result is
# right all the same, for the reason you have just written down.
#
# ## Exercise 3: the gradient from samples
#
# A language model has more answers than can be listed. So draw $k$ answers for each prompt and average. This is
# **REINFORCE** in its plainest form:
#
# $$ \hat g = \frac1k\sum_{i=1}^{k} Q(a_i)\,\nabla\log p_\theta(a_i), \qquad a_i\sim p_\theta. $$
#
# The judge draws many of your estimates. Their mean must be the exact gradient, within its standard error, and they must
# scatter as independent samples do.


# %% nbgrader={"grade": false, "grade_id": "policy_gradient_estimate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_gradient_estimate(
    logits: torch.Tensor, rewards: torch.Tensor, k: int, generator: torch.Generator
) -> torch.Tensor:
    """One Monte-Carlo estimate of E[reward(a) ∇ log p(a)], averaged over the prompts, with respect to the logits.

    logits, rewards: (prompts, answers). For each prompt draw k answers from the softmax of its logits, all independent of
    each other and with the generator, and average reward(a) ∇ log p(a) over them. No baseline. Returns (prompts, answers).
    """
    ### BEGIN SOLUTION
    probs = logits.softmax(-1).detach()  # (prompts, answers)
    actions = torch.multinomial(probs, k, replacement=True, generator=generator)  # (prompts, k)
    scores = F.one_hot(actions, probs.shape[-1]) - probs[:, None]  # ∇ log p of each sample: (prompts, k, answers)
    return (rewards.gather(1, actions)[..., None] * scores).mean(1) / len(probs)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "policy_gradient_estimate_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("policy_gradient_estimate", policy_gradient_estimate)

# %% [markdown]
# <details><summary><b>Hint 1</b>: drawing</summary>
#
# `torch.multinomial(probs, k, replacement=True, generator=generator)` gives the numbers of the answers, (prompts, k).
# What is its default for `replacement`?
# </details>
# <details><summary><b>Hint 2</b>: the score of a sample</summary>
#
# `F.one_hot(actions, answers)` is (prompts, k, answers); subtract the probabilities, `probs[:, None]`. Multiply by the
# rewards, take the mean over k, and divide by the number of prompts.
# </details>

# %% tags=["demo"]
ESTIMATES = device.at_most(3000, least=30)
generator = torch.Generator().manual_seed(0)
estimates = torch.stack(
    [policy_gradient_estimate(halfway, shaped_values, 4, generator) for _ in tqdm(range(ESTIMATES))]
)  # (estimates, prompts, answers)
standard_error = estimates.std(0) / math.sqrt(ESTIMATES)
deviation = (estimates.mean(0) - exact_gradient) / standard_error  # in standard errors, each of the 96 numbers
overall = ((estimates.mean(0) - exact_gradient).norm() / standard_error.norm()).item()
within_three = (deviation.abs() < 3).float().mean().item()
print(f"length of the mean's error, in standard errors: {overall:.2f}")
print(f"entries within three standard errors of the exact gradient: {within_three:.0%}")

# %% [markdown]
# The mean is right. A single estimate is another matter: it is mostly noise.

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(8, 3))
ax.plot(estimates[0, 0], color=plots.ORANGE, linewidth=1, label="one estimate")
ax.plot(estimates.mean(0)[0], color=plots.BLUE, linewidth=5, alpha=0.35, label=f"mean of {ESTIMATES}")
ax.plot(exact_gradient[0], color=plots.BLUE, linewidth=1.2, label="exact")
ax.set(xlabel="answer", ylabel="gradient at its logit", title="Right on average")
ax.legend()
plt.show()

# %% [markdown]
# ## Exercise 4: a loss with that gradient
#
# Nobody writes scores by hand for a transformer. Autograd differentiates log p, if we hand it a **surrogate loss** whose
# gradient is $-\hat g$:
#
# $$ \mathcal L = -\frac1n\sum_{i=1}^n A_i \log p_\theta(a_i), \qquad \log p_\theta(a_i) = \sum_t \log p_\theta(a_{i,t}\mid\dots). $$
#
# The weight $A_i$ is called the **advantage**; so far it is just the reward. It is a constant. The loss's *value* means
# nothing, it may well go up while the policy improves: only its gradient was asked for.


# %% nbgrader={"grade": false, "grade_id": "reinforce_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reinforce_loss(logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient is minus the policy-gradient estimate: -advantage times log p(answer), averaged over the batch.

    logps: (batch, seq), log-probabilities of sampled tokens; mask: (batch, seq), 1 or True on the tokens of the answer, 0
    or False behind it, where logps mean nothing; advantages: (batch,), constants even if they were computed from logps.
    log p(answer) is the sum over the answer's tokens. Returns a scalar through which a gradient flows to logps alone.
    """
    ### BEGIN SOLUTION
    answer_logps = (logps * mask).sum(-1)  # (batch,)
    return -(advantages.detach() * answer_logps).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "reinforce_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("reinforce_loss", reinforce_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Multiply by the mask, sum over the tokens, multiply by the detached advantages, take the mean over the batch, and mind
# the sign.
# </details>

# %% tags=["demo"]
actions = torch.multinomial(halfway.softmax(-1), 4, replacement=True, generator=torch.Generator().manual_seed(5))
logits = halfway.clone().requires_grad_()
sample_logps = logits.log_softmax(-1).gather(1, actions).reshape(-1, 1)  # (prompts * k, 1): answers of one token
drawn_values = shaped_values.gather(1, actions).flatten()
reinforce_loss(sample_logps, drawn_values, torch.ones_like(sample_logps)).backward()
by_hand = policy_gradient_estimate(halfway, shaped_values, 4, torch.Generator().manual_seed(5))
loss_gap = (logits.grad + by_hand).abs().max().item()
print(f"gradient of the loss against minus the estimate, same samples: {loss_gap:.1e}")

# %% [markdown]
# ## Exercise 5: a baseline
#
# $\mathbb{E}[b\,\nabla\log p] = b\cdot 0$ for every constant $b$. So any number may be subtracted from the rewards
# without changing the expectation: a **baseline**. It must not depend on the answer it is subtracted from; on the prompt,
# and on *other* answers, it may.
#
# A good one costs nothing if several answers were drawn for each prompt: the mean of the others. That is **leave one
# out**.


# %% nbgrader={"grade": false, "grade_id": "leave_one_out_advantages", "locked": false, "schema_version": 3, "solution": true, "task": false}
def leave_one_out_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """Each reward minus the mean reward of the *other* answers to the same prompt.

    rewards: (prompts, k), k >= 2 answers sampled for each prompt. Returns (prompts, k). The rewards are not changed.
    """
    ### BEGIN SOLUTION
    k = rewards.shape[1]
    others = (rewards.sum(1, keepdim=True) - rewards) / (k - 1)  # (prompts, k)
    return rewards - others
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "leave_one_out_advantages_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("leave_one_out_advantages", leave_one_out_advantages)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# The sum of the others is the sum of all minus your own. How many others are there?
# </details>
#
# How much does it help? Draw many batches of four answers a prompt, and compare the scatter of the gradient. On the
# horizontal axis a constant baseline; $b = 0$ is no baseline at all.


# %% tags=["demo"]
def many_estimates(logits, values, k: int, advantages_of, n: int = 4000, seed: int = 0) -> torch.Tensor:
    """n gradient estimates (n, prompts, answers) at once; advantages_of((n * prompts, k) values) weighs the scores."""
    probs = logits.softmax(-1)
    actions = torch.multinomial(probs, n * k, replacement=True, generator=torch.Generator().manual_seed(seed))
    drawn = values.gather(1, actions).view(len(probs), n, k).transpose(0, 1)  # (n, prompts, k)
    advantages = advantages_of(drawn.reshape(-1, k)).view(drawn.shape)
    places = actions.view(len(probs), n, k).transpose(0, 1)
    hits = torch.zeros(n, *probs.shape).scatter_add_(2, places, advantages)
    return (hits - advantages.sum(-1, keepdim=True) * probs) / (k * len(probs))


def scatter_of(estimates: torch.Tensor) -> float:
    """Root of the summed variances of all entries."""
    return estimates.var(0).sum().sqrt().item()


K = 4
constants = torch.linspace(-2, 8, 21).tolist()
scatter_constant = [scatter_of(many_estimates(halfway, shaped_values, K, lambda v, b=b: v - b)) for b in constants]
kinds = {
    "no baseline": lambda v: v,
    "constant: the expected value": lambda v: v - (halfway.softmax(-1) * shaped_values).sum(-1).mean(),
    "leave one out": leave_one_out_advantages,
    "mean of the group, itself included": lambda v: v - v.mean(1, keepdim=True),
}
compared = {name: many_estimates(halfway, shaped_values, K, kind) for name, kind in kinds.items()}
scatter = {name: scatter_of(found) for name, found in compared.items()}
size = {  # the part of the mean estimate along the exact gradient: 1 where there is no bias
    name: ((found.mean(0) * exact_gradient).sum() / exact_gradient.square().sum()).item()
    for name, found in compared.items()
}
plots.show_table(
    [
        {"baseline": name, "scatter of one estimate": scatter[name], "mean along the exact gradient": size[name]}
        for name in kinds
    ]
)

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(7.5, 3.4))
ax.plot(constants, scatter_constant, color=plots.BLUE, label="constant baseline b")
ax.axhline(scatter["leave one out"], color=plots.GREEN, label="leave one out")
ax.axhline(exact_gradient.norm().item(), color=plots.GREY, linestyle="--", label="length of the exact gradient")
ax.plot([0], [scatter["no baseline"]], "o", color=plots.VERMILION, label="none")
ax.set(xlabel="b", ylabel="scatter of the estimate", ylim=(0, None), title=f"What a baseline removes, k = {K}")
ax.legend(loc="upper center", fontsize=8)
plt.show()

# %% [markdown]
# The estimate is noisier than the gradient is long, whatever you subtract. But leave-one-out comes close to the best
# constant, which nobody knows beforehand, and a constant that is far off is no better than none.
#
# Now read the last column of the table. The mean of the whole group contains the answer's own reward, so it is a baseline
# that *depends on the action*: the gradient comes out too small by the factor $(k-1)/k$. It is only a matter of scale
# here, and GRPO (Shao et al. 2024) lives with it; but it is not the gradient.
#
# The lecture says that REINFORCE is not used in practice. Plain REINFORCE is not. With a leave-one-out baseline it is
# **RLOO** (Kool et al. 2019; Ahmadian et al. 2024); with the group's mean, divided by the group's standard deviation, it
# is the advantage of **GRPO**, which reasoning models are trained with. They are one family, and you have just written
# its heart.
#
# ## Exercise 6: the KL term becomes a reward
#
# Your derivation ended with the **KL-shaped reward**: each sampled answer gets
#
# $$ Q(a) - \beta\,\big(\log p_\theta(a) - \log p_0(a)\big), $$
#
# as a number. An answer that has become likelier than it was under $p_0$ pays for it, one that has become less likely is
# paid.


# %% nbgrader={"grade": false, "grade_id": "kl_shaped_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_shaped_rewards(rewards: torch.Tensor, logps: torch.Tensor, ref_logps: torch.Tensor, beta: float) -> torch.Tensor:
    """reward - beta (log p - log p_0) of each sampled answer, as a constant: no gradient flows through it.

    rewards, logps, ref_logps: tensors of the same shape, of any; logps under the policy, ref_logps under the reference, in
    nats. Returns a new tensor of that shape, detached from all three.
    """
    ### BEGIN SOLUTION
    return (rewards - beta * (logps - ref_logps)).detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_shaped_rewards_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("kl_shaped_rewards", kl_shaped_rewards)

# %% [markdown]
# ## Exercise 7: three estimators of the KL
#
# You will want to *watch* the KL while training, and there you have only samples. With $d = \log p_\theta(a) - \log
# p_0(a)$, Schulman (2020) compares three estimators,
#
# $$ k_1 = d, \qquad k_2 = \tfrac12 d^2, \qquad k_3 = e^{-d} - 1 + d. $$
#
# $k_1$ is the definition. $k_3$ adds to it $e^{-d}-1$, which is zero on average, and makes every single value positive.
# Beware of the direction: the samples come from $p_\theta$.


# %% nbgrader={"grade": false, "grade_id": "kl_estimates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_estimates(logps: torch.Tensor, ref_logps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """k1, k2, k3 of each sample: estimates of KL(policy || reference) from answers drawn from the policy.

    logps, ref_logps: log-probabilities of the samples, of the same shape. Returns three tensors of that shape, not
    averaged: with d = logps - ref_logps, they are d, d²/2, and exp(-d) - 1 + d.
    """
    ### BEGIN SOLUTION
    log_ratio = logps - ref_logps
    return log_ratio, 0.5 * log_ratio**2, torch.expm1(-log_ratio) + log_ratio
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_estimates_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("kl_estimates", kl_estimates)

# %% [markdown]
# In this world the mean and the spread of each estimator can be computed exactly, as sums over all answers. Walk from
# $p_0$ to the optimum and beyond, towards the point mass.

# %% tags=["demo"]
walk = [*torch.linspace(0.05, 1.6, 32).tolist()]
measured = {name: {"bias": [], "spread": []} for name in ("k1", "k2", "k3")}
exact_kls = []
for t in walk:
    logps = ((1 - t) * ref_logits + t * climbed).double().log_softmax(-1)
    start_logps, weights = ref_logits.double().log_softmax(-1), logps.exp() / len(PROMPTS)
    exact_kls.append((weights * (logps - start_logps)).sum().item())
    for name, estimate in zip(measured, kl_estimates(logps, start_logps)):
        mean = (weights * estimate).sum().item()
        measured[name]["bias"].append(mean - exact_kls[-1])
        measured[name]["spread"].append((weights * (estimate - mean) ** 2).sum().sqrt().item())

# %% tags=["demo"]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
for (name, found), color in zip(measured.items(), (plots.BLUE, plots.ORANGE, plots.GREEN)):
    left.plot(exact_kls, found["bias"], label=name, color=color, linestyle="--" if name == "k3" else "-")
    right.plot(exact_kls, found["spread"], label=name, color=color)
left.set(xlabel="exact KL, nats", title="Bias")
right.set(xlabel="exact KL, nats", title="Spread of one sample")
left.legend()
plt.show()
near = 2  # a policy near the reference
plots.show_table(
    [
        {"": f"exact KL {exact_kls[i]:.3f}"}
        | {f"{name} {what}": found[what][i] for name, found in measured.items() for what in ("bias", "spread")}
        for i in (near, 19, len(walk) - 1)
    ]
)

# %% [markdown]
# $k_1$ and $k_3$ have no bias anywhere. Near the reference, where training begins, $k_3$ scatters far less than $k_1$, and
# $k_2$, biased as it is, is nearly as good. Far away it is the other way round: there the exponential in $k_3$ costs more
# than it ever saved.
#
# All three are for *measuring*. As a reward you need $k_1$: it is what stands inside the expectation.
#
# ## Exercise 8: the optimum
#
# With the right sign the problem has an answer in closed form:
#
# $$ p_*(a) = \frac{1}{Z}\,p_0(a)\,e^{Q(a)/\beta}, \qquad Z = \sum_a p_0(a)\,e^{Q(a)/\beta}. $$
#
# Put $Q = \beta\log\frac{p_*}{p_0} + \beta\log Z$ into J and see: $J(\theta) = \beta\log Z - \beta\,\mathrm{KL}(p_\theta\|p_*)$.
# A KL is never negative and zero only between equals, so $p_*$ is the maximum, and β log Z is the most there is to get.
#
# For a language model Z cannot be summed. Here it can. Mind small β.


# %% nbgrader={"grade": false, "grade_id": "optimal_policy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def optimal_policy(ref_logps: torch.Tensor, rewards: torch.Tensor, beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The policy that makes E[reward] - beta KL(policy || reference) largest, and log Z.

    ref_logps: log-probabilities of the reference, minus infinity where it excludes an answer; rewards, of any size: both
    (prompts, answers); beta > 0, possibly tiny. Returns the optimum's probabilities (prompts, answers), and log Z
    (prompts,), where Z = sum over a of p_0(a) exp(reward(a) / beta).
    """
    ### BEGIN SOLUTION
    unnormalised = ref_logps + rewards / beta  # (prompts, answers), in logarithms
    log_z = unnormalised.logsumexp(-1)  # (prompts,)
    return (unnormalised - log_z[:, None]).exp(), log_z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "optimal_policy_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("optimal_policy", optimal_policy)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Stay with logarithms: `logsumexp` of log p_0 + Q/β is log Z, and one `exp` at the very end gives the probabilities.
# </details>


# %% tags=["demo"]
def total_variation(probs: torch.Tensor, other: torch.Tensor) -> float:
    """Half the summed differences of two distributions, averaged over the prompts: 0 equal, 1 disjoint."""
    return 0.5 * (probs - other).abs().sum(-1).mean().item()


best_probs, log_z = optimal_policy(ref_logps, rewards, BETA)
best_value = BETA * log_z.mean().item()
climbed_value = exact_objective(climbed, ref_logits, rewards, BETA).item()
climbed_distance = total_variation(climbed.softmax(-1), best_probs)
print(f"β log Z = {best_value:.4f}; J where the exact gradient led: {climbed_value:.4f}")
print(f"total variation to p*: {total_variation(ref_logps.exp(), best_probs):.3f} at p_0, {climbed_distance:.5f} there")

# %% [markdown]
# Move the price, and move what is paid for. At a high β nothing happens; at a low one a single answer is left.

# %% tags=["demo"]
verdicts = [appraise(PROMPTS[0], answer) for answer in ANSWERS[0]]
parts = {
    "right": (3.0, torch.tensor([float(v.right) for v in verdicts])),
    "opening": (1.2, torch.tensor([float(v.openings > 0) for v in verdicts])),
    "closing": (1.0, torch.tensor([float(v.closings > 0) for v in verdicts])),
}
widgets.optimum_explorer(ANSWERS[0], ref_logps[0], parts, optimal_policy)

# %% [markdown]
# ## Exercise 9: all of it together
#
# Shape the rewards, subtract the others, weigh the log-probabilities. Everything you need stands above.


# %% nbgrader={"grade": false, "grade_id": "policy_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_loss(
    logits: torch.Tensor, ref_logits: torch.Tensor, rewards: torch.Tensor, actions: torch.Tensor, beta: float
) -> torch.Tensor:
    """The REINFORCE loss of sampled answers, with the KL-shaped reward and the leave-one-out baseline.

    logits, ref_logits, rewards: (prompts, answers); actions: (prompts, k), the numbers of the answers drawn from the policy.
    Returns minus the mean, over all samples, of advantage times log p: a scalar. The advantages are constants, so that a
    gradient flows to logits alone.
    """
    ### BEGIN SOLUTION
    logps = logits.log_softmax(-1).gather(1, actions)  # (prompts, k)
    ref_logps = ref_logits.log_softmax(-1).gather(1, actions)
    shaped = kl_shaped_rewards(rewards.gather(1, actions), logps, ref_logps, beta)
    advantages = leave_one_out_advantages(shaped).flatten()  # (prompts * k,)
    one_token = logps.reshape(-1, 1)  # here every answer is one token
    return reinforce_loss(one_token, advantages, torch.ones_like(one_token))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "policy_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("policy_loss", policy_loss)

# %% [markdown]
# Now learn from samples alone: sixteen answers to each prompt, a thousand updates, no sum over all answers anywhere.
# Because we know $p_*$, we can see how close it comes. Three seeds with the baseline, three without.


# %% tags=["demo"]
SEEDS, LEARN_UPDATES = range(device.at_most(3)), device.at_most(1000, least=10)


def loss_without_baseline(logits, actions):
    """The same loss with the shaped rewards themselves as weights."""
    logps = logits.log_softmax(-1).gather(1, actions)
    shaped = kl_shaped_rewards(rewards.gather(1, actions), logps, ref_logps.gather(1, actions), BETA)
    return reinforce_loss(logps.reshape(-1, 1), shaped.flatten(), torch.ones(logps.numel(), 1))


def learn(baseline: bool, seed: int, steps: int = LEARN_UPDATES, k: int = 16, lr: float = 0.05) -> list[float]:
    """Train the table of logits from samples; the total variation to the optimum after every update."""
    generator = torch.Generator().manual_seed(seed)
    logits, distances = ref_logits.clone().requires_grad_(), []
    optimizer = torch.optim.Adam([logits])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        actions = torch.multinomial(logits.detach().softmax(-1), k, replacement=True, generator=generator)
        loss = (
            policy_loss(logits, ref_logits, rewards, actions, BETA)
            if baseline
            else loss_without_baseline(logits, actions)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        distances.append(total_variation(logits.detach().softmax(-1), best_probs))
    return distances


learned = {
    b: torch.tensor([learn(b, seed) for seed in tqdm(SEEDS, desc="baseline" if b else "none")]) for b in (True, False)
}

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(7.5, 3.4))
for baseline, name, color in ((True, "leave one out", plots.GREEN), (False, "no baseline", plots.VERMILION)):
    runs = learned[baseline]  # (seeds, updates)
    ax.fill_between(range(runs.shape[1]), runs.amin(0), runs.amax(0), color=color, alpha=0.25)
    ax.plot(runs.mean(0), color=color, label=name)
ax.axhline(0.01, color=plots.GREY, linestyle="--", linewidth=1)
ax.set(
    yscale="log", xlabel="update", ylabel="total variation to p*", title="Learning from samples; bands over three seeds"
)
ax.legend()
plt.show()
reached = {name: learned[b][:, -1].tolist() for b, name in ((True, "leave one out"), (False, "no baseline"))}
print({name: [f"{tv:.4f}" for tv in tvs] for name, tvs in reached.items()})

# %% [markdown]
# The difference is larger than "less noise" suggests, and there is a reason. At the optimum the shaped reward of every
# answer is the same: $Q - \beta\log\frac{p_*}{p_0} = \beta\log Z$. So leave-one-out advantages are exactly zero there, and
# the noise dies out as the policy arrives. Without a baseline every answer keeps the weight β log Z, and the noise stays.
#
# ## The same functions on a language model
#
# Now the nano model, after supervised fine-tuning on ordinary answers: often right, often not, sometimes courteous. It
# has never been told which of its answers are better. A prompt costs nothing but an answer here: a *rule* gives the
# reward, the same true utility as above, computed from the text.

# %% tags=["demo"]
tokenizer, word_id = data.load_tokenizer(), data.load_tokenizer().get_vocab()
END, PAD = word_id["<end>"], tokenizer.pad_token_id
reference = models.load_nano("sft").to(DEVICE)
train_prompts = sorted({record["prompt"] for record in data.load_jsonl("preferences_train")})
test_prompts = sorted({record["prompt"] for record in data.load_jsonl("preferences_heldout")})
print(f"{len(train_prompts)} prompts to practise on, {len(test_prompts)} others to be tested on")


def prompt_batch(prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask (batch, seq), padded on the left, ready for an answer."""
    rows = [[word_id[word] for word in f"<bos> <user> {prompt} <end> <assistant>".split()] for prompt in prompts]
    longest = max(map(len, rows))
    ids = torch.tensor([[PAD] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids.to(DEVICE), mask.to(DEVICE)


# %% [markdown]
# Sampling, token by token. The model keeps what it computed of earlier tokens (its key/value cache), so that each step
# reads one new token a row.


# %% tags=["demo"]
@torch.no_grad()
def sample_answers(model, input_ids, attention_mask, generator, new: int = 24) -> torch.Tensor:
    """Tokens drawn from the model, (batch, at most new); anything may stand behind a row's end."""
    kept, ids, seen, tokens = None, input_ids, attention_mask, []
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(new):
        step = model(input_ids=ids, attention_mask=seen, past_key_values=kept, use_cache=True)
        kept = step.past_key_values
        ids = torch.multinomial(step.logits[:, -1].softmax(-1), 1, generator=generator)  # (batch, 1)
        tokens.append(ids)
        ended |= ids[:, 0] == END
        if ended.all():
            break
        seen = F.pad(seen, (0, 1), value=1)
    return torch.cat(tokens, dim=1)


prompts = [test_prompts[0], test_prompts[-1], test_prompts[20], test_prompts[40]]
ids, attention_mask = prompt_batch(prompts)
tokens = sample_answers(reference, ids, attention_mask, torch.Generator(DEVICE).manual_seed(2))
for row in tokens.tolist():
    print(" ".join(tokenizer.convert_ids_to_tokens(row)))

# %% [markdown]
# ## Exercise 10: where an answer ends
#
# Rows that have ended go on while the others finish. What stands behind the end mark is noise, and it must not reach the
# loss. The end mark itself must: to stop is the policy's choice.


# %% nbgrader={"grade": false, "grade_id": "answer_mask", "locked": false, "schema_version": 3, "solution": true, "task": false}
def answer_mask(tokens: torch.Tensor, end_id: int) -> torch.Tensor:
    """1 on the tokens of each answer, its first end_id included; 0 on everything behind that.

    tokens: (batch, new), what was sampled; behind the first end_id of a row anything may stand. A row without end_id counts
    as a whole. Returns (batch, new), of any dtype.
    """
    ### BEGIN SOLUTION
    is_end = (tokens == end_id).long()
    ends_before = is_end.cumsum(1) - is_end  # how many end tokens stand in front of each token
    return (ends_before == 0).long()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "answer_mask_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("answer_mask", answer_mask)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# A running sum of `tokens == end_id` says how many ends there were up to each token, itself included. Subtract the token's
# own, and you know how many came before it.
# </details>

# %% tags=["demo"]
for row, keep in zip(tokens.tolist(), answer_mask(tokens, END).tolist()):
    plots.show_tokens(tokenizer.convert_ids_to_tokens(row), [plots.GREEN if k else None for k in keep])

# %% [markdown]
# ## Exercise 11: log-probabilities of a rollout
#
# A **rollout** is prompts, sampled tokens and a mask. For the loss we need log p of each sampled token, once under the
# policy, with gradient, and once under the reference. One forward pass over prompt and answer together gives them all.


# %% nbgrader={"grade": false, "grade_id": "rollout_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rollout_logps(
    model, input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """log p of each sampled token given everything before it, in nats; 0 where the mask is 0. (batch, new), with gradient.

    input_ids, attention_mask: (batch, seq), prompts padded on the left, with any id. tokens: (batch, new), what the model
    wrote behind them; mask: (batch, new), 1 or True on the tokens of the answer. model(input_ids=..., attention_mask=...)
    returns something with .logits, (batch, length, vocab): those at a place predict the token at the next.
    """
    ### BEGIN SOLUTION
    rows = torch.cat([input_ids, tokens], dim=1)  # (batch, seq + new)
    seen = torch.cat([attention_mask, mask.to(attention_mask.dtype)], dim=1)
    logits = model(input_ids=rows, attention_mask=seen).logits[:, input_ids.shape[1] - 1 : -1]  # (batch, new, vocab)
    logps = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)  # (batch, new)
    return logps.masked_fill(mask == 0, 0.0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rollout_logps_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("rollout_logps", rollout_logps)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the rows</summary>
#
# `torch.cat([input_ids, tokens], dim=1)`, and the attention mask likewise, with ones or with the mask for the new part
# (what stands behind the end influences nothing in front of it).
# </details>
# <details><summary><b>Hint 2</b>: which logits</summary>
#
# The first new token is predicted at the last place of the prompt, `input_ids.shape[1] - 1`; from the last place of all
# nothing is predicted.
# </details>
#
# The sampled log-probabilities average to minus the entropy, and the KL of the reference from itself is zero:

# %% tags=["demo"]
with torch.no_grad():
    mask = answer_mask(tokens, END)
    logps = rollout_logps(reference, ids, attention_mask, tokens, mask)  # (batch, new)
for row, keep, logp in zip(tokens, mask, logps):
    names = tokenizer.convert_ids_to_tokens(row[keep == 1].tolist())
    plots.show_tokens(names, [plots.BLUE] * len(names), [f"{x:.1f}" for x in logp[keep == 1].tolist()])

# %% [markdown]
# ### The loop
#
# Twelve prompts, four answers each. Everything in the loop is yours: the mask, the log-probabilities, the shaped reward,
# the advantages, the loss. The reward is computed for the *whole* answer, and so is its KL: the sum over its tokens.


# %% tags=["demo"]
def score(prompts: list[str], tokens: torch.Tensor, mask: torch.Tensor) -> tuple[list[str], torch.Tensor]:
    """The answers as texts, and their true utilities (batch,)."""
    rows = [[t for t, keep in zip(row, kept) if keep and t != END] for row, kept in zip(tokens.tolist(), mask.tolist())]
    texts = [tokenizer.decode(row) for row in rows]
    return texts, torch.tensor([utility(p, text) if text else -1.5 for p, text in zip(prompts, texts)], device=DEVICE)


NANO_BETA, NANO_LR, UPDATES, PER_UPDATE, SAMPLES = 0.1, 1e-3, device.updates(40, least=5), 12, 4


def reinforce(seed: int, baseline: bool) -> tuple:
    """Train the policy from the SFT model; returns it and, for each update, the mean reward and the mean k1."""
    policy, history = models.load_nano("sft").to(DEVICE), []
    optimizer = torch.optim.AdamW(policy.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
    rng, generator = random.Random(seed), torch.Generator(DEVICE).manual_seed(seed)
    bar = tqdm(range(UPDATES), desc=f"{'leave one out' if baseline else 'no baseline'}, seed {seed}", mininterval=1)
    for update in bar:
        asked = [p for p in rng.sample(train_prompts, PER_UPDATE) for _ in range(SAMPLES)]
        ids, attention_mask = prompt_batch(asked)
        tokens = sample_answers(policy, ids, attention_mask, generator)
        mask = answer_mask(tokens, END)
        logps = rollout_logps(policy, ids, attention_mask, tokens, mask)  # (batch, new)
        with torch.no_grad():
            old_logps = rollout_logps(reference, ids, attention_mask, tokens, mask)
        _, gained = score(asked, tokens, mask)
        shaped = kl_shaped_rewards(gained, logps.sum(1), old_logps.sum(1), NANO_BETA)  # (batch,)
        advantages = leave_one_out_advantages(shaped.view(-1, SAMPLES)).flatten() if baseline else shaped
        loss = reinforce_loss(logps, advantages, mask)
        optimizer.param_groups[0]["lr"] = NANO_LR * min(1, (update + 1) / 5)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        history.append((gained.mean().item(), (logps - old_logps).sum(1).mean().item()))
        bar.set_postfix(reward=f"{history[-1][0]:.2f}", kl=f"{history[-1][1]:.2f}")
    return policy.eval(), history


# %% [markdown]
# Three seeds with leave-one-out, three without any baseline.

# %% tags=["demo"]
started = time.perf_counter()
trained = {(b, seed): reinforce(seed, b) for b in (True, False) for seed in SEEDS}
print(f"{len(trained)} runs in {time.perf_counter() - started:.0f} s")


# %% tags=["demo"]
@torch.no_grad()
def measure(policy, repeats: int = 4) -> dict:
    """On the test prompts, several sampled answers each: reward, what it is made of, KL by k1 and k3; some texts."""
    asked = [prompt for prompt in test_prompts for _ in range(repeats)]
    ids, attention_mask = prompt_batch(asked)
    tokens = sample_answers(policy, ids, attention_mask, torch.Generator(DEVICE).manual_seed(7))
    mask = answer_mask(tokens, END)
    logps, old_logps = (rollout_logps(m, ids, attention_mask, tokens, mask).sum(1) for m in (policy, reference))
    texts, gained = score(asked, tokens, mask)
    k1, _, k3 = kl_estimates(logps, old_logps)
    seen = [appraise(p, text) if text else None for p, text in zip(asked, texts)]
    share = lambda test: sum(a is not None and bool(test(a)) for a in seen) / len(asked)  # noqa: E731
    return {
        "reward": gained.mean().item(),
        "right": share(lambda a: a.right),
        "opens courteously": share(lambda a: a.openings),
        "closes courteously": share(lambda a: a.closings),
        "k1": k1.mean().item(),
        "k3": k3.mean().item(),
        "texts": texts[::repeats],
    }


at_start = measure(reference)
at_end = {key: measure(policy) for key, (policy, _) in trained.items()}
plots.show_table(
    [{"policy": "before"} | {k: v for k, v in at_start.items() if k != "texts"}]
    + [
        {"policy": f"{'leave one out' if b else 'no baseline'}, seed {seed}"}
        | {k: v for k, v in found.items() if k != "texts"}
        for (b, seed), found in at_end.items()
    ],
    caption=f"{len(test_prompts)} prompts that were not practised",
)

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.4))
for baseline, name, color in ((True, "leave one out", plots.GREEN), (False, "no baseline", plots.VERMILION)):
    runs = torch.tensor([trained[baseline, seed][1] for seed in SEEDS])  # (seeds, updates, 2)
    smooth = F.avg_pool1d(runs.transpose(1, 2), 5, stride=1)  # means of five updates
    for ax, curves in zip(axes, smooth.unbind(1)):
        x = range(5, 5 + curves.shape[1])
        ax.fill_between(x, curves.amin(0), curves.amax(0), color=color, alpha=0.25)
        ax.plot(x, curves.mean(0), color=color, label=name)
axes[0].set(xlabel="update", title="Reward of the sampled answers")
axes[1].set(xlabel="update", title="KL to the start, nats (k1)")
axes[0].legend()
plt.show()
last_rewards = {  # mean of the last ten updates of each run
    name: [sum(point[0] for point in trained[b, seed][1][-10:]) / 10 for seed in SEEDS]
    for b, name in ((True, "leave one out"), (False, "no baseline"))
}
print({name: [f"{reward:.2f}" for reward in found] for name, found in last_rewards.items()})

# %% tags=["demo"]
shown = at_end[True, 0]["texts"]
plots.show_table(
    [{"asked": p, "before": a, "after": b} for p, a, b in list(zip(test_prompts, at_start["texts"], shown))[::9]]
)

# %% [markdown]
# Every run earns more than it started with. Now read the columns, and not only the curves. Courtesy is learned first, and
# almost completely: it can be added to any answer, and it pays every time. To be *right* pays most and moves less. A right
# answer has to come up by chance before it can be made more likely; what the model half knew, it becomes surer of. A policy
# does not learn what you meant. It learns what your reward pays for most easily.
#
# Compare the columns k1 and k3, too. These policies are several nats away from where they began, and there, as you have
# seen, one rare answer can throw a mean of $k_3$ far off.
#
# And the baseline? In the small world it decided whether the policy arrived. Here there are few updates, far from any
# optimum, with clipped gradients and an optimiser that rescales them: compare the two rows of numbers and the two bands
# with each other, and with the spread between seeds, before you say that it helped. The KL is not tamed either: β is a
# price, no limit.
#
# ## What you have seen
#
# - A gradient of an expectation over answers needs only samples, their rewards and ∇ log p.
# - The θ inside the KL-shaped reward adds nothing in expectation: hold it constant.
# - The sign of the KL term decides between a spread-out optimum and a point mass.
# - A baseline that does not look at its own answer costs no bias. Leave-one-out even makes the noise vanish at the optimum.
# - $k_1$ is the KL's definition, $k_3$ the calmer way to watch it near the reference.
# - On a language model the work is in the mask and the shift.
#
# What is missing: a rule that knows the true utility is a luxury. Chapter 4 learns the reward from comparisons; chapter 5
# uses each sample more than once.
#
# **To read**: Williams 1992, *Simple statistical gradient-following algorithms* (Machine Learning 8); Kool et al. 2019,
# *Buy 4 REINFORCE samples, get a baseline for free* (ICLR workshop); Ahmadian et al. 2024, *Back to basics* (RLOO,
# arXiv:2402.14740); Shao et al. 2024, *DeepSeekMath* (GRPO, arXiv:2402.03300); Schulman 2020, *Approximating KL
# divergence* (blog); Korbak et al. 2022, *RL with KL penalties is better viewed as Bayesian inference* (arXiv:2205.11275);
# Ziegler et al. 2019, *Fine-tuning language models from human preferences* (arXiv:1909.08593).

# %%
progress("03_reinforce")
