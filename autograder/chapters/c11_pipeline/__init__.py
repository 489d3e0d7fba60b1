"""Chapter 11: how its answers are exercised, and what must hold of answers of which many are right."""
