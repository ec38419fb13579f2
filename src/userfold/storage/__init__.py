"""Where records are kept. `port.py` says what a store must do; each store does it in its own folder or file."""
