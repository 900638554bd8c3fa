"""The groups of commands of `basestock`, a module each; `services/command_line.py` registers them."""
