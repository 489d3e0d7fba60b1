"""Chapter 02: a chat and its mask, two sides of padding, what a mean of means weighs, packed rows, three beginnings."""

from collections.abc import Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, ORANGE, VERMILION

_WHO = {"user": "a person", "assistant": "the model", "tool": "a program", "system": "the operator"}


def chat_with_mask(messages: Sequence[dict]) -> Drawing:
    """A conversation, a message a line: what the assistant says is coloured, its end mark too."""
    height = 34 + 34 * len(messages)
    roles = ", ".join(message["role"] for message in messages)
    picture = Drawing(
        600, height,
        f"A conversation of {len(messages)} messages ({roles}). The words of the assistant's messages and the end mark behind "
        "them are coloured: they are trained on. Headers, and all that the others write, are not.",
    )  # fmt: skip
    for i, message in enumerate(messages):
        y, spoken = 8 + 34 * i, message["role"] == "assistant"
        picture.text(84, y + 11, _WHO[message["role"]], 12, "end")
        words = [*message["content"].split(), "<end>"]
        colors = [None] + [GREEN if spoken else None] * len(words)
        picture.tokens(92, y, [f"<{message['role']}>", *words], colors, size=12)
    picture.cell(92, height - 22, 14, 14, GREEN, opacity=0.22)
    picture.text(112, height - 15, "trained on (mask 1)", 12)
    picture.cell(272, height - 22, 14, 14, None)
    picture.text(292, height - 15, "only read (mask 0)", 12)
    return picture


def padding_sides(long: Sequence[str], short: Sequence[str]) -> Drawing:
    """Two prompts of different length as a batch, padded on the right and on the left, and where the next token comes."""
    picture = Drawing(
        600, 196,
        f"Two prompts, of {len(long)} and {len(short)} tokens, as a batch. Padded on the right, the last place of the short row "
        "is padding, and a new token would come behind the padding. Padded on the left, the last place of both rows is a real "
        "token, and the new ones come right behind it.",
    )  # fmt: skip
    width = min(66, 500 // (len(long) + 1))
    missing = ["·"] * (len(long) - len(short))
    panels = {
        "padded on the right: fine for training": (list(long), [*short, *missing]),
        "padded on the left: what generation needs": (list(long), [*missing, *short]),
    }
    for p, (title, rows) in enumerate(panels.items()):
        top = 14 + 98 * p
        picture.text(8, top, title, 13, bold=True)
        for r, row in enumerate(rows):
            y = top + 14 + 30 * r
            for c, token in enumerate(row):
                picture.cell(8 + width * c, y, width - 3, 24, None if token == "·" else BLUE, opacity=0.2)
                picture.text(8 + width * (c + 0.5) - 2, y + 12, token, 12, "middle", mono=True)
            good = row[-1] != "·"
            x = 8 + width * len(row)
            picture.box(x, y, width - 3, 24, "next" if good else "next?", GREEN if good else VERMILION, size=12, dashed=not good)
    return picture


def two_means(counts: Sequence[int]) -> Drawing:
    """How much each supervised token weighs in an update of two batches: by the mean of means, and by the mean over all."""
    total, unit = sum(counts), 118
    picture = Drawing(
        600, 172,
        f"An update of two batches with {counts[0]} and {counts[1]} supervised tokens. In the mean of the two means, a token of "
        f"the first batch weighs {1 / (2 * counts[0]):.3f}, one of the second {1 / (2 * counts[1]):.3f}. In the mean over all "
        f"tokens each weighs {1 / total:.3f}.",
    )  # fmt: skip
    ways = {"mean of the two means": [1 / (2 * n) for n in counts], "mean over all tokens": [1 / total] * 2}
    for w, (title, weights) in enumerate(ways.items()):
        left = 10 + 300 * w
        picture.text(left, 14, title, 13, bold=True)
        step, x = 230 / total, left
        for n, weight, color in zip(counts, weights, (ORANGE, BLUE), strict=True):
            for _ in range(n):
                picture.bar(x, 128, step - 4, -unit * weight / max(ways["mean of the two means"]) * 0.8, color)
                x += step
            middle = x - step * n / 2 - 2
            picture.text(middle, 142, f"{weight:.3f}", 12, "middle", bold=True)
            picture.text(middle, 159, f"batch of {n}", 12, "middle")
            x += 10
        picture.line(left, 128, left + 244, 128)
    return picture


def packed_row(lengths: Sequence[int], length: int) -> Drawing:
    """One packed row: which example each place belongs to, the position ids, and who may look at whom."""
    colors = (BLUE, ORANGE, GREEN)
    which = [e for e, n in enumerate(lengths) for _ in range(n)]
    which += [None] * (length - len(which))
    positions = [i for n in lengths for i in range(n)] + [0] * (length - sum(lengths))
    side = min(22, 300 // length)
    picture = Drawing(
        600, 74 + side * length,
        f"A row of {length} places that holds examples of {', '.join(map(str, lengths))} tokens and {length - sum(lengths)} of "
        "padding. Position ids begin at 0 with each example. The attention mask is a triangle for each example, one behind the "
        "other along the diagonal: no place looks at another example. A place of padding looks at itself alone.",
    )  # fmt: skip
    left = 116
    picture.text(left - 8, 16, "example", 12, "end")
    picture.text(left - 8, 44, "position ids", 12, "end")
    for c, (e, position) in enumerate(zip(which, positions, strict=True)):
        color = None if e is None else colors[e % 3]
        picture.cell(left + side * c, 6, side, 20, color, opacity=0.35)
        picture.text(left + side * (c + 0.5), 16, "·" if e is None else "ABC"[e % 3], 12, "middle")
        picture.text(left + side * (c + 0.5), 44, str(position), 12, "middle", mono=True)
        for q in range(length):
            sees = c <= q and (c == q if e is None else e == which[q])
            shade = (color or "currentColor") if sees else None
            picture.cell(left + side * c, 60 + side * q, side, side, shade, opacity=0.5 if color else 0.25)
    picture.text(left - 8, 60 + side * length / 2, "may look at  →", 12, "end")
    x = left + side * length + 16
    notes = ("a triangle for each", "example: causal, and", "apart from the others", "", "padding looks", "at itself alone")
    for i, note in enumerate(notes):
        picture.text(x, 70 + 18 * i, note, 12)
    return picture


def three_beginnings(truth: Sequence[str], place: int, wrong: str, own: Sequence[str]) -> Drawing:
    """What a model reads before it says the rest: true words, true words with one wrong, its own words."""
    picture = Drawing(
        600, 128,
        f"Three ways to ask for the words behind place {place + 1} of an answer. The model reads the true words; or true words "
        f"with its own wrong word, {wrong}, at that place; or, from there on, everything that it says itself.",
    )  # fmt: skip
    rows = {
        "true words": (list(truth), []),
        "one wrong word": ([*truth[:place], wrong, *truth[place + 1 :]], [place]),
        "own words": ([*truth[:place], *own[place:]], range(place, len(own))),
    }
    for i, (name, (words, marked)) in enumerate(rows.items()):
        y = 10 + 38 * i
        picture.text(112, y + 11, name, 12, "end")
        picture.tokens(122, y, words, [VERMILION if k in marked else GREEN for k in range(len(words))], size=12)
    return picture
