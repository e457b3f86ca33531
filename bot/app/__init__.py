"""The composition root: builds the programs, starts them and shuts them down."""
