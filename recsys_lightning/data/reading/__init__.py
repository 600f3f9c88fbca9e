"""Files in, columns out: text and Parquet read block by block, and every fault in them named."""
