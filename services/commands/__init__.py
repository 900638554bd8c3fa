"""The groups of commands of `basestock`, a module each; `services/__main__.py` registers them."""
