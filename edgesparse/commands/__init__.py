"""The commands, a module for each group: parse, call the library, print."""
