"""Command lines as a trace keeps them: without keys, signatures and tokens, and otherwise as they were."""

from __future__ import annotations

import pytest

from tracekit.record.secrets import HIDDEN, Discretion
from tracekit.trace import Header, Trailer

SECRET = "wJalrXUtnFEMI/K7MDENG"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["python", "t.py", "--key-id", "AKIA", "--secret-key", SECRET], ["python", "t.py", "--key-id", "AKIA", "--secret-key", HIDDEN]),
        (["t.py", f"--aws-secret-access-key={SECRET}", "8"], ["t.py", f"--aws-secret-access-key={HIDDEN}", "8"]),
        (["curl", f"https://a.blob.core.windows.net/c/x?sv=1&sig={SECRET}&se=2"], ["curl", f"https://a.blob.core.windows.net/c/x?sv=1&sig={HIDDEN}&se=2"]),
        ([f"https://b.s3.amazonaws.com/x?X-Amz-Signature={SECRET}"], [f"https://b.s3.amazonaws.com/x?X-Amz-Signature={HIDDEN}"]),
        (["-c", f"connect('AccountName=a;AccountKey={SECRET};EndpointSuffix=x')"], ["-c", f"connect('AccountName=a;AccountKey={HIDDEN};EndpointSuffix=x')"]),
        ([f"s3://AKIA:{SECRET}@bucket/k", "http://u:pw@h/x", "http://h:80/a@2"], [f"s3://AKIA:{HIDDEN}@bucket/k", f"http://u:{HIDDEN}@h/x", "http://h:80/a@2"]),
        (["--secret", SECRET, f"--secret={SECRET}", "--secrets=3"], ["--secret", HIDDEN, f"--secret={HIDDEN}", "--secrets=3"]),
        (["sh", "-c", f"x --secret-key {SECRET} -n 3 --password '{SECRET}'"], ["sh", "-c", f"x --secret-key {HIDDEN} -n 3 --password '{HIDDEN}'"]),
        (["x", "--password", "--verbose", "y"], ["x", "--password", "--verbose", "y"]),
        (["x", "--tokenizer", "bpe", "--max-tokens", "8", "--design=3"], ["x", "--tokenizer", "bpe", "--max-tokens", "8", "--design=3"]),
    ],
)  # fmt: skip
def test_what_is_named_as_a_secret_is_hidden_and_nothing_else(given, kept):
    """Options, queries and connection strings lose their values and keep their names."""
    assert Discretion({}).words(given) == kept


def test_what_the_environment_holds_as_a_secret_is_hidden_wherever_it_stands():
    """A key that stands in a program's text, without a name, is known from the environment; what is too short is no secret."""
    hide = Discretion({"AWS_SECRET_ACCESS_KEY": SECRET, "AZURE_STORAGE_ACCOUNT_KEY": "x"})
    trailer = Trailer(
        processes=[{"pid": 1, "argv": ["-c", f"s('{SECRET}', 'x')"]}],
        coverage={"not_followed": [{"argv": [SECRET], "times": 1}]},
    )
    assert hide.header(Header(command=["a", SECRET])).command == ["a", HIDDEN]
    hidden = hide.trailer(trailer)
    assert hidden.processes == [{"pid": 1, "argv": ["-c", f"s('{HIDDEN}', 'x')"]}]
    assert hidden.coverage == {"not_followed": [{"argv": [HIDDEN], "times": 1}]}
