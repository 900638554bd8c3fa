"""Notifier owns webhook endpoints, what each has and has not been told, and the log of attempts.

Publishes nothing yet; hears stock events and catalog.
"""
