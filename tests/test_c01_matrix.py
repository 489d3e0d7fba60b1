"""The mutation matrix of chapter 01, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "01_pretraining"
