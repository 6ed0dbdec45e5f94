"""What people look at: figures and image sheets."""
