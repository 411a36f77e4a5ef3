"""Which of the store's primitives an S3-compatible server has: benchmarks/objects.py [ADDRESS].

Without an address, moto's server is started here (`pip install 'moto[s3,server]' boto3`). What such a server
has is no proof of what Amazon's has, but on what it lacks no code can be built.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

BUCKET, AT_ONCE, TIMES = "records", 16, 20
FILES = ("scores.parquet", "predictions.npz", "curve.csv", "log.txt", "record.json")


def refused(work: Callable[[], object]) -> str:
    """Return the code that a request is refused with, "" where it is taken."""
    try:
        work()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def exclusive(s3: Any) -> str:
    """Tell how many of those that put one claim at a time are told that it is theirs."""
    worst = []
    for i in range(TIMES):
        start = threading.Barrier(AT_ONCE)

        def claim(own: int, key: str = f"claims/{i}", start: threading.Barrier = start) -> bool:
            start.wait()
            body = str(own).encode()
            return not refused(lambda: s3.put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*"))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            worst.append(sum(pool.map(claim, range(AT_ONCE))))
    return f"{AT_ONCE} put one key with If-None-Match, {TIMES} times: {min(worst)} to {max(worst)} had it"


def taken_over(s3: Any) -> str:
    """Tell whether of those that replace a dead one's claim, known by its tag, one alone does."""
    won = []
    for i in range(TIMES):
        key, start = f"over/{i}", threading.Barrier(AT_ONCE)
        tag = s3.put_object(Bucket=BUCKET, Key=key, Body=b"dead")["ETag"]

        def take(own: int, key: str = key, tag: str = tag, start: threading.Barrier = start) -> bool:
            start.wait()
            body = str(own).encode()
            return not refused(lambda: s3.put_object(Bucket=BUCKET, Key=key, Body=body, IfMatch=tag))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            won.append(sum(pool.map(take, range(AT_ONCE))))
    return f"{AT_ONCE} replaced one key with If-Match, {TIMES} times: {min(won)} to {max(won)} had it"


def alive(s3: Any) -> str:
    """Tell whether the same content put again is a sign of life that another can see."""
    times, tags = set(), set()
    for _ in range(3):
        s3.put_object(Bucket=BUCKET, Key="alive", Body=b"mine")
        seen = s3.head_object(Bucket=BUCKET, Key="alive")
        times.add(seen["LastModified"])
        tags.add(seen["ETag"])
        time.sleep(1.1)
    return f"the same claim put three times: {len(times)} times of change, {len(tags)} tag"


def listed(s3: Any) -> str:
    """Tell how often a listing lacks what was put before it."""
    missing = 0
    for i in range(100):
        s3.put_object(Bucket=BUCKET, Key=f"listed/{i}", Body=b"")
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix="listed/")["KeyCount"]
        missing += found != i + 1
    return f"of 100 listings after a put, {missing} lacked it"


def whole(s3: Any) -> str:
    """Tell what a reader sees while a record of several files takes another's place, by copy and delete."""
    for name in FILES:
        s3.put_object(Bucket=BUCKET, Key=f"record/{name}", Body=b"0")
    ended, seen = threading.Event(), []

    def look() -> None:
        while not ended.is_set():
            read = [s3.get_object(Bucket=BUCKET, Key=f"record/{name}")["Body"].read() for name in FILES]
            seen.append(len(set(read)) > 1)

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(1, TIMES + 1):
        for name in FILES:
            s3.put_object(Bucket=BUCKET, Key=f"aside/{name}", Body=str(i).encode())
        for name in FILES:
            s3.copy_object(Bucket=BUCKET, Key=f"record/{name}", CopySource=f"{BUCKET}/aside/{name}")
            s3.delete_object(Bucket=BUCKET, Key=f"aside/{name}")
    ended.set()
    reader.join()
    mixed = f"{sum(seen)} of {len(seen)} readings mixed two"
    return f"a record of {len(FILES)} files replaced {TIMES} times: {mixed}"


def renamed(s3: Any) -> str:
    """Tell whether there is a request that renames what lies under a prefix."""
    found = [name for name in dir(s3) if "rename" in name.lower()]
    said = refused(lambda: s3.rename_object(Bucket=BUCKET, Key="new", RenameSource="record/log.txt"))
    return f"requests that rename, one object each: {', '.join(found) or 'none'}; it says: {said or 'done'}"


def main(address: str = "") -> None:
    """Print a line a primitive."""
    server = None
    if not address:
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(port=0)
        server.start()
        address = "http://{}:{}".format(*server.get_host_and_port())
        os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    config = Config(max_pool_connections=2 * AT_ONCE, retries={"max_attempts": 1})
    s3 = boto3.client("s3", endpoint_url=address, region_name="us-east-1", config=config)
    s3.create_bucket(Bucket=BUCKET)
    for primitive in (exclusive, taken_over, alive, listed, whole, renamed):
        print(f"{primitive.__name__:12} {primitive(s3)}", flush=True)
    if server is not None:
        server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
