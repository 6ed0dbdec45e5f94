"""What each command answers: as one JSON object, and as lines for a person."""
