"""What the reader is told after a prediction of chapter 03: see autograder/predict.py."""

PREDICTIONS = {
    "plus_sign": {
        "choices": {
            "a": "A flaw in the reward is a danger with either sign. But with minus, an answer that is rare under p₀ pays for every "
            "nat by which it becomes more likely. At the optimum its probability is that under p₀ times exp(r/β), divided by Z.",
            "b": "A plus *rewards* distance from p₀, and the distance is largest with all probability on the rarest answer.",
            "c": "It is easy to think that a KL term always holds the policy back. With plus it does not: it rewards the policy for moving away.",
        },
        "why": "Before the training the expected true utility was {start:.2f}. With minus it is {minus:.2f}, with plus {plus:.2f}: "
        "with plus, the policy went to the answer that p₀ hardly ever gives.",
    },
    "own_reward": {
        "choices": {
            "a": "A mean of *other* rewards is a baseline like any other. This one contains the answer's own reward, so it is not "
            "the same number for every answer that might have been drawn.",
            "b": "One k-th of the mean that is subtracted is the answer's own reward. So every reward loses one k-th of itself.",
            "c": "Advantages become smaller by it, not larger: part of each reward is subtracted from itself.",
            "d": "A baseline that depends on the answer may turn the gradient. This one takes the same share of every reward, so it only "
            "shortens it.",
        },
        "why": "The mean of the estimates came out {own:.2f} times as long as the exact gradient; (k − 1)/k is {factor:.2f}. "
        "The cosine between the two is {angle:.2f}.",
    },
    "k1_as_loss": {
        "choices": {
            "a": "The gradient of an estimate is not an estimate of the gradient when the samples themselves come from the policy: how "
            "they were drawn is not differentiated.",
            "b": "The derivative of log p − log p₀ at a drawn answer is ∇ log p, and E[∇ log p] = 0. It is the second term of your derivation.",
            "c": "That would be so with a wrong sign. But here the mean is zero, and zero has no sign.",
        },
        "why": "Its expected gradient has the length {length:.0e}. So k1 in a loss is no penalty: it only adds noise.",
    },
    "first_learned": {
        "choices": {
            "a": "A large reward helps only where it is given: right answers must be among the samples, and for many prompts they hardly are.",
            "b": "What can be added to any answer is found quickly, for every prompt, and is rewarded every time.",
            "c": "Equal growth would need equal chances to try. A polite word can be tried with every prompt; the right word differs from prompt to prompt.",
        },
        "why": "By update {third} the shares had grown by {right:.2f} (right), {opening:.2f} (opening) and {closing:.2f} (closing).",
    },
}
