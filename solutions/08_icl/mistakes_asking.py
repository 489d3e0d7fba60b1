"""Wrong answers to chapter 08's first part: prompts, labels, and how sure one may be. Each text is the hint the student reads:
what was done, why it is wrong, where to look."""

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 1: a prompt from examples


def _few_shot_prompt(examples, query, instruction="", input_name="Text", label_name="Label"):
    text = ""
    if instruction:
        text = text + instruction + "\n\n"
    for one, label in examples:
        text = text + input_name + ": " + one + "\n" + label_name + ": " + label + "\n\n"
    return text + input_name + ": " + query + "\n" + label_name + ":"


changes("few_shot_prompt", _few_shot_prompt, [
    ("space_behind_the_colon", "Your prompt ends with a space. The space belongs to the label's first token: behind a space that is already there, a "
     "model expects something else. Stop at the colon.", 'return text + input_name + ": " + query + "\\n" + label_name + ":"',
     'return text + input_name + ": " + query + "\\n" + label_name + ": "'),
    ("line_break_at_the_end", "Your prompt ends with a line break. Then the label would have to stand on a line of its own, as in no example. Stop at "
     "the colon.", 'query + "\\n" + label_name + ":"', 'query + "\\n" + label_name + ":\\n"'),
    ("no_colon_at_the_end", "The last line has no colon. In the examples it has one: the last block has to look like the others, up to the label.",
     'query + "\\n" + label_name + ":"', 'query + "\\n" + label_name'),
    ("no_line_for_the_label", "Your prompt ends behind the query. The line for its label is missing: the model would have to write the label's name, "
     "too.", 'query + "\\n" + label_name + ":"', "query"),
    ("no_empty_line", "Between your blocks there is no empty line. Join them with two line breaks.", 'label + "\\n\\n"', 'label + "\\n"',
     'instruction + "\\n\\n"', 'instruction + "\\n"'),
    ("examples_on_one_line", "Text and label of an example stand on one line. Each has a line of its own.", 'one + "\\n" + label_name',
     'one + " " + label_name'),
    ("instruction_forgotten", "Your prompt has no instruction. Where it is not empty, it comes first.", 'text + instruction + "\\n\\n"', "text"),
    ("instruction_where_there_is_none", "Your prompt begins with an empty block where there is no instruction. An empty instruction gives no block.",
     "if instruction:", "if True:"),
    ("examples_backwards", "Your examples come in the opposite order. The order is the caller's: it matters to a model.", "in examples:",
     "in reversed(examples):"),
    ("text_and_label_swapped", "In your examples text and label have changed places.", "for one, label in examples", "for label, one in examples"),
    ("labels_left_out", "Your examples have no labels. They are what the examples are for.", 'label_name + ": " + label + "\\n\\n"',
     'label_name + ":" + "\\n\\n"'),
    ("no_space_in_the_examples", "In your examples the label stands right behind the colon. A space belongs between them.",
     'label_name + ": " + label', 'label_name + ":" + label'),
    ("names_fixed", "The names of the lines are always Text and Label. They are arguments.", "text = \"\"",
     'text, input_name, label_name = "", "Text", "Label"'),
    ("last_example_left_out", "Your last example is missing.", "in examples:", "in examples[:-1]:"),
    ("one_example_only", "You show the first example only.", "in examples:", "in examples[:1]:"),
])  # fmt: skip


@mistake("few_shot_prompt")
def query_first(examples, query, instruction="", input_name="Text", label_name="Label"):
    """The query stands before the examples. A model goes on where the text ends: the query has to be the last block."""
    blocks = [instruction] if instruction else []
    blocks += [f"{input_name}: {query}\n{label_name}:"] + [f"{input_name}: {t}\n{label_name}: {y}" for t, y in examples]
    return "\n\n".join(blocks)


@mistake("few_shot_prompt")
def instruction_last(examples, query, instruction="", input_name="Text", label_name="Label"):
    """The instruction stands behind the examples. It comes first."""
    blocks = [f"{input_name}: {t}\n{label_name}: {y}" for t, y in examples] + ([instruction] if instruction else [])
    return "\n\n".join([*blocks, f"{input_name}: {query}\n{label_name}:"])


# --- Exercise 2: the tokens of a label


def _with_label(prompt, label, encode):
    whole = encode(prompt + " " + label)
    alone = encode(prompt)
    first = 0
    for ours, theirs in zip(whole, alone):
        if ours != theirs:
            break
        first = first + 1
    return whole, first


changes("with_label", _with_label, [
    ("space_lost", "There is no space between your prompt and the label. The model is then asked about a strange way of writing, such as Label:good.",
     'prompt + " " + label', "prompt + label"),
    ("two_spaces", "There are two spaces between your prompt and the label.", '" " + label', '"  " + label'),
    ("on_a_new_line", "Your label stands on a new line. One space is what separates it.", 'prompt + " " + label', 'prompt + "\\n" + label'),
    ("encoded_apart_without_the_space", "You encode prompt and label apart and put the ids together. The space is lost so: `good` and `␣good` are "
     "different tokens. Encode the whole as one text.", 'encode(prompt + " " + label)', "list(encode(prompt)) + list(encode(label))"),
    ("space_with_the_prompt", "You encode the prompt with a space behind it and the label apart. In the whole text, the space belongs to the label's "
     "first token. Encode the whole as one text.", 'encode(prompt + " " + label)', 'list(encode(prompt + " ")) + list(encode(label))'),
    ("encoded_apart", "You encode the prompt and the label with its space apart. Where a tokenizer joins the end of the prompt with the label, these are "
     "not the ids of the whole text. Encode the whole as one text.", 'encode(prompt + " " + label)', 'list(encode(prompt)) + list(encode(" " + label))'),
    ("prompt_counted_alone", "You count the tokens of the prompt alone. Where a tokenizer cuts the whole text elsewhere, the prompt's part is shorter: it "
     "ends where the two lists of ids begin to differ.", "return whole, first", "return whole, len(alone)"),
    ("prompt_counted_with_a_space", "You count the tokens of the prompt with a space behind it. In the whole text that space belongs to the label's "
     "first token.", "return whole, first", 'return whole, len(encode(prompt + " "))'),
    ("counted_one_too_few", "Your count is one too small: it is the place of the prompt's last token. The label begins one behind it.",
     "return whole, first", "return whole, first - 1"),
    ("counted_one_too_many", "Your count is one too large: the label's first token would not be scored.", "return whole, first", "return whole, first + 1"),
    ("label_counted", "You return how many tokens the label has. Asked for is how many are prompt.", "return whole, first",
     "return whole, len(whole) - first"),
    ("the_label_alone", "You return the ids of the label only. The model has to read the prompt too.", "return whole, first",
     "return whole[first:], first"),
    ("characters_counted", "You count characters. Tokens are asked for.", "return whole, first", "return whole, len(prompt)"),
])  # fmt: skip


# --- Exercise 3: what a model gives to labels


def _split(prompt, label, encode):
    whole, alone, first = encode(f"{prompt} {label}"), encode(prompt), 0
    while first < len(alone) and whole[first] == alone[first]:
        first += 1
    return whole, first


def _label_scores(model, prompt, labels, encode):
    scores = []
    for label in labels:
        ids, first = _split(prompt, label, encode)
        row = torch.tensor([ids], device=model.device)
        with torch.no_grad():
            logits = model(input_ids=row).logits[0]
        logps = logits.log_softmax(-1)[:-1].gather(1, row[0, 1:, None])[:, 0]
        own = logps[first - 1 :]
        scores.append(own.sum())
    return torch.stack(scores)


changes("label_scores", _label_scores, [
    ("mean_for_the_sum", "You take the mean over the label's tokens. log p of a label is the sum of its tokens' log-probabilities.", "own.sum()", "own.mean()"),
    ("prompt_scored_too", "You add up the log-probabilities of the prompt's tokens as well. Only the label's tokens are its score.",
     "own = logps[first - 1 :]", "own = logps"),
    ("last_prompt_token_scored", "Your sum begins one token too early: the last token of the prompt is in it.", "logps[first - 1 :]", "logps[first - 2 :]"),
    ("first_label_token_left_out", "Your sum begins one token too late: the label's first token is missing. Its logits stand at the last place of the "
     "prompt.", "logps[first - 1 :]", "logps[first:]"),
    ("first_token_only", "You score the first token of each label only. Labels that begin alike then get the same score.", "logps[first - 1 :]",
     "logps[first - 1 : first]"),
    ("last_token_only", "You score the last token of each label only.", "logps[first - 1 :]", "logps[-1:]"),
    ("not_shifted", "You read each token's probability at its own place. The logits at a place belong to the token that *follows*.",
     "logits.log_softmax(-1)[:-1].gather(1, row[0, 1:, None])", "logits.log_softmax(-1)[1:].gather(1, row[0, 1:, None])"),
    ("logits_for_log_probabilities", "You add up logits. They are log-probabilities only after log_softmax.", "logits.log_softmax(-1)[:-1]", "logits[:-1]"),
    ("probabilities_summed", "You add up probabilities. The probability of several tokens is their product: add their logarithms.",
     "logits.log_softmax(-1)[:-1]", "logits.softmax(-1)[:-1]"),
    ("log_of_softmax", "You take the log of softmax. Tiny probabilities become 0, and their log minus infinity: use log_softmax.",
     "logits.log_softmax(-1)[:-1]", "logits.softmax(-1).log()[:-1]"),
    ("probability_for_its_logarithm", "You return probabilities. log p is asked for.", "own.sum()", "own.sum().exp()"),
    ("among_the_labels", "You make the scores log-probabilities *among the labels*. Asked for is log p of each label among all texts.",
     "return torch.stack(scores)", "return torch.stack(scores).log_softmax(0)"),
    ("surprise_for_the_score", "Your scores are positive: minus log p. The likelier label must have the higher score.", "return torch.stack(scores)",
     "return -torch.stack(scores)"),
    ("divided_by_the_letters", "You divide by the number of letters. The score is the sum itself.", "own.sum()", "own.sum() / len(label)"),
    ("label_without_its_space", "The space between prompt and label is missing: a model is asked about Label:good.", "_split(prompt, label, encode)",
     "_split(prompt, label, lambda text: encode(text.replace(f' {label}', label)))"),
    ("label_encoded_apart", "You encode the prompt and the label apart. The tokens are then not those of exercise 2.",
     "_split(prompt, label, encode)", "list(encode(prompt)) + list(encode(label)), len(encode(prompt))"),
])  # fmt: skip


# --- Exercise 4: how sure is a difference


def _paired_differences(first, second, draws, generator):
    questions = first.shape[0]
    found = []
    for _ in range(draws):
        chosen = torch.randint(0, questions, (questions,), generator=generator)
        found.append(second[chosen].mean() - first[chosen].mean())
    return torch.stack(found)


changes("paired_differences", _paired_differences, [
    ("not_paired", "You draw other questions for the second way than for the first. Then hard questions that one way happens to get count against it, and "
     "the interval is far too wide. Draw once, for both.", "second[chosen].mean()",
     "second[torch.randint(0, questions, (questions,), generator=generator)].mean()"),
    ("without_replacement", "You draw without replacement: each draw then has all questions, and all differences are the same.",
     "torch.randint(0, questions, (questions,), generator=generator)", "torch.randperm(questions, generator=generator)"),
    ("the_other_way_round", "Your difference is first minus second.", "second[chosen].mean() - first[chosen].mean()",
     "first[chosen].mean() - second[chosen].mean()"),
    ("last_question_never_drawn", "The last question is never drawn: torch.randint(n) goes from 0 to n - 1.", "randint(0, questions, (questions,)",
     "randint(0, questions - 1, (questions,)"),
    ("half_of_the_questions", "Your draws have half as many questions as there are. The scatter is then that of a smaller experiment.",
     "(questions,), generator", "(questions // 2,), generator"),
    ("twice_the_questions", "Your draws have twice as many questions as there are. The scatter is then that of a larger experiment.",
     "(questions,), generator", "(2 * questions,), generator"),
    ("sums_for_means", "You subtract sums of right answers. Accuracies are means.", "second[chosen].mean() - first[chosen].mean()",
     "second[chosen].sum() - first[chosen].sum()"),
    ("measured_difference_subtracted", "You subtract the measured difference, so that your draws lie around 0. The draws themselves are asked for.",
     "return torch.stack(found)", "return torch.stack(found) - (second.mean() - first.mean())"),
    ("second_alone", "You return the accuracy of the second way. The difference is asked for.", "second[chosen].mean() - first[chosen].mean()",
     "second[chosen].mean()"),
    ("generator_ignored", "Your draws do not come from the generator: nobody can repeat them.", "(questions,), generator=generator)",
     "(questions,), generator=torch.Generator().manual_seed(int(torch.randint(2**40, ()))))"),
    ("seeded_anew", "Your draws are the same whatever the generator is. Draw with it.", "(questions,), generator=generator)",
     "(questions,), generator=torch.Generator().manual_seed(len(found)))"),
    ("first_run_only", "You use the first run of each question only. All its runs come along.", "second[chosen].mean() - first[chosen].mean()",
     "second[chosen, 0].mean() - first[chosen, 0].mean()"),
])  # fmt: skip


@mistake("paired_differences")
def runs_drawn_as_questions(first, second, draws, generator):
    """You draw single answers, as if each run were a question of its own. Runs of one question are alike: the interval gets
    too narrow, or wrong. Draw questions, and take all their runs."""
    runs = min(first.shape[1], second.shape[1])
    better = (second[:, :runs] - first.mean(1, keepdim=True)).flatten()
    drawn = torch.randint(len(better), (draws, len(better)), generator=generator)
    return better[drawn].mean(1)


# --- Exercise 5: calibration


def _calibrated(scores, neutral_scores):
    probs = scores.softmax(1)
    liked = neutral_scores.softmax(1)
    weight = liked.mean(0)
    found = probs / weight
    return found / found.sum(1, keepdim=True)


changes("calibrated", _calibrated, [
    ("calibration_inverted", "You multiply by what the neutral texts get. Then the label that the model likes anyway is helped once more: divide.",
     "probs / weight", "probs * weight"),
    ("not_made_to_sum_to_one", "Your numbers do not sum to 1. Divide each question's by their sum.", "return found / found.sum(1, keepdim=True)",
     "return found"),
    ("not_calibrated", "Nothing is divided: these are the probabilities as they were.", "probs / weight", "probs"),
    ("scores_averaged_first", "You take the mean of the neutral texts' scores, or of their log-probabilities. p_neutral is the mean of their *probabilities*: first softmax, text by "
     "text, then the mean.",
     "liked.mean(0)", "neutral_scores.mean(0).softmax(0)"),
    ("first_neutral_text_only", "You use the first neutral text only. p_neutral is the mean over all of them.", "liked.mean(0)", "liked[0]"),
    ("questions_for_neutral_texts", "You divide by the mean over the questions, not over the neutral texts. If most questions have the same answer, that "
     "punishes it.", "liked.mean(0)", "probs.mean(0)"),
    ("not_among_the_labels", "You take exp of the scores. They are first made probabilities *among the labels*, prompt by prompt: softmax.",
     "neutral_scores.softmax(1)", "neutral_scores.exp()"),
    ("over_the_questions", "Your softmax runs over the questions. Each question's labels have to sum to 1.", "probs = scores.softmax(1)", "probs = scores.softmax(0)"),
    ("subtracted", "You subtract p_neutral. It is divided by.", "probs / weight", "(probs - weight)"),
    ("logarithms_returned", "You return logarithms. Probabilities are asked for.", "return found / found.sum(1, keepdim=True)",
     "return (found / found.sum(1, keepdim=True)).log()"),
    ("divided_by_the_root", "You divide by the square root of p_neutral.", "liked.mean(0)", "liked.mean(0).sqrt()"),
    ("most_likely_label_only", "You return 1 for the likeliest label and 0 for the others. Probabilities are asked for.",
     "return found / found.sum(1, keepdim=True)", "return (found == found.amax(1, keepdim=True)).float()"),
])  # fmt: skip
