"""Wrong answers to chapter 10's training loop, and weak answers to its open task."""

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 9: the training loop


def _advantages(rewards):
    return ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten()


def _term(logps, old_logps, ref_logps):
    d = logps - ref_logps
    return (logps - old_logps).exp() * (torch.expm1(-d) + d)


def _loss(logps, old_logps, advantages, mask, clip_low, clip_high, per, max_tokens, extra):
    ratio = (logps - old_logps).masked_fill(mask == 0, 0.0).exp()
    a = advantages[:, None]
    losses = (extra - torch.minimum(ratio * a, ratio.clamp(1 - clip_low, 1 + clip_high) * a)).masked_fill(mask == 0, 0.0)
    if per == "answer":
        return (losses.sum(1) / mask.sum(1)).mean()
    return losses.sum() / (mask.sum() if per == "token" else max_tokens * len(mask))


def _train_grpo(
    policy, optimizer, sample, logps_of, updates, *, steps, clip_low, clip_high, per, max_tokens, beta, max_norm=1.0
):
    earned = []
    for _update in range(updates):
        batch = sample()
        old, ref, mask = batch["logps"], batch["ref_logps"], batch["mask"]
        rewards = batch["rewards"]
        advantages = _advantages(rewards)
        for _step in range(steps):
            logps = logps_of(batch)
            penalty = beta * _term(logps, old, ref)
            loss = _loss(logps, old, advantages, mask, clip_low, clip_high, per, max_tokens, penalty)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)
            optimizer.step()
        earned.append(rewards.mean().item())
    return earned


changes("train_grpo", _train_grpo, [
    ("old_logps_taken_anew", "You take the present log-probabilities for the old ones, anew before each step. The ratio is then always 1, and the "
     "clip never acts.", "logps = logps_of(batch)", "logps = logps_of(batch); old = logps.detach()"),
    ("the_same_answers_always", "You draw answers once and learn from them in all updates. Each update has new answers, of the policy as it is then.",
     "    for _update in range(updates):\n        batch = sample()", "    batch = sample()\n    for _update in range(updates):"),
    ("new_answers_for_each_step", "You draw new answers before each *step*. The steps of an update learn from the same answers.",
     "logps = logps_of(batch)", "batch = sample() if _step else batch; logps = logps_of(batch)"),
    ("gradients_pile_up", "The gradients of former steps are still there. Set them to zero before each backward.", "            optimizer.zero_grad()\n", ""),
    ("zeroed_once_an_update", "You set the gradients to zero once an update. Before *each* backward they have to be forgotten.",
     "            optimizer.zero_grad()\n", "            optimizer.zero_grad() if _step == 0 else None\n"),
    ("not_clipped_at_all", "The gradient is not clipped to max_norm before the step (clipping it afterwards does nothing).", "            torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)\n", ""),
    ("clipped_one_by_one", "You clip the gradient of each parameter alone. The norm is that of all of them together.",
     "torch.nn.utils.clip_grad_norm_(policy.parameters(), max_norm)", "[torch.nn.utils.clip_grad_norm_(p, max_norm) for p in policy.parameters()]"),
    ("always_clipped_to_one", "You clip to length 1 whatever max_norm is.", "policy.parameters(), max_norm)", "policy.parameters(), 1.0)"),
    ("one_step_only", "You take one step an update. `steps` are asked for.", "range(steps)", "range(1)"),
    ("kl_forgotten", "The KL term has no effect on the steps: it is missing, or no gradient flows through it.", "beta * _term(logps, old, ref)", "0.0 * logps"),
    ("beta_is_one", "The KL term is not weighed by beta.", "beta * _term", "_term"),
    ("kl_as_a_bonus", "The sign of the KL term is wrong: leaving the reference is paid for. It is added to the *loss*.", "beta * _term", "-beta * _term"),
    ("kl_to_the_old_policy", "Your KL is that to the policy that drew. The reference is ref_logps.", "_term(logps, old, ref)", "_term(logps, old, old)"),
    ("rewards_for_advantages", "You weigh with the rewards themselves. They have to be compared with their group first.",
     "_advantages(rewards)", "rewards.flatten()"),
    ("advantages_of_the_batch", "You compare each reward with the whole batch. Its group is the answers to the same prompt.",
     "_advantages(rewards)", "_advantages(rewards.view(1, -1))"),
    ("advantages_in_another_order", "Your advantages are out of step with the answers: row by row, the k answers to the first prompt come first.",
     "_advantages(rewards)", "_advantages(rewards).view(rewards.shape).T.flatten()"),
    ("clip_ends_swapped", "clip_low and clip_high have changed places.", "mask, clip_low, clip_high,", "mask, clip_high, clip_low,"),
    ("token_mean_always", "You take the mean over tokens whatever `per` says.", "clip_high, per, max_tokens, penalty)", "clip_high, 'token', max_tokens, penalty)"),
    ("last_reward_only", "You return the mean reward of the last update only. One number an update is asked for.", "earned.append(rewards.mean().item())",
     "earned = [rewards.mean().item()]"),
    ("tensors_in_the_list", "The mean rewards in your list are tensors. Keep plain numbers: .item().", "rewards.mean().item()", "rewards.mean()"),
    ("losses_instead_of_rewards", "You return losses. The mean rewards are asked for: the loss of GRPO says little.", "rewards.mean().item()", "loss.item()"),
    ("loss_turned_round", "You go up the gradient of the loss.", "loss.backward()", "(-loss).backward()"),
])  # fmt: skip


# --- Exercise 10: few checks (weak answers: each must miss a bar)


@mistake("learn_from_checks")
def nothing_is_learned(features, start, check_answers, budget, generator):
    """The weights stay what they were."""
    return start.clone()


@mistake("learn_from_checks")
def weights_by_chance(features, start, check_answers, budget, generator):
    """Random weights."""
    return torch.randn(start.shape, generator=generator)


@mistake("learn_from_checks")
def more_of_the_same(features, start, check_answers, budget, generator):
    """The start made sharper: surer, and no better."""
    return 4 * start


def _policy_gradient(features, start, check_answers, budget, generator, k, prompts, lr, centred=True):
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=lr)
    for _ in range(budget // (k * prompts)):
        asked = torch.randperm(len(features), generator=generator)[:prompts]
        logps = (features[asked] @ weights).log_softmax(-1)
        drawn = torch.multinomial(logps.detach().exp(), k, replacement=True, generator=generator)
        rewards = check_answers(asked.repeat_interleave(k), drawn.flatten()).view(-1, k)
        advantages = rewards - rewards.mean(1, keepdim=True) if centred else rewards
        advantages = advantages / (rewards.std(1, keepdim=True) + 1e-4) if centred else advantages
        optimizer.zero_grad()
        (-(advantages * logps.gather(1, drawn)).mean()).backward()
        optimizer.step()
    return weights.detach()


@mistake("learn_from_checks")
def plain_grpo(features, start, check_answers, budget, generator):
    """GRPO with groups of eight, each batch used once."""
    return _policy_gradient(features, start, check_answers, budget, generator, 8, 4, 0.2)


@mistake("learn_from_checks")
def grpo_in_small_groups(features, start, check_answers, budget, generator):
    """GRPO with groups of four and more updates."""
    return _policy_gradient(features, start, check_answers, budget, generator, 4, 4, 0.2)


@mistake("learn_from_checks")
def reinforce_without_baseline(features, start, check_answers, budget, generator):
    """Rewards as weights, with a small learning rate."""
    return _policy_gradient(features, start, check_answers, budget, generator, 4, 5, 0.1, centred=False)


@mistake("learn_from_checks")
def right_answers_of_the_start_only(features, start, check_answers, budget, generator):
    """All the budget at once with the policy of the start, then fine-tuning on what was right."""
    asked = torch.randint(len(features), (budget,), generator=generator)
    drawn = torch.multinomial((features[asked] @ start).softmax(-1), 1, generator=generator)[:, 0]
    right = check_answers(asked, drawn) > 0
    weights = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(30):
        logps = (features[asked[right]] @ weights).log_softmax(-1)
        optimizer.zero_grad()
        (-logps.gather(1, drawn[right, None]).mean() + 0.05 * weights.square().sum()).backward()
        optimizer.step()
    return weights.detach()


@mistake("learn_from_checks")
def no_numbers(features, start, check_answers, budget, generator):
    """Weights that are no numbers."""
    return start * float("nan")
