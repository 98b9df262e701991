"""Benchmarks: plain baselines, interleaved timing, one file per stage."""
