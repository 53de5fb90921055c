"""From labelled memes to a fine-tuned bundle and its archive. Knows nothing of servers."""
