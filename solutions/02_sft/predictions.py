"""What chapter 02's predictions tell, once the reader has chosen. Numbers in braces come from the run."""

PREDICTIONS = {
    "asked_a_question": {
        "choices": {
            "a": "comes from use: whoever has talked to a chat model expects answers. Those were trained to answer. This model was "
            "trained to continue texts, and nothing says that a text of one question goes on with its answer.",
            "b": "comes from asking what stands behind a question in the texts it read: in a sheet of questions, the next question.",
            "c": "comes from the thought that what was never trained cannot come out right. But the words are ordinary ones, and "
            "to go on with ordinary words is just what it was trained for.",
        },
        "why": "Of {asked} questions it answered {answers_it:.0%} and went on with another question after {asks_back:.0%}. In its "
        "corpus, questions stand on sheets of questions. The likeliest continuation is not the most useful one.",
    },
    "mask_or_not": {
        "choices": {
            "a": "comes from seeing the prompt's tokens as a distraction: they take up gradient, and do no lasting harm.",
            "b": "comes from seeing them as a wrong task. But to write questions and to write answers are not at odds: one model "
            "can learn both, if it is given the time.",
            "c": "comes from counting tokens: more labels, more signal. It can be so where examples are few, prompts are long and "
            "pre-training has left much to learn about them.",
        },
        "why": "Halfway, exact match with the mask was {half_gap:+.0f} points above that without it, and at the end {end_gap:+.0f}. "
        "Most tokens are the prompt's, so without the mask most of an update goes into writing questions.",
    },
    "no_end_mark": {
        "choices": {
            "a": "comes from the thought that to read a mark is to know it. But only what has a label is learned as an output, and "
            "behind its own answers the mark had none.",
            "b": "comes from asking which token is the likeliest behind the answer, if none was ever asked for there.",
            "c": "comes from thinking of an answer as one whole. The loss is a sum over tokens, and the other tokens were trained "
            "as before.",
        },
        "why": "{stops[without]:.0%} of its answers stopped within the limit; with the end mark it was {stops[with]:.0%}. {starts_right:.0%} "
        "began with the right answer, word for word. After it there is no label, so no lesson: whatever comes, comes. "
        "Nothing in its loss shows it: the mark that it lacks is not counted there.",
    },
    "loss_turns": {
        "choices": {
            "a": "comes from the training loss, which falls on and on. On held-out records nothing promises that.",
            "b": "comes from the textbook picture of overfitting, where the quality that you want and the loss are the same thing.",
            "c": "comes from asking what the loss is made of: it pays for sureness, and sureness where the choice is wrong is dear.",
        },
        "why": "The loss was lowest at update {best[step]}, {best[nll]:.2f}, and {last[nll]:.2f} at the end; exact match was "
        "{best[match]:.0%} there and {last[match]:.0%} at the end. Where its first choice is wrong, the model gave it a probability of "
        "{first[sure where wrong]:.2f} at the first look and of {last[sure where wrong]:.2f} at the last.",
    },
}
