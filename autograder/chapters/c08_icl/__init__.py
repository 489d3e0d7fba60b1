"""Probes and acceptance rules of chapter 08: in-context learning."""
