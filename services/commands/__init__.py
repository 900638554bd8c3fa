"""The commands of `basestock` that are not about running it, a module each."""
