"""Where object stores are and who we are there, as users of the stores' own SDKs already say it.

S3: what boto3 knows (environment, profiles, instance roles) with `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` or `S3_ENDPOINT`,
`AWS_CA_BUNDLE`, and `AWS_SKIP_SIGNATURE=true` for anonymous access. Azure: `AZURE_STORAGE_CONNECTION_STRING`, or an account
(`AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT`, `AZURE_BLOB_ACCOUNT`) with a key, a SAS token or nothing, and an
endpoint (`AZURE_STORAGE_ENDPOINT`, `AZURE_BLOB_ENDPOINT_URL`) where it is not Azure's own. A `.env` in the working directory
fills in what the environment does not say.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tracekit.errors import CannotRunError

_OURS = ("AWS_", "AZURE_", "AZURITE_", "S3_")


@dataclass(frozen=True)
class Requests:
    """How requests are made.

    Args:
        client: `auto`: ranges over plain HTTP by the core, all else by obstore; `obstore` for all of it; or `sdk`: boto3 and
            azure-storage-blob, the clients that most programs use.
        timeout_s: A request that takes longer has failed.
        connect_timeout_s: The same for the connection.
    """

    client: str = "auto"
    timeout_s: float = 30.0
    connect_timeout_s: float = 5.0


CLIENTS = ("auto", "obstore", "sdk")


@dataclass(frozen=True)
class S3Settings:
    """An S3 endpoint; empty where the SDK's own default holds."""

    endpoint: str = ""
    region: str = ""
    ca_bundle: str = ""
    anonymous: bool = False


@dataclass(frozen=True)
class AzureSettings:
    """An Azure account; the credential is its key or a SAS token, empty for anonymous access."""

    account: str = ""
    endpoint: str = ""
    key: str = ""
    sas: str = ""
    anonymous: bool = False

    @property
    def url(self) -> str:
        """The account's blob endpoint.

        Raises:
            CannotRunError: If nothing says which account.
        """
        if not (self.endpoint or self.account):
            raise CannotRunError(
                "nothing says which Azure account az:// is on",
                "set AZURE_STORAGE_ACCOUNT_NAME, or AZURE_STORAGE_CONNECTION_STRING",
            )
        return self.endpoint or f"https://{self.account}.blob.core.windows.net"


def environment(directory: str = ".") -> dict[str, str]:
    """The environment, and below it what a `.env` in the directory says about object stores."""
    path = Path(directory, ".env")
    said: dict[str, str | None] = {}
    if path.is_file():
        try:
            from dotenv import dotenv_values
        except ImportError:
            said = {}
        else:
            said = dotenv_values(path)
    known = {name: value for name, value in said.items() if value is not None and name.startswith(_OURS)}
    return known | dict(os.environ)


def s3_settings(env: Mapping[str, str]) -> S3Settings:
    """What the environment says of S3.

    Raises:
        CannotRunError: If the endpoint is no URL.
    """
    return S3Settings(
        _endpoint(env, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT"),
        _first(env, "AWS_REGION", "AWS_DEFAULT_REGION"),
        _first(env, "AWS_CA_BUNDLE"),
        _is_true(_first(env, "AWS_SKIP_SIGNATURE")),
    )


def s3_keys(env: Mapping[str, str]) -> dict[str, str]:
    """The keys that the environment holds: access_key_id, secret_access_key, session_token; none where it names a profile."""
    names = ("access_key_id", "secret_access_key", "session_token")
    return {} if env.get("AWS_PROFILE") else {name: env[key] for name in names if env.get(key := f"AWS_{name.upper()}")}


def azure_settings(env: Mapping[str, str]) -> AzureSettings:
    """What the environment says of Azure; a connection string comes first, as it does in the SDK.

    Raises:
        CannotRunError: If the connection string is none, the endpoint is no URL, or the key is not base64.
    """
    said = _connection(_first(env, "AZURE_STORAGE_CONNECTION_STRING"))
    if said.get("UseDevelopmentStorage") == "true":
        return _emulator(env)
    if not said and _is_true(_first(env, "AZURE_STORAGE_USE_EMULATOR")):
        return _emulator(env)
    account = said.get("AccountName") or _first(
        env, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "AZURE_BLOB_ACCOUNT"
    )
    return AzureSettings(
        account,
        said.get("BlobEndpoint") or _endpoint(env, "AZURE_STORAGE_ENDPOINT", "AZURE_BLOB_ENDPOINT_URL"),
        _account_key(
            said.get("AccountKey")
            or _first(env, "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY")
        ),
        said.get("SharedAccessSignature") or _first(env, "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
        _is_true(_first(env, "AZURE_SKIP_SIGNATURE")),
    )


# The emulator's account is public: learn.microsoft.com/azure/storage/common/storage-connect-azurite.
_EMULATOR = "devstoreaccount1"
_EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def _emulator(env: Mapping[str, str]) -> AzureSettings:
    base = _first(env, "AZURITE_BLOB_STORAGE_URL") or "http://127.0.0.1:10000"
    return AzureSettings(_EMULATOR, f"{base.rstrip('/')}/{_EMULATOR}", _EMULATOR_KEY)


def _connection(string: str) -> dict[str, str]:
    """The parts of a connection string. It holds a key, so no sentence does."""
    parts = dict(part.partition("=")[::2] for part in string.split(";") if "=" in part)
    if string.strip() and not parts:
        raise CannotRunError(
            "AZURE_STORAGE_CONNECTION_STRING is no connection string",
            "copy it from the account: it looks like AccountName=…;AccountKey=…;EndpointSuffix=core.windows.net",
        )
    return parts


def _account_key(key: str) -> str:
    """The key, if requests can be signed with it; what it is stands in no sentence."""
    try:
        base64.b64decode(key)
    except ValueError:
        raise CannotRunError(
            "the key of the Azure account is not base64", "copy it whole: AZURE_STORAGE_ACCOUNT_KEY ends with == mostly"
        ) from None
    return key


def _endpoint(env: Mapping[str, str], *names: str) -> str:
    """The first of these that is set, if it is the URL of a server: clients say it by a panic, or not at all."""
    name = next((name for name in names if env.get(name)), "")
    if name and not _is_server(env[name]):
        host = env[name].rpartition("://")[2] or "HOST:PORT"
        raise CannotRunError(
            f"{name} is no URL of a server: {env[name].rpartition('@')[2]!r}",
            f"write http://{host.rpartition('@')[2]}, or https:// where it speaks TLS",
        )
    return env.get(name, "")


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        return False


def _first(env: Mapping[str, str], *names: str) -> str:
    return next((env[name] for name in names if env.get(name)), "")


def _is_true(value: str) -> bool:
    return value.lower() in ("1", "true", "yes", "on")
