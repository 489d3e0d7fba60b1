"""The mutation matrix of chapter 06, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "06_dpo"
