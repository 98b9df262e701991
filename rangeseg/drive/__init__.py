"""Drives: scans of one sensor in the order of time, the poses they were taken from, and labels carried along them."""
