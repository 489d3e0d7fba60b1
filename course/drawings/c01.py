"""The drawings of chapter 01: padding and the mask, the shift by one, what top-k and top-p keep, BERT's input."""

from collections.abc import Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION

MONO_WIDTH = 0.62  # of a character, as a share of its size


def padding_and_mask(rows: Sequence[Sequence[str]], mask) -> Drawing:
    """A batch as a rectangle of tokens, with the attention mask beside it. mask: (rows, seq) of 0 and 1."""
    mask = [[int(x) for x in row] for row in mask]
    columns = len(mask[0])
    cell, left, top, size = 18, 10, 46, 12
    widths = [max(len(row[i]) for row in rows) * size * MONO_WIDTH + 8 for i in range(columns)]
    right = left + sum(widths) + 22
    total = right + columns * cell + 10
    height = top + len(rows) * 30 + 12
    alt = (
        f"A batch of {len(rows)} rows, each {columns} tokens long. Shorter rows are filled with <pad> on the right. Beside it "
        "the attention mask, which is 1 at each real token and 0 at each <pad>."
    )
    picture = Drawing(width=int(total), height=height, alt=alt)
    picture.text(left, 20, "input_ids, as tokens", 13, bold=True)
    picture.text(right, 20, "attention_mask", 13, bold=True)
    for r, row in enumerate(rows):
        x, y = left, top + 30 * r
        for i, token in enumerate(row):
            real = bool(mask[r][i])
            picture.cell(x, y, widths[i] - 2, 22, BLUE if real else None, opacity=0.22)
            picture.text(x + widths[i] / 2 - 1, y + 11, token, size, "middle", None if real else GREY, mono=True)
            x += widths[i]
            picture.cell(right + cell * i, y, cell - 2, 22, BLUE if real else None, opacity=0.22)
            at = right + cell * i + cell / 2 - 1
            picture.text(at, y + 11, str(mask[r][i]), size, "middle", None if real else GREY, mono=True)
    return picture


def shift_by_one(tokens: Sequence[str]) -> Drawing:
    """Which position's logits speak about which label: each about the token one place to the right."""
    step, left, w = 500 / len(tokens), 92, 500 / len(tokens) - 12
    alt = (
        f"Two rows of the same {len(tokens)} tokens: the input above, the labels below. An arrow leads from each input position "
        "to the label one place to its right. The first label has no arrow, and the last position has none either."
    )
    picture = Drawing(width=600, height=194, alt=alt)
    picture.text(4, 52, "input", 13, bold=True)
    picture.text(4, 70, "logits at t", 12, color=GREY)
    picture.text(4, 150, "labels", 13, bold=True)
    for i, token in enumerate(tokens):
        x = left + step * i
        last, first = i == len(tokens) - 1, i == 0
        picture.box(x, 46, w, 30, token, GREY if last else BLUE, size=12, dashed=last)
        picture.box(x, 135, w, 30, token, GREY if first else GREEN, size=12, dashed=first)
        picture.text(x + w / 2, 32, f"{i}", 12, "middle", GREY)
        if not last:
            picture.arrow(x + w / 2, 78, x + step + w / 2, 132, color=VERMILION)
    picture.text(left, 182, "is not predicted", 12, color=GREY)
    picture.text(left + step * (len(tokens) - 1) + w, 11, "predicts nothing", 12, "end", GREY)
    return picture


def what_is_kept(words: Sequence[str], probs: Sequence[float], top_k: int, top_p: float) -> Drawing:
    """The most likely tokens as bars, and which of them top-k and top-p keep. words, probs: all tokens, most likely first."""
    sums, kept_by_p = 0.0, 0
    for p in probs:
        kept_by_p += 1
        sums += p
        if sums >= top_p:
            break
    shown = min(len(words), max(top_k, kept_by_p) + 3)
    step, left, base, tall = 508 / shown, 82, 150, 118
    rest = 1 - sum(probs[:shown])
    alt = (
        f"Bars of the {shown} most likely tokens, from {words[0]} ({probs[0]:.0%}) downwards. Top-k with k = {top_k} keeps the "
        f"first {top_k}. Top-p with p = {top_p:g} keeps the first {kept_by_p}, whose probabilities sum to {sums:.2f}."
    )
    picture = Drawing(width=600, height=268, alt=alt)
    for i in range(shown):
        x, h = left + step * i, tall * probs[i] / probs[0]
        picture.bar(x, base, step - 6, -h, BLUE)
        picture.text(x + step / 2 - 3, base - h - 9, f"{probs[i]:.0%}", 12, "middle")
        picture.text(x + step / 2 - 3, base + 14, words[i], 12, "middle", mono=True)
    picture.line(left - 4, base, left + step * shown, base)
    for y, name, kept, color in ((188, f"top-k, {top_k}", top_k, ORANGE), (216, f"top-p, {top_p:g}", kept_by_p, GREEN)):
        picture.text(4, y, name, 12, color=color, bold=True)
        for i in range(shown):
            picture.cell(left + step * i, y - 9, step - 6, 18, color if i < kept else None)
    sums_text = f"{probs[0]:.2f} + … + {probs[kept_by_p - 1]:.2f} = {sums:.2f}" if kept_by_p > 1 else f"{sums:.2f}"
    picture.text(left, 242, f"the sum first reaches {top_p:g} at token {kept_by_p}: {sums_text}", 12, color=GREEN)
    if rest > 0.005:
        picture.text(left, 260, f"not shown: {len(words) - shown} more tokens, which hold {rest:.0%} together", 12, color=GREY)
    return picture


def bert_input(tokens: Sequence[str], truth: Sequence[str], second: Sequence[int]) -> Drawing:
    """What goes into BERT at each position: the sum of three embeddings, and what must be predicted.

    truth: the original token where one was chosen, "" elsewhere; second: 1 where a token belongs to the second sentence.
    """
    size = 12
    widths = [max(len(token), len(t), 3) * size * MONO_WIDTH + 8 for token, t in zip(tokens, truth)]
    left = 94
    alt = (
        "A pair of sentences as BERT reads it. Below each token stand the three embeddings that are added: that of the token, "
        "of the sentence it belongs to (A or B), and of its position. Chosen tokens are in orange, with the word to predict "
        "above them; the answer to “does B follow A” is read at the first token."
    )
    rows = _lines(widths, 500)
    names = ((18, "predict", ORANGE), (52, "token", BLUE), (88, "+ sentence", PURPLE), (120, "+ position", SKY))
    picture = Drawing(width=600, height=168 * len(rows) + 6, alt=alt)
    for line, (begin, end) in enumerate(rows):
        top = 168 * line
        for y, name, color in names:
            picture.text(4, top + y, name, 12, color=color, bold=True)
        x = left
        for i in range(begin, end):
            w = widths[i]
            color = ORANGE if truth[i] else BLUE
            if truth[i] or i == 0:
                asked = ORANGE if truth[i] else VERMILION
                picture.text(x + w / 2, top + 18, truth[i] or "A→B?", size, "middle", asked, mono=True)
            picture.cell(x, top + 40, w - 3, 24, color, opacity=0.25)
            picture.text(x + w / 2 - 1.5, top + 52, tokens[i], size, "middle", mono=True)
            picture.cell(x, top + 76, w - 3, 24, PURPLE, opacity=0.12 + 0.25 * int(second[i]))
            picture.text(x + w / 2 - 1.5, top + 88, "AB"[int(second[i])], size, "middle", mono=True)
            picture.cell(x, top + 108, w - 3, 24, SKY, opacity=0.25)
            picture.text(x + w / 2 - 1.5, top + 120, str(i), size, "middle", mono=True)
            x += w
    return picture


def _lines(widths: Sequence[float], most: float) -> list[tuple[int, int]]:
    """Where to break a row of things so that none of the lines is wider than `most`: (begin, end) of each line."""
    lines, begin, used = [], 0, 0.0
    for i, w in enumerate(widths):
        if used + w > most and i > begin:
            lines.append((begin, i))
            begin, used = i, 0.0
        used += w
    return [*lines, (begin, len(widths))]
