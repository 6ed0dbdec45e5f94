"""Where requests are run."""
