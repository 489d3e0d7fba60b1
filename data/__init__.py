"""The generated language world and everything derived from it. `README.md` in this folder is the data card."""
