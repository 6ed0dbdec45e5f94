"""The embedded world: drawn pictures, their captions, and the small models trained on them."""
