"""Models and data that ship with the package, so that everything can be tried before a user brings their own."""
