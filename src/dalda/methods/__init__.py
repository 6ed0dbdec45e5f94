"""Augmentation methods: how a synthetic image is requested and used."""
