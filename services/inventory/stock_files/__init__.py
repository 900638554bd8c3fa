"""Files of stock: what their columns mean, written and read without I/O."""
