"""One module for each scan format, and shared code."""
