"""Make the named buckets where they are missing, at AWS_ENDPOINT_URL with the keys of the environment."""

from __future__ import annotations

import sys

import s3fs

store = s3fs.S3FileSystem()
for bucket in sys.argv[1:]:
    if not store.exists(bucket):
        store.mkdir(bucket)
        print(f"made bucket {bucket}")
