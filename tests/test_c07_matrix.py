"""The mutation matrix of chapter 07, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "07_finetuning"
