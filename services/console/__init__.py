"""The web console: a client of the four services' HTTP APIs, with the rights of whoever is signed in."""
