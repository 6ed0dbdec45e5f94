"""The original DALDA code: its configurations, folders and protocol."""
