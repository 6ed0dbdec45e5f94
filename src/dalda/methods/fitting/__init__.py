"""Fitting: learned tokens (textual inversion) and LoRAs, by one training loop."""
