"""A name with a letter too few is answered with the one that was meant, whatever sort of name it is."""

from __future__ import annotations

import pytest

from harness import cli as harness_cli
from tracekit import cli as tracekit_cli
from tracekit import formats
from tracekit.testing import training_trace


@pytest.fixture
def here(tmp_path):
    """A trace, another, a table, a folder of data, two workload files and a golden's profile with a wrong key each."""
    for name in ("t.jsonl", "u.jsonl"):
        formats.save(training_trace(), tmp_path / name)
    (tmp_path / "t.csv").write_text("uri,offset,len,t_submit\n/a,0,10,5\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.npy").write_bytes(bytes(4096))
    (tmp_path / "own.yaml").write_text("loader: {batch_sise: 4}\n")
    (tmp_path / "dlio.yaml").write_text("workload:\n  model: {name: x}\n  datset: {num_files_train: 3}\n")
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden/profile.yaml").write_text("title: x\nregim: mixed\n")


# The command, and what it must propose.
WRONG = [
    ("tracekit stast t.jsonl", "'stats'"),
    ("tracekit run torch-lke", "'torch-like'"),
    ("tracekit run --profile torch-lke", "'torch-like'"),
    ("tracekit run torch-like --as recordd", "'recorded'"),
    ("tracekit run torch-like --cache-policy dirct", "'direct'"),
    ("tracekit run torch-like -O batch_sise=4", "'batch_size'"),
    ("tracekit run torch-like --compute gama(2,0.01)", "'gamma'"),
    ("tracekit run custom --data data -O reader_mode=rang", "'range'"),
    ("tracekit run own.yaml --data data", "'batch_size'"),
    ("tracekit run dlio.yaml", "dataset.num_files_train"),
    ("tracekit dlio lint unet3", "'unet3d'"),
    ("tracekit dlio export minimal --for 2.0", "'2.0.0'"),
    ("tracekit generate unet3", "'unet3d'"),
    ("tracekit generate minimal --sample-bytes unform(min=1,max=2)", "'uniform'"),
    ("tracekit generate minimal --data s4://b", "s3://"),
    ("tracekit checkpoint unet3", "'unet3d'"),
    ("tracekit checkpoint minimal --to azz://b", "az://"),
    ("tracekit replay t.jsonl --pace thnk", "'think'"),
    ("tracekit replay t.jsonl --engine nativ", "'native'"),
    ("tracekit replay t.jsonl --order strem", "'stream'"),
    ("tracekit replay t.jsonl --cache dirct", "'direct'"),
    ("tracekit replay t.jsonl --cache-start cld", "'cold'"),
    ("tracekit replay t.jsonl --direct-align rond", "'round'"),
    ("tracekit replay t.jsonl --prepare randm", "'random'"),
    ("tracekit replay t.jsonl --writes scrath", "'scratch'"),
    ("tracekit replay t.jsonl --client sdkk", "'sdk'"),
    ("tracekit replay t.jsonl --null-offset refus", "'refuse'"),
    ("tracekit replay t.jsonl --time-unit nss", "'ns'"),
    ("tracekit replay t.jsonl --select steep=3", "'step'"),
    ("tracekit replay t.jsonl --remap /data=s4://b/x", "s3://"),
    ("tracekit stats t.jsonl --time-unit mss", "'ms'"),
    ("tracekit convert t.jsonl x.parqet", ".parquet"),
    ("tracekit convert t.jsonl x.csv --to cvs", "'csv'"),
    ("tracekit convert t.csv x.jsonl --set colums=a", "'columns'"),
    ("tracekit convert t.csv x.jsonl --set columns=lenn=a", "'len'"),
    ("tracekit plot t.jsonl --kind lattency -o x.png", "'latency'"),
    ("tracekit distil t.jsonl --select steep=3", "'step'"),
    ("tracekit doctor s4://bucket", "s3://"),
    ("tracekit doctor fil:///data", "file://"),
    ("harness chek t.jsonl", "'check'"),
    ("harness check t.jsonl --golden torch-lke", "'torch-like'"),
    ("harness check t.jsonl --golden golden", "'regime'"),
    ("harness check t.jsonl --golden u.jsonl --mode pared", "'paired'"),
    ("harness check t.jsonl --golden u.jsonl --preset sed", "'seed'"),
    ("harness check --explain size.kss", "'size.ks'"),
    ("harness check --golden torch-like --drive worklod", "'workload'"),
    ("harness compare torch-lke t.jsonl", "'torch-like'"),
    ("harness power --golden torch-like --criterion size.kss", "'size.ks'"),
    ("harness show torch-lke", "'torch-like'"),
    ("harness selftest --golden torch-lke", "'torch-like'"),
    ("harness record-golden torch-lke -o r", "'torch-like'"),
    ("harness learn t.jsonl -o x --regime mixd", "'mixed'"),
    ("harness learn t.jsonl -o x --add torch-lke", "'torch-like'"),
    ("harness bless torch-lke --reason x", "'torch-like'"),
    ("harness matrix t.jsonl --only cld", "'cold'"),
    ("harness matrix t.jsonl --cell cld=t.jsonl", "'cold'"),
    ("harness matrix t.jsonl --pace thnk", "'think'"),
    ("harness matrix t.jsonl --prepare randm", "'random'"),
]


@pytest.mark.parametrize(("command", "proposed"), WRONG, ids=[command for command, _ in WRONG])
def test_the_name_that_was_meant_is_proposed(here, monkeypatch, capsys, command, proposed):
    """Status 2, and a line on standard error that asks for it; nothing on standard output."""
    monkeypatch.delenv("CI", raising=False)
    program, *words = command.split()
    assert (tracekit_cli if program == "tracekit" else harness_cli).main(words) == 2
    found = capsys.readouterr()

    assert f"did you mean {proposed}?" in found.err
    assert found.err.startswith(f"{program}: error: ")
    assert found.out == ""
