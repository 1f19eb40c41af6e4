"""Names for the models of runs: `vaezoo adopt`."""

import pytest

import vaezoo
from vaezoo.cli import main
from vaezoo.specs import catalog


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A saved model in the current folder, and a catalog without added folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "_added", [])
    vae = vaezoo.create("vae_f8_z4_micro", pretrained=True)
    vaezoo.save(vae, "run")
    return vae


def test_an_adopted_run_is_created_by_its_name(run, capsys):
    assert main(["adopt", "run", "mine.v1", "--license", "mit", "--summary", "One: of # mine.", "--into", "own"]) == 0
    assert "vaezoo reconstruct mine.v1 --config-dir own" in capsys.readouterr().out
    assert main(["adopt", "run", "mine.v2", "--license", "mit", "--into", "own"]) == 0
    vaezoo.add_config_dir("own")
    assert vaezoo.list_pretrained("mine*") == ["mine.v1", "mine.v2"]
    vae = vaezoo.create("mine", pretrained=True)
    assert (vae.source.tag, vae.spec.hash) == ("v1", run.spec.hash)
    assert vae.latent_stats == run.latent_stats
    assert all(a.equal(b) for a, b in zip(vae.parameters(), run.parameters(), strict=True))


def test_names_that_are_taken_or_invalid_are_refused(run, capsys):
    for name, words in {
        "vae_f8_z4.v1": "is the name of another network",
        "vae_f8_z4_micro.v1": "has its weights in",
        "mine": "expected NETWORK.TAG",
        "mine.v 1": "expected NETWORK.TAG",
    }.items():
        assert main(["adopt", "run", name, "--license", "mit", "--into", "own"]) == 2
        assert words in capsys.readouterr().err
    assert main(["adopt", "run", "mine.v1", "--license", "mit", "--into", "own"]) == 0
    assert main(["adopt", "run", "mine.v1", "--license", "mit", "--into", "own"]) == 2
    assert "already has the tag v1" in capsys.readouterr().err
