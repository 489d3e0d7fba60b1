"""Chapter 04's picture with a slider: how annotators of a temperature choose between two answers."""

import io
from collections.abc import Callable


def annotator_explorer(preference_probability: Callable, shown: float = 6.0):
    """The curve P(first preferred) against the difference of two rewards, under a slider for the temperature.

    preference_probability: the reader's own function. Returns the widget; without a kernel the first picture stays.
    """
    import ipywidgets as widgets

    options = {"continuous_update": False, "layout": widgets.Layout(width="420px")}
    slider = widgets.FloatLogSlider(1.0, base=10, min=-1, max=1, step=0.05, description="temperature", **options)
    picture = widgets.Image(format="png", width=640)

    def redraw(_=None) -> None:
        picture.value = _curve(preference_probability, slider.value, shown)

    slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([slider, picture])


def _curve(preference_probability: Callable, temperature: float, shown: float) -> bytes:
    """A PNG of the curve, beside that of temperature 1, with the probability at a difference of 1 marked."""
    import torch
    from matplotlib.figure import Figure

    from course.plots import BLUE, GREY, VERMILION

    differences = torch.linspace(-shown, shown, 201)
    zero = torch.zeros(())
    figure = Figure(figsize=(6.5, 3.1), layout="constrained")
    axes = figure.subplots()
    axes.plot(differences, preference_probability(differences, zero), color=GREY, linewidth=1.2, label="temperature 1")
    axes.plot(differences, preference_probability(differences, zero, temperature), color=BLUE, linewidth=2)
    at_one = float(preference_probability(torch.ones(()), zero, temperature))
    axes.plot([1], [at_one], "o", color=VERMILION)
    place = {"xytext": (3.2, 0.35), "arrowprops": {"arrowstyle": "-", "color": VERMILION, "linewidth": 0.8}}
    axes.annotate(f"a difference of 1: {at_one:.0%}", (1, at_one), color=VERMILION, va="center", **place)
    axes.set(ylim=(-0.02, 1.02), xlabel="reward of the first less reward of the second", ylabel="the first is preferred")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper left")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()
