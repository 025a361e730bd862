"""What names an object, where the environment says a store is, and what an error number of an op is called."""

from __future__ import annotations

import errno
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from tracekit.errors import CannotRunError, InputError
from tracekit.storage import Access, Requests, storage_for
from tracekit.storage.failures import error_name
from tracekit.storage.keys import Key, StoreError, way_out_of
from tracekit.storage.sdk_client import seconds_of
from tracekit.storage.store_settings import azure_settings, environment, s3_settings


def test_a_uri_names_container_and_key() -> None:
    """Keys stand as they are, percent signs included; a container alone is a key without a name."""
    assert Key.of("s3://bucket/a b/%20.bin") == Key("s3", "bucket", "a b/%20.bin")
    assert Key.of("az://container") == Key("az", "container", "")
    assert str(Key.of("s3://bucket/x/")) == "s3://bucket/x/"
    for bad in ("s3:///key", "file:///a"):
        with pytest.raises(InputError):
            Key.of(bad)


@pytest.mark.parametrize("name", ["a//b", "/a", "a/../b", "./a", "a\nb", "a//"])
def test_a_key_that_obstore_would_change_is_refused(name: str) -> None:
    """It leaves out empty parts and a slash at either end, and refuses dots: another object would be asked for."""
    uri = f"s3://bucket/{name}"
    with pytest.raises(InputError, match="use --client sdk"):
        storage_for(uri).resolve(uri)
    assert storage_for(uri, Requests("sdk")).resolve(uri) == uri


def test_a_key_with_a_slash_behind_it_is_a_prefix_to_obstore(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be listed, and is no object that could be opened; on a machine without credentials, too."""
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")  # clients are kept by their container: no other test has this one
    storage = storage_for("s3://slashed")
    assert storage.resolve("s3://slashed/a/") == "s3://slashed/a/"
    with pytest.raises(InputError, match="obstore cannot ask"):
        storage.open("s3://slashed/a/", Access())


def test_a_retry_after_is_seconds_or_a_date() -> None:
    """What is neither asks for nothing; a date that is past asks for no time."""
    assert [seconds_of(text) for text in ("2", " 30 ", None, "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT")] == [
        2.0, 30.0, None, None, None, 0.0,
    ]  # fmt: skip
    later = format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)
    assert 3000 < (seconds_of(later) or 0) <= 3600


def test_an_error_number_is_a_status_or_an_errno() -> None:
    """Statuses begin far above the errnos; the server's own code stands in the text, nothing of the request does."""
    assert [error_name(number) for number in (404, 503, errno.ECONNRESET, errno.EIO)] == [
        "404",
        "503",
        "ECONNRESET",
        "EIO",
    ]
    assert StoreError(503, "SlowDown").strerror == "HTTP 503 SlowDown"
    assert StoreError(errno.ETIMEDOUT).strerror == "no answer within the timeout"
    assert max(errno.errorcode) < 300


def test_s3_is_where_the_sdk_s_variables_say() -> None:
    """The variable for S3 alone goes before the one for all services, and that before the old name."""
    said = {"S3_ENDPOINT": "http://old", "AWS_ENDPOINT_URL": "http://all", "AWS_DEFAULT_REGION": "eu"}
    assert s3_settings(said).endpoint == "http://all"
    assert s3_settings(said | {"AWS_ENDPOINT_URL_S3": "http://s3"}).endpoint == "http://s3"
    assert (s3_settings({"S3_ENDPOINT": "http://old"}).endpoint, s3_settings(said).region) == ("http://old", "eu")
    assert [s3_settings({"AWS_SKIP_SIGNATURE": word}).anonymous for word in ("true", "1", "false", "")] == [
        True,
        True,
        False,
        False,
    ]


def test_azure_is_where_the_sdk_s_variables_say() -> None:
    """A connection string goes first, the emulator has its published account, no account at all is one sentence."""
    string = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=aw==;BlobEndpoint=http://h/a"
    found = azure_settings({"AZURE_STORAGE_CONNECTION_STRING": string, "AZURE_STORAGE_ACCOUNT_NAME": "other"})
    assert (found.account, found.key, found.url) == ("a", "aw==", "http://h/a")
    assert azure_settings({"AZURE_BLOB_ACCOUNT": "b"}).url == "https://b.blob.core.windows.net"
    emulated = azure_settings({"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": "http://127.0.0.1:1"})
    assert emulated.url == "http://127.0.0.1:1/devstoreaccount1"
    assert (
        azure_settings({"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"}).account == "devstoreaccount1"
    )
    with pytest.raises(CannotRunError, match="AZURE_STORAGE_ACCOUNT_NAME"):
        _ = azure_settings({}).url


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9000", "localhost:9000", "minio", "http://", "http://h:port", "s3://bucket"]
)
def test_an_endpoint_that_is_no_url_is_one_sentence(url: str) -> None:
    """It names the variable that holds it; obstore panics at most of them."""
    with pytest.raises(CannotRunError, match=r"AWS_ENDPOINT_URL is no URL of a server.*write http://"):
        s3_settings({"AWS_ENDPOINT_URL": url})
    with pytest.raises(CannotRunError, match="AZURE_STORAGE_ENDPOINT is no URL"):
        azure_settings({"AZURE_STORAGE_ENDPOINT": url, "AZURE_STORAGE_ACCOUNT_NAME": "a"})


def test_endpoints_of_every_kind_are_taken_as_they_are() -> None:
    """With a port, a path, a name in brackets, in capitals."""
    for url in ("http://127.0.0.1:9000", "https://h/path/", "http://[::1]:9000", "HTTP://H"):
        assert s3_settings({"S3_ENDPOINT": url}).endpoint == url


@pytest.mark.parametrize("name", ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING"])
def test_an_azure_key_that_cannot_sign_is_one_sentence_without_the_key(name: str) -> None:
    """A key cut short, also within a connection string, and a connection string that is none; what it was is not said."""
    for value in ["hush12345"] if name.endswith("KEY") else ["hush12345", "AccountName=a;AccountKey=hush12345"]:
        with pytest.raises(CannotRunError, match=r"is not base64|is no connection string") as refused:
            azure_settings({"AZURE_STORAGE_ACCOUNT_NAME": "a", name: value})
        assert "hush" not in str(refused.value)


def test_what_to_do_follows_from_the_stores_answer() -> None:
    """A wrong key is no want of room; where the answer does not say what to do, and for files, it is what the caller says."""
    said = [way_out_of(StoreError(*words), "make room") for words in ((403, "SignatureDoesNotMatch"), (403,), (401,))]
    assert said == ["see docs/howto/object-stores.md for where credentials come from"] * 3
    assert "bucket" in way_out_of(StoreError(404, "NoSuchBucket"), "make room")
    assert "endpoint" in way_out_of(StoreError(errno.ECONNREFUSED), "make room")
    assert "clock" in way_out_of(StoreError(403, "RequestTimeTooSkewed"), "make room")
    for other in (StoreError(507), StoreError(404), OSError(errno.ENOSPC, "full"), PermissionError(403, "odd")):
        assert way_out_of(other, "make room") == "make room"


def test_a_dot_env_fills_in_what_the_environment_does_not_say(tmp_path, monkeypatch) -> None:
    """Only about object stores, and never against the environment."""
    (tmp_path / ".env").write_text(
        'AWS_ACCESS_KEY_ID="from file"\nAWS_REGION=file\nPATH=/nowhere\nexport S3_ENDPOINT=http://h\n'
    )
    monkeypatch.setenv("AWS_REGION", "environment")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("S3_ENDPOINT", raising=False)
    found = environment(str(tmp_path))
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_REGION"], found["S3_ENDPOINT"]) == (
        "from file",
        "environment",
        "http://h",
    )
    assert found["PATH"] != "/nowhere"
