"""Scans to range images and back. `rangeseg.catalog` lists the projections."""
