"""What the reader of chapter 06 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {
    "fixed_pairs": {
        "choices": {
            "a": "So one would think of estimates that are averages. This one is not: the logarithm of an odds is infinite where "
            "all labels point the same way, and of rare pairs they do.",
            "b": "On the whole the labels point in the right direction, and frequent pairs are well known. What rare answers "
            "get is decided by single labels.",
            "c": "That happens with fewer pairs: the loss then says “never” of an answer that lost once, and the policy believes it.",
        },
        "why": "The reference is {start:.2f} away from p*, the policy from 1,000 pairs {found:.2f}, the one from exact preferences "
        "{exact:.4f}. With 100 pairs it is {middle[0]:.2f}, with 10,000 {middle[2]:.2f}, with 100,000 {middle[3]:.2f}.",
    },
    "chosen_falls": {
        "choices": {
            "a": "That is what the name of the method suggests. But the loss sees the difference alone.",
            "b": "The difference can grow by the rejected answers alone. But the two answers share most of their words, and are "
            "not moved apart so cleanly.",
            "c": "Both contain much that the policy says less often now. The margin grows all the same, because the rejected "
            "answer falls farther.",
        },
        "why": "Held-out answers: log p / p₀ of the chosen ones is {chosen:+.1f} nats, of the rejected ones {rejected:+.1f} (medians "
        "of the seeds). {accuracy:.0%} of the pairs are in the right order.",
    },
    "dpo_or_ppo": {
        "choices": {
            "a": "It has no reward model that could be wrong, but an implicit reward that can be. And it has not seen what the "
            "policy says now.",
            "b": "Both learn from the same comparisons, so that is a sensible guess. What can differ is what the KL is spent on: "
            "answers that the policy gives, or others.",
            "c": "PPO is told of every answer that it gives now, and is paid for nothing else. DPO also moves probabilities of "
            "answers that it hardly ever gave, and pays KL for what comes in their place.",
        },
        "why": "At {kl:.1f} nats, DPO has a true utility of {dpo:.2f} and PPO one of {ppo:.2f} (medians of the seeds, where the curves "
        "first come as far).",
    },
    "too_far": {
        "choices": {
            "a": "It would be so if the answers of the policy were like those of the held-out pairs. But the pairs stay what they "
            "are, and the policy moves on.",
            "b": "The pairs say nothing of the answers to which the probability goes. An accuracy on old answers cannot see it.",
            "c": "With exact preferences it would be so. With fixed pairs, the lowest loss is not where the best policy is.",
        },
        "why": "In the median, the utility is {best[utility]:.2f} at its best, {best[kl]:.1f} nats from the reference, and "
        "{far[utility]:.2f} where the policy is farthest, {far[kl]:.1f} nats away. The accuracy on held-out pairs is "
        "{best[accuracy]:.2f} in the first place, and {far[accuracy]:.2f} in the second.",
    },
}
