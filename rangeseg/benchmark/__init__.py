"""What the speed of rangeseg is measured with: plain baselines, interleaved timing, one file per stage."""
