"""The local review app."""
