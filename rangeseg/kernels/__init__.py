"""Compiled loops (Numba): arrays in, arrays out. They import nothing of rangeseg."""
