"""Last: all of it becomes the files of the site."""
