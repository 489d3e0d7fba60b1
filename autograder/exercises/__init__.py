"""The probes, one module a chapter. Public: a student may read how an answer is exercised."""
