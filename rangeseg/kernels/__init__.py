"""Compiled loops (Numba): arrays in, arrays out. From rangeseg, they import only each other and `IGNORE`."""
