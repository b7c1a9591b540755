"""Groups of commands of the command line that are apart from `app.__main__`."""
