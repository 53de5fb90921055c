"""The command line, and the one command that runs both servers. Everything else is done elsewhere."""
