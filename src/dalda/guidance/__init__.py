"""CLIP score -> lambda: how much each picture's image prompt is trusted."""
