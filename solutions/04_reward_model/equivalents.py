"""Changes in the references of chapter 04 that make no difference to what the pages promise, each with the reason why."""

_WINS = "wins = wins.double()"
_GAMES = "games, scores = (wins + wins.T, torch.zeros(len(wins), dtype=torch.float64))"
_STEPS = "for _ in range(25):"
_P = "p = torch.sigmoid(scores[:, None] - scores[None, :])"
_SOLVED = "scores = scores + torch.linalg.solve(curvature + 1.0, gradient)"
_CURVATURE = "curvature = weights.sum(1).diag() - weights"
_SAME = "same = (prompt_ids[:, None] == prompt_ids[None, :]).to(rewards.dtype)"
_CENTRED = "return rewards - same @ rewards / same.sum(1)"
_PLACES = "places = torch.arange(attention_mask.shape[1], device=attention_mask.device)"
_LAST = "last = (attention_mask.long() * (places + 1)).argmax(1)"
_READ = "return token_rewards.gather(1, last[:, None])[:, 0]"
_WORSE = "worse = (rewards[None, :] < rewards[:, None]).to(probs.dtype) @ probs"
_EQUAL = "equal = (rewards[None, :] == rewards[:, None]).to(probs.dtype) @ probs"

_EMPTIED = "optimizer.zero_grad()"
_FORWARD = "rewards_chosen, rewards_rejected = model(**batch).chunk(2)"
_UPWARDS = "upwards = utilities.gather(1, rewards"
_WEIGHED = "return upwards @ torch.tensor(ways"

_SHIFT = "Any number but 0 holds the sum at 0: the gradient has no part along the common shift that it multiplies."
_CONVERGED = "Newton's method has arrived after eight steps; more, or a few less, change nothing."
_SYMMETRIC = "The table is symmetric: its rows sum to what its columns do."
_BROADCAST = "A vector broadcasts as one row of a table by itself."
_FIRST_OF_ZEROS = "The order of the real places is the same, and of a row whose numbers are all 0 argmax takes place 0, which is right."

EQUIVALENTS = [
    ("fit_scores", f"{_WINS} -> (nothing)", "float32 is enough for four decimals, and integers become floats beside the sigmoid."),
    ("fit_scores", f"{_WINS} -> wins = -wins.double()", "Gradient and curvature both change their sign, and their quotient does not."),
    ("fit_scores", f"{_GAMES} -> games, scores = (wins + wins.T, torch.zeros(len(wins)))", "wins, in float64, makes the sum float64."),
    ("fit_scores", f"{_STEPS} -> for _ in range(26):", _CONVERGED),
    ("fit_scores", f"{_STEPS} -> for _ in range(24):", _CONVERGED),
    ("fit_scores", f"{_STEPS} -> for _ in range(50):", _CONVERGED),
    ("fit_scores", f"{_P} -> p = torch.sigmoid(scores[:, None] - scores)", _BROADCAST),
    ("fit_scores", f"{_CURVATURE} -> curvature = weights.sum(0).diag() - weights", _SYMMETRIC),
    ("fit_scores", f"{_SOLVED} -> scores = scores + torch.linalg.solve(curvature - 1.0, gradient)", _SHIFT),
    ("fit_scores", f"{_SOLVED} -> scores = scores + torch.linalg.solve(curvature + 2.0, gradient)", _SHIFT),
    ("fit_scores", f"{_SOLVED} -> scores = scores + torch.linalg.solve(curvature + -1.0, gradient)", _SHIFT),
    ("center_rewards", f"{_SAME} -> same = -(prompt_ids[:, None] == prompt_ids[None, :]).to(rewards.dtype)",
     "Sum and number of a prompt's answers both change their sign, and the mean does not."),
    ("center_rewards", f"{_SAME} -> same = (prompt_ids[:, None] == prompt_ids).to(rewards.dtype)", _BROADCAST),
    ("center_rewards", f"{_CENTRED} -> return rewards - same @ rewards / same.sum(0)", _SYMMETRIC),
    ("last_token_rewards", f"{_PLACES} -> places = torch.arange(token_rewards.shape[1], device=attention_mask.device)",
     "Both have the shape (batch, seq)."),
    ("last_token_rewards", f"{_LAST} -> last = (attention_mask.float() * (places + 1)).argmax(1)",
     "A float32 counts places exactly up to 16 million."),
    ("last_token_rewards", f"{_LAST} -> last = (attention_mask * (places + 1)).argmax(1)",
     "A boolean times an integer is an integer too."),
    ("last_token_rewards", f"{_LAST} -> last = (attention_mask.long() * places).argmax(1)", _FIRST_OF_ZEROS),
    ("last_token_rewards", f"{_LAST} -> last = (attention_mask.long() * (places + 0)).argmax(1)", _FIRST_OF_ZEROS),
    ("last_token_rewards", f"{_LAST} -> last = (attention_mask.long() * (places + 2)).argmax(1)",
     "The order of the real places is the same."),
    ("last_token_rewards", f"{_READ} -> return token_rewards.gather(1, last[:, None])[:, -1]", "There is one column."),
    ("best_of_n_probs", f"{_WORSE} -> worse = (rewards < rewards[:, None]).to(probs.dtype) @ probs", _BROADCAST),
    ("best_of_n_probs", f"{_EQUAL} -> equal = (rewards == rewards[:, None]).to(probs.dtype) @ probs", _BROADCAST),
    ("train_reward_model", "losses = []; model.train() -> model.train(); losses = []", "Neither needs the other."),
    ("train_reward_model", f"{_EMPTIED}; {_FORWARD} -> {_FORWARD}; {_EMPTIED}", "It is enough that the gradients are empty before backward."),
    ("train_reward_model", f"{_EMPTIED} -> model.zero_grad()", "The optimizer holds the model's parameters, and no others."),
    ("train_reward_model", "optimizer.step(); losses.append(loss.item()) -> losses.append(loss.item()); optimizer.step()",
     "The step does not change a loss that was computed before."),
    ("best_of_n_utility", "samples = rewards.shape[1] -> samples = utilities.shape[1]", "Both have the same shape."),
    ("best_of_n_utility", f"{_UPWARDS}.argsort(1)) -> {_UPWARDS}.argsort())", "torch sorts along the last axis where none is named."),
    ("best_of_n_utility", f"{_WEIGHED}, dtype=upwards.dtype, device=upwards.device) -> {_WEIGHED}, device=upwards.device)",
     "Both are float32, which torch makes of Python's numbers."),
]  # fmt: skip
