"""What bootstrap.py is made of: the standard library only, one noun a module."""
