"""CLASS NAMES -> CAPTIONS: templates or a language model, validation, caption file."""
