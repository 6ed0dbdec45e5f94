"""CLASS NAMES -> CAPTIONS: grammar or language model (author), rules (acceptance), file (book)."""
