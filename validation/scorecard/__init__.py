"""The kit run against released packages, each in an environment of its own; not part of the wheel. See run.py and SCORECARD.md."""
