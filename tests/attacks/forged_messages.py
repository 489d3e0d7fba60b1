"""Sends messages of no agreed form over the kernel's own socket: wrong types, missing parts, negative counts.

kind: the kernel's own machinery
must: harm itself alone
seconds: 3
"""
kernel = get_ipython().kernel
parent = kernel.get_parent()
contents = [None, [], "x", 5, {}, {"execution_count": -5}, {"execution_state": "idle"}, {"data": 5, "metadata": 7}]
contents += [{"name": 5, "text": {}}, {"ename": [], "evalue": {}, "traceback": 5}, {"transient": 5, "data": {"text/plain": []}}]
for kind in ("execute_input", "stream", "error", "display_data", "execute_result", "update_display_data", "clear_output", "x"):
    for content in contents:
        if content != {"execution_state": "idle"}:
            kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, ident=b"x")
kernel.session.send(kernel.iopub_socket, "status", {"execution_state": "idle"}, parent=parent, ident=b"x")
