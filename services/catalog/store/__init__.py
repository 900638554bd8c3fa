"""All SQL of catalog."""
