"""A pipeline whose processes are killed, whose disk is full and whose files are spoilt, at random."""
