"""Raw data sets, one file each: files on disk in, interactions with user and item tables out."""
