"""Keys, signatures and tokens taken out of what is kept of command lines: they stand in arguments, URLs and connection strings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracekit.trace import Header, Trailer

HIDDEN = "***"
# Whatever has one of these values is a secret, wherever it stands.
_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CLIENT_SECRET",
    "S3DLIO_AZURE_SAS_TOKEN",
)  # fmt: skip
_SHORTEST = 6
# A value with a name of its own: in a query, a connection string, an option.
_NAMED = re.compile(
    r"((?:\b|_)(?:sig|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|AWSAccessKeyId|Signature|AccountKey|SharedAccessSignature"
    r"|secret[-_]?(?:access[-_]?)?key|secret|account[-_]?key|session[-_]?token|sas[-_]?token|client[-_]?secret|password)=)[^&;\s'\",)]+",
    re.IGNORECASE,
)
# As smart_open takes them; the secret may hold slashes.
_IN_URL = re.compile(r"(s3://[^\s/:@]+:)[^\s@'\",]+@|(://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)
_OPTION = re.compile(
    r"--?(?:[\w-]*[-_])?(?:secret|secret[-_](?:access[-_])?key|account[-_]key|session[-_]token|sas[-_]token|sas|password|connection[-_]string)",
    re.IGNORECASE,
)
# A whole command may stand in one word, of a shell, or in a sentence.
_IN_COMMAND = re.compile(rf"((?<![\w-]){_OPTION.pattern}[ \t]+['\"]?)(?![-'\"])[^\s'\"]+", re.IGNORECASE)


class Discretion:
    """Hides secrets.

    Args:
        environment: Where some of them are known from.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        values = {environment.get(name, "").strip() for name in _VARIABLES}
        self._values = sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text without secrets."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        text = _IN_URL.sub(lambda found: f"{found[1] or found[2]}{HIDDEN}@", text)
        return _IN_COMMAND.sub(rf"\1{HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", text))

    def words(self, words: Sequence[str]) -> list[str]:
        """A command line without secrets, those that follow an option included."""
        before = ["", *words]
        return [
            HIDDEN if _OPTION.fullmatch(option) and not word.startswith("-") else self.text(word)
            for option, word in zip(before, words, strict=False)
        ]

    def header(self, header: Header) -> Header:
        """A header whose command holds no secrets."""
        return replace(header, command=self.words(header.command))

    def trailer(self, trailer: Trailer) -> Trailer:
        """A trailer whose command lines hold no secrets."""
        return replace(trailer, processes=self._clean(trailer.processes), coverage=self._clean(trailer.coverage))

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return (
                self.words(value)
                if all(isinstance(item, str) for item in value)
                else [self._clean(one) for one in value]
            )
        return value
