"""What orders decides, without any I/O."""
