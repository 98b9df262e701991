"""A module for each format of scans, and what they share."""
