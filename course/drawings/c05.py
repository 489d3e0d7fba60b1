"""Chapter 05's drawings: who is who in PPO, where an answer is paid, how credit is handed back, and what the clip stops."""

from collections.abc import Callable, Mapping, Sequence

from course.drawing import Drawing
from course.plots import BLUE, GREEN, GREY, ORANGE, VERMILION


def four_models(sizes: Mapping[str, int]) -> Drawing:
    """The four models and what flows between them. sizes: parameters of "policy", "reference", "reward" and "value"."""
    picture = Drawing(
        600, 300,
        alt="The policy writes an answer, which goes to the reference, the reward model and the value model. Their "
        "log-probabilities, score and values give each token a reward and then an advantage. From these the policy and "
        "the value model learn; reference and reward model stay as they are.",
    )  # fmt: skip
    million = {name: f"{size / 1e6:.2f} million" for name, size in sizes.items()}
    picture.box(10, 125, 120, 50, f"policy\n{million['policy']}", BLUE, bold=True)
    picture.box(250, 20, 130, 50, f"reference\n{million['reference']}", GREY, dashed=True)
    picture.box(250, 125, 130, 50, f"reward model\n{million['reward']}", GREY, dashed=True)
    picture.box(250, 230, 130, 50, f"value model\n{million['value']}", ORANGE, bold=True)
    picture.box(475, 125, 115, 50, "advantage of\nevery token", GREEN)
    for y, text in ((45, ""), (150, "answer"), (255, "")):
        picture.arrow(130, 150, 248, y, text)
    picture.arrow(380, 45, 473, 140)
    picture.arrow(380, 150, 473, 150, "score")
    picture.arrow(380, 255, 473, 160)
    picture.text(428, 76, "log-probabilities", 12)
    picture.text(440, 222, "values", 12)
    picture.path([(532, 125), (532, 10), (70, 10), (70, 118)], BLUE, dashed=True)
    picture.arrow(70, 110, 70, 124, color=BLUE)
    picture.text(150, 22, "learns", 12, color=BLUE)
    picture.path([(532, 175), (532, 292), (315, 292), (315, 286)], ORANGE, dashed=True)
    picture.arrow(315, 290, 315, 281, color=ORANGE)
    picture.text(455, 280, "learns", 12, color=ORANGE)
    picture.text(10, 205, "dashed grey: frozen", 12, color=GREY)
    return picture


def payments(tokens: Sequence[str], log_ratios: Sequence[float], score: float, beta: float) -> Drawing:
    """What each token pays for leaving the reference, and the score that comes with the last one."""
    paid = [-beta * ratio for ratio in log_ratios]
    left, width = 95, 500
    step = width / len(tokens)
    picture = Drawing(
        600, 230,
        alt=f"Under each of the {len(tokens)} tokens of an answer a small bar, its share of the KL penalty; above the last "
        f"token one more bar, the score {score:.2f} of the whole answer.",
    )  # fmt: skip
    scale = 42 / max(0.05, *(abs(p) for p in paid))
    picture.text(8, 32, "score", 12, color=GREEN)
    picture.text(8, 112, "−β log-ratio", 12, color=GREY)
    picture.line(left, 60, left + width, 60, GREY)
    picture.line(left, 112, left + width, 112, GREY)
    for i, (token, p) in enumerate(zip(tokens, paid, strict=True)):
        x = left + i * step
        picture.bar(x + 0.2 * step, 112, 0.6 * step, -p * scale, BLUE if p >= 0 else VERMILION)
        picture.text(x + step / 2, 170 + 18 * (i % 2), token, 12, "middle", mono=True)
        picture.line(x + step / 2, 156, x + step / 2, 162 + 18 * (i % 2), GREY, width=0.7)
    up = score >= 0
    picture.bar(left + width - 0.8 * step, 60, 0.6 * step, -34 if up else 34, GREEN if up else VERMILION)
    picture.text(left + width - step, 32, f"{score:+.2f}".replace("-", "−"), 12, "end", color=GREEN if up else VERMILION)
    low, high = min(paid), max(paid)
    between = f"between {low:+.2f} and {high:+.2f}".replace("-", "−")
    picture.text(left, 216, f"β = {beta}; a token pays or gets {between}", 12, color=GREY)
    return picture


def credit(
    tokens: Sequence[str], rewards: Sequence[float], values: Sequence[float], gamma: float, lam: float, place: int
) -> Drawing:
    """The TD errors of an answer, and with which weights they add up to the advantage of the token at `place`."""
    after = [*values[1:], 0.0]
    deltas = [r + gamma * v_next - v for r, v_next, v in zip(rewards, after, values, strict=True)]
    weights = [(gamma * lam) ** (t - place) if t >= place else 0.0 for t in range(len(tokens))]
    advantage = sum(w * d for w, d in zip(weights, deltas, strict=True))
    left, width = 70, 520
    step = width / len(tokens)
    picture = Drawing(
        600, 250,
        alt=f"Bars of the TD error at each of {len(tokens)} tokens, and below them the weights with which they count for "
        f"the token “{tokens[place]}”: 0 before it, 1 on it, then smaller by gamma times lambda at each token.",
    )  # fmt: skip
    scale = 48 / max(0.05, *(abs(d) for d in deltas))
    picture.text(8, 60, "TD error δ", 12)
    picture.text(8, 152, "weight", 12, color=ORANGE)
    picture.line(left, 60, left + width, 60, GREY)
    picture.line(left, 170, left + width, 170, GREY)
    for t, (token, d, w) in enumerate(zip(tokens, deltas, weights, strict=True)):
        x = left + t * step
        picture.bar(x + 0.2 * step, 60, 0.6 * step, -d * scale, BLUE if d >= 0 else VERMILION)
        picture.bar(x + 0.2 * step, 170, 0.6 * step, -38 * w, ORANGE)
        chosen = t == place
        picture.text(x + step / 2, 188 + 18 * (t % 2), token, 12, "middle", ORANGE if chosen else None, mono=True, bold=chosen)
    picture.text(
        left, 236, f"γ = {gamma}, λ = {lam}: the advantage of “{tokens[place]}” is the weighted sum, {advantage:+.2f}", 12,
        color=GREY,
    )  # fmt: skip
    return picture


def clip(objective: Callable[[float, float], float], clip_range: float) -> Drawing:
    """The objective of one token against its ratio, for A = 1 and A = -1. objective(ratio, advantage): the reader's own."""
    picture = Drawing(
        600, 250,
        alt="Two curves of the objective against the ratio. For a good token it rises and is flat above 1 + ε. For a bad "
        "token it is flat below 1 - ε and falls from there on. On the other sides there is no flat part.",
    )  # fmt: skip
    low, high = 0.4, 1.6
    for left, a, color in ((30, 1.0, BLUE), (325, -1.0, VERMILION)):
        width, middle = 245, 125

        def at(ratio, value, left=left, width=width, middle=middle, a=a):
            return left + (ratio - low) / (high - low) * width, middle - 85 * (value - a)

        ratios = [low + (high - low) * i / 60 for i in range(61)]
        inside, _ = at(1 - clip_range, 0)
        outside, _ = at(1 + clip_range, 0)
        picture.bar(inside, 30, outside - inside, 180, GREY, opacity=0.12)
        picture.path([at(r, r * a) for r in ratios], GREY, dashed=True, width=1.2)
        picture.path([at(r, objective(r, a)) for r in ratios], color, width=2.4)
        picture.line(left, 210, left + width, 210, GREY)
        for ratio, text in ((1 - clip_range, "1 − ε"), (1.0, "1"), (1 + clip_range, "1 + ε")):
            picture.text(at(ratio, 0)[0], 222, text, 12, "middle")
        picture.text(left + width, 240, "ratio", 12, "end", color=GREY)
        picture.text(left, 14, "A > 0: a good token" if a > 0 else "A < 0: a bad token", 13, color=color, bold=True)
        flat, pulled = ((1.42, 40, "stopped"), (0.6, 196, "pulled back")) if a > 0 else (
            (0.6, 44, "stopped"), (1.42, 196, "pushed down"))  # fmt: skip
        for ratio, y, text in (flat, pulled):
            picture.text(at(ratio, 0)[0], y, text, 12, "middle", color=color)
    return picture
