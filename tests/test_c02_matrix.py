"""The mutation matrix of chapter 02, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "02_sft"
