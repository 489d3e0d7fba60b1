"""Replaces how the kernel signs, packs and sends its messages.

kind: the kernel's own machinery
must: harm itself alone
seconds: 3
"""
session = get_ipython().kernel.session
session.key = b"another"
session.serialize = lambda *_, **__: [b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"not json"]
