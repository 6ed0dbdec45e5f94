"""The embedded world: drawn images, their captions, and the small models trained on them."""
