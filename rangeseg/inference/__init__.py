"""What needs a trained run: labelling, scoring, exporting."""
