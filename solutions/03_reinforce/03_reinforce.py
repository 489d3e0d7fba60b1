# %% [markdown]
# # 3 · Reinforcement learning by hand: REINFORCE

# %% tags=["imports"]

import torch
import torch.nn.functional as F

from autograder import check

# %% nbgrader={"grade": false, "grade_id": "exact_objective", "locked": false, "schema_version": 3, "solution": true, "task": false}
def exact_objective(
    logits: torch.Tensor, ref_logits: torch.Tensor, rewards: torch.Tensor, beta: float
) -> torch.Tensor:
    """J = E[reward] - beta KL(policy || reference), averaged over the prompts.

    logits, ref_logits, rewards: (prompts, answers). Policy and reference are the softmax over the answers; expectation and
    KL are those of the policy, in nats, summed over all answers. Returns a scalar through which gradients flow.
    """
    ### BEGIN SOLUTION
    logps, ref_logps = logits.log_softmax(-1), ref_logits.log_softmax(-1)  # (prompts, answers)
    shaped = rewards - beta * (logps - ref_logps)
    return (logps.exp() * shaped).sum(-1).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "exact_objective_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("exact_objective", exact_objective)

# %% nbgrader={"grade": false, "grade_id": "score_function_gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}
def score_function_gradient(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """E[f(a) ∇ log p(a)] by enumeration, averaged over the prompts; ∇ is with respect to the logits.

    logits, values: (prompts, answers); the policy p is the softmax over the answers, and values holds f(a), constants
    even if they were computed from the logits. Returns the gradient, (prompts, answers).
    """
    ### BEGIN SOLUTION
    probs, values = logits.softmax(-1).detach(), values.detach()  # (prompts, answers)
    expected = (probs * values).sum(-1, keepdim=True)  # (prompts, 1)
    return probs * (values - expected) / len(logits)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "score_function_gradient_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("score_function_gradient", score_function_gradient)

# %% nbgrader={"grade": false, "grade_id": "policy_gradient_estimate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_gradient_estimate(
    logits: torch.Tensor, rewards: torch.Tensor, k: int, generator: torch.Generator
) -> torch.Tensor:
    """One Monte-Carlo estimate of E[reward(a) ∇ log p(a)], averaged over the prompts, with respect to the logits.

    logits, rewards: (prompts, answers). For each prompt draw k answers from the softmax of its logits, independently and
    with the generator, and average reward(a) ∇ log p(a) over them. No baseline. Returns (prompts, answers).
    """
    ### BEGIN SOLUTION
    probs = logits.softmax(-1).detach()  # (prompts, answers)
    actions = torch.multinomial(probs, k, replacement=True, generator=generator)  # (prompts, k)
    scores = F.one_hot(actions, probs.shape[-1]) - probs[:, None]  # ∇ log p of each sample: (prompts, k, answers)
    return (rewards.gather(1, actions)[..., None] * scores).mean(1) / len(probs)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "policy_gradient_estimate_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("policy_gradient_estimate", policy_gradient_estimate)

# %% nbgrader={"grade": false, "grade_id": "reinforce_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reinforce_loss(logps: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A loss whose gradient is minus the policy-gradient estimate: -advantage times log p(answer), averaged over the batch.

    logps: (batch, seq), log-probabilities of sampled tokens; mask: (batch, seq), 1 or True on the tokens of the answer, 0
    behind it; advantages: (batch,), constants even if they were computed from logps. log p(answer) is the sum over the
    answer's tokens. Returns a scalar through which gradients flow to logps.
    """
    ### BEGIN SOLUTION
    answer_logps = (logps * mask).sum(-1)  # (batch,)
    return -(advantages.detach() * answer_logps).mean()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "reinforce_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("reinforce_loss", reinforce_loss)

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

# %% nbgrader={"grade": false, "grade_id": "kl_shaped_rewards", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl_shaped_rewards(
    rewards: torch.Tensor, logps: torch.Tensor, ref_logps: torch.Tensor, beta: float
) -> torch.Tensor:
    """reward - beta (log p - log p_0) of each sampled answer, as a constant: no gradient flows through it.

    rewards, logps, ref_logps: tensors of the same shape, of any; logps under the policy, ref_logps under the reference, in
    nats. Returns a new tensor of that shape, detached.
    """
    ### BEGIN SOLUTION
    return (rewards - beta * (logps - ref_logps)).detach()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "kl_shaped_rewards_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("kl_shaped_rewards", kl_shaped_rewards)

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

# %% nbgrader={"grade": false, "grade_id": "optimal_policy", "locked": false, "schema_version": 3, "solution": true, "task": false}
def optimal_policy(
    ref_logps: torch.Tensor, rewards: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The policy that makes E[reward] - beta KL(policy || reference) largest, and log Z.

    ref_logps: log-probabilities of the reference, rewards: both (prompts, answers); beta > 0, possibly tiny. Returns the
    optimum's probabilities (prompts, answers), and log Z (prompts,), where Z = sum over a of p_0(a) exp(reward(a) / beta).
    """
    ### BEGIN SOLUTION
    unnormalised = ref_logps + rewards / beta  # (prompts, answers), in logarithms
    log_z = unnormalised.logsumexp(-1)  # (prompts,)
    return (unnormalised - log_z[:, None]).exp(), log_z
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "optimal_policy_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("optimal_policy", optimal_policy)

# %% nbgrader={"grade": false, "grade_id": "policy_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def policy_loss(
    logits: torch.Tensor, ref_logits: torch.Tensor, rewards: torch.Tensor, actions: torch.Tensor, beta: float
) -> torch.Tensor:
    """The REINFORCE loss of sampled answers, with the KL-shaped reward and the leave-one-out baseline.

    logits, ref_logits, rewards: (prompts, answers); actions: (prompts, k), the numbers of the answers drawn from the policy.
    Returns minus the mean, over all samples, of advantage times log p; the advantages are constants. A scalar.
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

# %% nbgrader={"grade": false, "grade_id": "answer_mask", "locked": false, "schema_version": 3, "solution": true, "task": false}
def answer_mask(tokens: torch.Tensor, end_id: int) -> torch.Tensor:
    """1 on the tokens of each answer, its first end_id included; 0 on everything behind that.

    tokens: (batch, new), what was sampled; behind the first end_id of a row anything may stand. A row without end_id counts
    as a whole. Returns (batch, new).
    """
    ### BEGIN SOLUTION
    is_end = (tokens == end_id).long()
    ends_before = is_end.cumsum(1) - is_end  # how many end tokens stand in front of each token
    return (ends_before == 0).long()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "answer_mask_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("answer_mask", answer_mask)

# %% nbgrader={"grade": false, "grade_id": "rollout_logps", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rollout_logps(
    model, input_ids: torch.Tensor, attention_mask: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """log p of each sampled token given everything before it, in nats; 0 where the mask is 0. (batch, new), with gradient.

    input_ids, attention_mask: (batch, seq), prompts padded on the left. tokens: (batch, new), what the model wrote behind
    them; mask: (batch, new), 1 or True on the tokens of the answer. model(input_ids=..., attention_mask=...) returns
    something with .logits, (batch, length, vocab): those at a place predict the token at the next.
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
