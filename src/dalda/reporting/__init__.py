"""What people look at: figures and picture sheets."""
