"""What is told to whoever typed a command that cannot be carried out."""


class ServeError(Exception):
    """The servers cannot run, and why."""
