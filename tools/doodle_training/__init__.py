"""How the doodle models were made; run by tools/train_doodles.py."""
