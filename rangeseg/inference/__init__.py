"""Use of a trained run: labelling, scoring, exporting."""
