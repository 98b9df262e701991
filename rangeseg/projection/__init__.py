"""Projections from scans to range images and back. `rangeseg.catalog` lists them."""
