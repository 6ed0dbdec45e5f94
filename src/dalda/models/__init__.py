"""Models by name: presets, the Hub, fingerprints, CLIP."""
