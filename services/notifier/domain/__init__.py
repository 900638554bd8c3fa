"""What follows from what, in notifier: pure decisions."""
