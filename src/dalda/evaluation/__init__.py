"""MIX -> CLASSIFIER -> NUMBERS: what synthetic images do to a classifier, with an interval."""
