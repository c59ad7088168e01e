"""One module for each subcommand; each holds a click command named `command`, imported when used."""
