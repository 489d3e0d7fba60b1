"""Generated changes of chapter 07's references that change nothing: exercise, change, and why."""

_EITHER = "the two dimensions that are exchanged may be named in either order"

EQUIVALENTS = [
    ("low_rank", "u, s, vt = torch.linalg.svd(update, full_matrices=False) -> u, s, vt = torch.linalg.svd(update)", "what is beyond the rank is cut off"),
    ("low_rank", "u, s, vt = torch.linalg.svd(update, full_matrices=False) -> u, s, vt = torch.linalg.svd(update, full_matrices=True)", "what is beyond the rank is cut off"),
    ("low_rank", "root = s[:rank].sqrt() -> root = -s[:rank].sqrt()", "both factors change their sign, and the product does not"),
    ("cayley", "one = torch.eye(b).to(skew) -> one = torch.eye(b)", "the entries of the probes are float32, on the CPU"),
    ("rotate", "groups = pieces.transpose(-3, -2).flatten(-4, -3).flatten(-2) -> groups = pieces.transpose(-2, -3).flatten(-4, -3).flatten(-2)", _EITHER),
    ("rotate", "return turned.transpose(-3, -2).flatten(-4) -> return turned.transpose(-2, -3).flatten(-4)", _EITHER),
]  # fmt: skip
