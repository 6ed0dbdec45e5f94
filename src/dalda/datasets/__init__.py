"""Data set -> few-shot split."""
