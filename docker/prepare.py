"""Make the S3 buckets and Optuna's tables where they are missing: their servers and dashboard don't."""

from __future__ import annotations

import sys

import s3fs
from optuna.storages import RDBStorage

study_storage, *buckets = sys.argv[1:]
RDBStorage(study_storage)
store = s3fs.S3FileSystem()
for bucket in buckets:
    if not store.exists(bucket):
        store.mkdir(bucket)
        print(f"made bucket {bucket}")
