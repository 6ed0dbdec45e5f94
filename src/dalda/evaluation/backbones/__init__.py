"""Backbones: image models whose features a classifier learns from, by name, folder, Hub id or object."""
