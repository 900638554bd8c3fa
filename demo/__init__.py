"""The demo: the documents' example and a wholesaler's real orders, played through the public HTTP API."""
