"""The mistakes that a user can fix."""


def first_line(error: Exception) -> str:
    """What a library's error says, without its advice; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class UserError(Exception):
    """One clear sentence: what is wrong, where, and what to do. The command line exits with 2."""
