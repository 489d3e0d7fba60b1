"""What maintainers run: release, records, mutants, checkpoints, the made-up class, benchmarks. Not in what a student installs."""
