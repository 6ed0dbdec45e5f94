"""The mistakes that a user can mend."""


class UserError(Exception):
    """One clear sentence: what is wrong, where, and what to do. The command line exits with 2."""
