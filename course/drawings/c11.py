"""Chapter 11's drawings: the roads from the base model, the loop of five steps, and what stands in a checkpoint."""

from collections.abc import Mapping, Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION


def roads() -> Drawing:
    """From the base model to SFT, and the four ways on from there; and the way that leaves SFT out."""
    picture = Drawing(
        600, 250,
        alt="From the base model an arrow goes to fine-tuning, SFT. From there four ways go on: best of n, a reward model and "
        "PPO, DPO, and GRPO. A dashed arrow goes from the base model to GRPO directly, leaving out SFT.",
    )  # fmt: skip
    picture.box(6, 96, 96, 46, "base model", GREY)
    picture.arrow(102, 119, 158, 119)
    picture.box(160, 96, 110, 46, "SFT on\ndemonstrations", ORANGE, size=12)
    ways = (("best of n:\nnothing is trained", SKY), ("reward model, PPO", BLUE))
    ways += (("DPO, on the pairs", GREEN), ("GRPO, on groups", PURPLE))
    for i, (text, color) in enumerate(ways):
        y = 8 + 58 * i
        picture.box(386, y, 208, 44, text, color, size=12)
        picture.arrow(270, 119, 384, y + 22)
    picture.text(160, 58, "then pairs of answers,", 12)
    picture.text(160, 76, "compared by people", 12)
    picture.path([(54, 142), (54, 212), (380, 212)], VERMILION, dashed=True)
    picture.arrow(376, 212, 384, 210, color=VERMILION)
    picture.text(64, 230, "without SFT: does that work?", 12, color=VERMILION)
    return picture


def five_steps() -> Drawing:
    """The loop: answer, compare, learn a reward, train the policy, and again with the new policy."""
    picture = Drawing(
        600, 190,
        alt="Four boxes in a ring: the policy answers; people compare the answers; a reward model learns from it; the policy is "
        "trained with it. The fifth step is the arrow back: the new policy answers. DPO joins 3 and 4.",
    )  # fmt: skip
    steps = (
        (20, 20, "1 the policy answers", BLUE), (330, 20, "2 people compare", ORANGE),
        (330, 120, "3 a reward model learns", PURPLE), (20, 120, "4 the policy is trained", BLUE),
    )  # fmt: skip
    for x, y, text, color in steps:
        picture.box(x, y, 240, 46, text, color)
    picture.arrow(260, 43, 328, 43, "pairs")
    picture.arrow(450, 66, 450, 118)
    picture.arrow(330, 143, 262, 143, "scores")
    picture.arrow(140, 120, 140, 68)
    picture.text(150, 94, "5 again, with the new policy", 12)
    picture.text(290, 182, "DPO: steps 3 and 4 are one", 12, "middle", color=GREY)
    return picture


def intervals(rows: Sequence[tuple[str, float, float, float]], middle: float = 0.5) -> Drawing:
    """Win rates with their intervals, one row for each policy: its name, the rate, the lower and the upper end."""
    told = "; ".join(f"{name}: {rate:.2f}, from {low:.2f} to {high:.2f}" for name, rate, low, high in rows)
    picture = Drawing(600, 44 + 26 * len(rows), alt=f"Win rates over the fine-tuned model, with intervals. {told}.")
    left, width = 220, 330
    at = lambda x: left + x * width  # noqa: E731
    picture.line(at(middle), 8, at(middle), 14 + 26 * len(rows), GREY, dashed=True)
    for i, (name, rate, low, high) in enumerate(rows):
        y = 22 + 26 * i
        picture.text(left - 12, y, name, 12, "end")
        picture.line(at(low), y, at(high), y, BLUE, width=2)
        picture.circle(at(rate), y, 4, BLUE)
        picture.text(min(at(high) + 8, 562), y, f"{rate:.2f}", 12)
    for x in (0.0, middle, 1.0):
        picture.text(at(x), 32 + 26 * len(rows), f"{x:g}", 12, "middle", color=GREY)
    return picture


def checkpoint(header: Mapping[str, dict], length: int, total: int) -> Drawing:
    """A safetensors file from its first byte to its last. header: of each tensor its "shape" and its "data_offsets"."""
    names = [name for name in header if not name.startswith("__")]
    told = "; ".join(f"{name}, shape {tuple(header[name]['shape'])}" for name in names)
    picture = Drawing(
        600, 128,
        alt=f"A file of {total} bytes: eight bytes that say how long the header is, a header of {length} bytes, and then the "
        f"numbers of the tensors, one behind the other: {told}.",
    )  # fmt: skip
    picture.box(6, 34, 76, 50, "8 bytes:\nlength", GREY, size=12)
    picture.box(84, 34, 170, 50, f"header: {length} bytes\nof JSON, no code", ORANGE, size=12)
    width = 338 / max(1, len(names))
    for i, (name, color) in enumerate(zip(names, (BLUE, GREEN, PURPLE, SKY), strict=False)):
        begin, end = header[name]["data_offsets"]
        picture.box(256 + i * width, 34, width - 4, 50, f"{name}\n{tuple(header[name]['shape'])}", color, size=12)
        picture.text(256 + i * width + (width - 4) / 2, 100, f"bytes {begin} to {end}", 12, "middle", color=GREY)
    picture.text(6, 16, f"a checkpoint of {total:,} bytes", 13, bold=True)
    picture.text(84, 100, "names, kinds, shapes, places", 12, color=GREY)
    return picture
