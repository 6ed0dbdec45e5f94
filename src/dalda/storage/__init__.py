"""Files and folders of the product: locking, atomic writes, JSON lines."""
