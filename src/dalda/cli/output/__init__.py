"""The output of every command: one JSON form for all results, and lines for a person."""

from dalda.cli.output.lines import json_of as json_of
from dalda.cli.output.lines import lines_of as lines_of
