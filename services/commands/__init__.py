"""What the commands of `basestock` do, a module for each or each group; `services/command_line.py` registers them."""
