"""Measurements of views that need no training."""
