"""The command line as `python -m dalda`."""

from dalda.cli import main

if __name__ == "__main__":
    main()
