"""Adds the formats and the protocol of the original DALDA code to the tables."""
