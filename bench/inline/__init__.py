"""Two guests on a bridge and what may stand between them: the parts of the inline loads."""
