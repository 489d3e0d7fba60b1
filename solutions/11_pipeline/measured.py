"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c11_notebook.py"""

_NUMBERS = ("utility", "kl", "kl error", "kl drawn", "drawn error", "loss", "seconds", "spent", "worse", "tokens an answer")


def _plain(found: dict) -> dict:
    return {name: found[name] for name in _NUMBERS if name in found}


MEASURED = {
    "base": _plain(at_base), "sft": _plain(at_sft), "itself": itself, "widths": widths,
    "runs": {name: [_plain(run) for run in found] for name, found in runs.items()}, "wins": wins,
    "holds": holds, "anew": anew, "gain": gain, "others": others, "after_sft": after_sft, "later": later, "right": right,
    "choices": chosen, "refusals": refusals, "bytes": len(content), "sft_seconds": sft_seconds,
}
