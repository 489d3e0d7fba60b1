"""What chapter 02's predictions tell, once the reader has chosen. Numbers in braces come from the run."""

PREDICTIONS = {
    "asked_a_question": {
        "choices": {
            "a": "comes from the thought that the model of chapter 1 knew too little, or had bad luck with its random words. But "
            "nothing in these texts says that a question goes on with its answer, however long a model learns from them.",
            "b": "comes from asking what stands behind a question in the texts that it read: on a sheet of questions, the next "
            "question. More of the same training, and the most likely words, do not change that.",
            "c": "would come if the model had not learned what follows a question. But it has read many sheets of questions.",
        },
        "why": "Of {asked} questions it answered {answers_it:.0%} and went on with another question after {asks_back:.0%}. In its "
        "training text, questions stand on sheets of questions. The most likely continuation need not be the most useful one.",
    },
    "mask_or_not": {
        "choices": {
            "a": "comes from the thought that the prompt's tokens only slow the training down: they use gradient, but do no lasting harm.",
            "b": "comes from the thought that they teach a wrong task. But writing questions does not exclude writing answers: one "
            "model can learn both, if it is given the time.",
            "c": "comes from counting tokens: more labels, more to learn from. This can be so where examples are few, prompts are long and "
            "pre-training has left much to learn about them.",
        },
        "why": "Halfway, exact match with the mask was {half_gap:+.0f} points above that without it, and at the end {end_gap:+.0f}. "
        "Most tokens are the prompt's, so without the mask most of an update goes into writing questions.",
    },
    "no_end_mark": {
        "choices": {
            "a": "comes from the thought that a model can write what it often reads. But only a token with a label is learned as an "
            "output, and behind the model's own answers the mark had none.",
            "b": "comes from asking which token the model learned to write behind an answer: none.",
            "c": "comes from thinking of an answer as one whole. The loss is a sum over tokens, and the other tokens were trained "
            "as before.",
        },
        "why": "{stops[without]:.0%} of its answers stopped within the limit; with the end mark it was {stops[with]:.0%}. {starts_right:.0%} "
        "began with the right answer, word for word. Behind it there is no label, so it was not trained what to write there. "
        "Its loss does not show this: the mark that is missing is not counted in it.",
    },
    "loss_turns": {
        "choices": {
            "a": "comes from the training loss, which goes on falling. On held-out records the loss need not do so.",
            "b": "comes from the textbook picture of overfitting, where the quality that you want and the loss are the same thing.",
            "c": "comes from asking what the loss measures: it also counts how sure the model is. To be sure of a wrong choice costs much.",
        },
        "why": "The loss was lowest at update {best[step]}, {best[nll]:.2f}; after that it was as high as {later[nll]:.2f}, at update "
        "{later[step]}, and {last[nll]:.2f} at the end. Exact match was {best[match]:.0%}, {later[match]:.0%} and {last[match]:.0%} at these "
        "three. Where its first choice is wrong, the model gave it a probability of "
        "{first[sure where wrong]:.2f} at the first look and of {last[sure where wrong]:.2f} at the last.",
    },
}
