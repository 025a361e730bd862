"""Uploads in parts through boto3 and azure-storage-blob: obstore has none that could be gone on with, or that make no object over another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracekit.storage.keys import Key, StoreError
from tracekit.storage.sdk_client import asked, azure_container, needed, s3_client
from tracekit.storage.store_settings import Requests
from tracekit.storage.uploads import Part

_WHY = "objects above 8 MiB go up in parts by"
_MISSING = 404
_THERE = 412


class S3Uploads:
    """Multipart uploads to one bucket.

    Args:
        key: Names the bucket.
        requests: Timeouts.
    """

    def __init__(self, key: Key, requests: Requests) -> None:
        self._bucket = key.container
        self._client: Any = needed("boto3", lambda: s3_client(requests), _WHY)

    def begin(self, name: str) -> S3Upload:
        """A new one (errors: StoreError)."""
        answer = asked(lambda: self._client.create_multipart_upload(Bucket=self._bucket, Key=name))
        return S3Upload(self._client, self._bucket, name, answer["UploadId"], {})

    def begun(self, name: str) -> Iterator[S3Upload]:
        """Those that were begun for this object; none where we may not know."""
        try:
            found = asked(lambda: self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=name))
            for one in found.get("Uploads", ()):
                if one["Key"] == name:
                    yield S3Upload(self._client, self._bucket, name, one["UploadId"], self._tags(name, one["UploadId"]))
        except StoreError:
            return

    def _tags(self, name: str, upload: str) -> dict[int, tuple[int, str]]:
        pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=name, UploadId=upload)
        parts = asked(lambda: [part for page in pages for part in page.get("Parts", ())])
        return {int(part["PartNumber"]): (int(part["Size"]), str(part["ETag"])) for part in parts}


class S3Upload:
    """One of them.

    Args:
        client: boto3's.
        bucket: The bucket.
        name: The object's key.
        identity: The upload's.
        there: Size and ETag of the parts that are there.
    """

    def __init__(self, client: Any, bucket: str, name: str, identity: str, there: dict[int, tuple[int, str]]) -> None:
        self._client = client
        self._place: dict[str, Any] = {"Bucket": bucket, "Key": name}
        self._upload = self._place | {"UploadId": identity}
        self._tags = {number: tag for number, (_, tag) in there.items()}
        # Encrypted by a key of the service's, a part has another ETag than its MD5: it is sent again then.
        self.parts: Mapping[int, Part] = {n: Part(size, tag.strip('"')) for n, (size, tag) in there.items()}

    def send(self, number: int, body: bytes, part: Part) -> None:  # noqa: ARG002 -- the seam's signature
        """UploadPart (errors: StoreError)."""
        answer = asked(lambda: self._client.upload_part(**self._upload, PartNumber=number, Body=body))
        self._tags[number] = answer["ETag"]

    def finish(self, parts: Sequence[Part], *, create: bool) -> None:
        """CompleteMultipartUpload (errors: StoreError; 412 where the object is there, which some servers do not look at themselves)."""
        size = sum(part.size for part in parts)
        listed = [{"PartNumber": number, "ETag": self._tags[number]} for number in range(1, len(parts) + 1)]
        if create and self._there() is not None:
            raise StoreError(_THERE)
        words: dict[str, Any] = {"IfNoneMatch": "*"} if create else {}
        try:
            asked(
                lambda: self._client.complete_multipart_upload(
                    **self._upload, MultipartUpload={"Parts": listed}, **words
                )
            )
        except StoreError as error:
            # Finished by an attempt whose answer was lost, or by another run of the same.
            if error.code != "NoSuchUpload" or self._there() != size:
                raise

    def drop(self) -> None:
        """AbortMultipartUpload; where that is refused, it is the store's to tidy up."""
        try:
            asked(lambda: self._client.abort_multipart_upload(**self._upload))
        except StoreError:
            return

    def _there(self) -> int | None:
        try:
            return int(asked(lambda: self._client.head_object(**self._place))["ContentLength"])
        except StoreError as error:
            if error.errno == _MISSING:
                return None
            raise


class AzureUploads:
    """Block lists of blobs in one container.

    Args:
        key: Names the container.
        requests: Timeouts.
    """

    def __init__(self, key: Key, requests: Requests) -> None:
        self._container: Any = needed("azure-storage-blob", lambda: azure_container(key.container, requests), _WHY)

    def begin(self, name: str) -> AzureUpload:
        """A new one: nothing is asked for it."""
        return AzureUpload(self._container.get_blob_client(name), {})

    def begun(self, name: str) -> Iterator[AzureUpload]:
        """The one there is where blocks of ours were sent and not committed."""
        blob = self._container.get_blob_client(name)
        try:
            _, waiting = asked(lambda: blob.get_block_list("uncommitted"))
        except StoreError:
            return
        parts = {number: Part(int(block.size), digest) for block in waiting for number, digest in _read(str(block.id))}
        if parts:
            yield AzureUpload(blob, parts)


class AzureUpload:
    """One of them.

    Args:
        blob: Azure's client for the blob.
        parts: What is there.
    """

    def __init__(self, blob: Any, parts: Mapping[int, Part]) -> None:
        self._blob = blob
        self.parts = parts

    def send(self, number: int, body: bytes, part: Part) -> None:
        """Put Block (errors: StoreError)."""
        asked(lambda: self._blob.stage_block(_named(number, part), body, length=len(body)))

    def finish(self, parts: Sequence[Part], *, create: bool) -> None:
        """Put Block List (errors: StoreError; 409 where the blob is there)."""
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        blocks = [BlobBlock(_named(number, part)) for number, part in enumerate(parts, 1)]
        words: dict[str, Any] = {"match_condition": MatchConditions.IfMissing} if create else {}
        asked(lambda: self._blob.commit_block_list(blocks, **words))

    def drop(self) -> None:
        """Nothing: blocks that belong to no blob are gone after a week, and there is no request for it."""


def _named(number: int, part: Part) -> str:
    """The name of a block: all of a blob have to be of one length."""
    return f"{number:06}-{part.digest}"


def _read(name: str) -> Iterator[tuple[int, str]]:
    number, dash, digest = name.partition("-")
    if dash and number.isdecimal():
        yield int(number), digest
