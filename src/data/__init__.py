"""From a file or hub id to padded batches."""
