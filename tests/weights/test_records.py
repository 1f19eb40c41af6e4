"""Records of weights: what each may say, which are loaded, and why others are not."""

from pathlib import Path

import pytest
from support.config_folder import add_records

from vaezoo.errors import CheckpointError, SpecError, UnknownNameError
from vaezoo.specs.catalog import add_config_dir
from vaezoo.specs.names import ModelName
from vaezoo.weights.records import check_loadable, find_record, list_pretrained, read_records

SHA256, COMMIT = "0" * 64, "a" * 40
RECORD = f"""
  source: {{file: a.safetensors}}
  layout: native
  license: apache-2.0
  sha256: "{SHA256}"
"""
HUB = f"\n  source: {{hub: org/name, file: a.ckpt, revision: '{COMMIT}'}}\n  layout: native\n  license: mit\n"
HUB += f"  sha256: '{SHA256}'\n"


def records_refused(folder: Path, text: str) -> list[str]:
    path = add_records(folder, text)
    with pytest.raises(SpecError) as caught:
        read_records("mine_f8_z4")
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_the_default_tag_is_taken_where_none_is_asked_for(folder):
    add_records(folder, f"v1:{RECORD}default: v1\n")
    default, tagged = read_records("mine_f8_z4")
    assert default == "v1"
    assert tagged["v1"].record.source.file == "a.safetensors"
    assert find_record(ModelName("zoo", "mine_f8_z4")) == tagged["v1"]
    with pytest.raises(UnknownNameError, match=r"^mine_f8_z4: unknown tag 'v2'; known: v1$"):
        find_record(ModelName("zoo", "mine_f8_z4", "v2"))


def test_a_network_without_weights_names_those_that_have_some(folder):
    add_config_dir(folder)
    assert read_records("mine_f8_z4") == (None, {})
    with pytest.raises(UnknownNameError, match=r"^mine_f8_z4 has no .*pretrained=False, or .*`vaezoo list --pr"):
        find_record(ModelName("zoo", "mine_f8_z4"))


def test_withdrawn_weights_keep_their_record_and_say_so(folder):
    add_records(folder, f"default: v2\nv1:{RECORD}  removed_in: 0.2.0\n  summary: Its eyes were wrong.\nv2:{RECORD}")
    assert list_pretrained("mine*") == ["mine_f8_z4.v2"]
    with pytest.raises(CheckpointError) as caught:
        check_loadable(find_record(ModelName("zoo", "mine_f8_z4", "v1")))
    assert str(caught.value) == (
        "mine_f8_z4.v1 was withdrawn in vaezoo 0.2.0: Its eyes were wrong. (other weights: mine_f8_z4.v2)"
    )


def test_weights_that_are_a_pickle_only_are_not_opened_and_the_command_to_convert_them_is_told(folder):
    add_records(folder, f"default: v1\nv1:{HUB}  pickle_only: true\n")
    assert list_pretrained("mine*") == []
    with pytest.raises(CheckpointError) as caught:
        check_loadable(find_record(ModelName("zoo", "mine_f8_z4")))
    assert "mine_f8_z4.v1 is published as a pickle only" in str(caught.value)
    assert (
        "download a.ckpt of org/name, then vaezoo convert a.ckpt OUT.safetensors --from-pickle --layout native"
        in str(caught.value)
    )
    assert "--network mine_f8_z4 (other weights: none for this network)" in str(caught.value)


def test_weights_outside_the_hub_are_told_with_their_address_and_never_fetched(folder):
    source = "source: {url: 'https://example.org/kl-f4.zip', file: model.ckpt}"
    add_records(
        folder, f"default: v1\nv1: {{{source}, layout: native, license: mit, verified: false, pickle_only: true}}"
    )
    assert list_pretrained("mine*") == []
    with pytest.raises(CheckpointError) as caught:
        check_loadable(find_record(ModelName("zoo", "mine_f8_z4")))
    assert "download model.ckpt of https://example.org/kl-f4.zip, then vaezoo convert model.ckpt" in str(caught.value)


def test_weights_that_are_torchscript_only_are_not_opened(folder):
    add_records(folder, f"default: v1\nv1:{HUB}  torchscript_only: true\nv2:{HUB}".replace("ckpt", "jit"))
    assert list_pretrained("mine*") == ["mine_f8_z4.v2"]
    with pytest.raises(CheckpointError) as caught:
        check_loadable(find_record(ModelName("zoo", "mine_f8_z4")))
    assert str(caught.value) == (
        "mine_f8_z4.v1 is published as TorchScript only (a.jit of org/name), which runs code when it is loaded "
        "(other weights: mine_f8_z4.v2)"
    )


def test_weights_are_listed_by_license_and_layout(folder):
    add_records(folder, f"default: v1\nv1:{HUB}\nv2:{HUB}".replace("license: mit", "license: MIT", 1))
    assert list_pretrained("mine*", license="mit") == ["mine_f8_z4.v1", "mine_f8_z4.v2"]
    assert list_pretrained("mine*", license="mit", layout="documented") == []
    assert list_pretrained("mine*", license="apache-2.0") == []


def test_quoted_metrics_keep_their_source(folder):
    quoted = "{data: ImageNet val, source: a README, psnr: 26, rfid: 0.7}"
    add_records(folder, f"default: v1\nv1:{HUB}  quoted: [{quoted}]\n")
    (found,) = find_record(ModelName("zoo", "mine_f8_z4")).record.quoted
    assert found.values == {"PSNR": 26.0, "rFID": 0.7}
    assert (found.data, found.source) == ("ImageNet val", "a README")


UNVERIFIED = "needs sha256, and with a hub revision; if nobody has checked them, add verified: false"

MISSING_HUB = "missing hub; only files of a repository can be gated or run code"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[]", ["1:1: expected a mapping of default and <tag>, got a list"]),
        (f"v1:{RECORD}", ["1:1: missing default for weights"]),
        (f"default: v2\nv1:{RECORD}", ["1:10: default: unknown default 'v2'; known: v1"]),
        (f"default: default\nv1:{RECORD}", ["1:10: default: unknown default 'default'; known: v1"]),
        (f"default:\nv1:{RECORD}", ["1:9: default: expected text, got null"]),
        (f"default: v-1\nv-1:{RECORD}", ['2:1: v-1: a tag consists of letters, digits and "_"']),
        ("default: v1\nv1: 3", [
            "2:5: v1: expected a mapping of source, license, layout, summary, sha256, verified, trained_on, recipe, "
            "latent_stats, metrics, aliases, removed_in, pickle_only, torchscript_only, gated, confidence, "
            "statistics_source, quoted and notes, got 3"]),
        ("default: v1\nv1: {licence: mit, source: {}}", [
            "2:6: v1.licence: unknown key 'licence' for WeightsRecord; did you mean 'license'?",
            "2:5: v1: missing license for WeightsRecord",
            "2:28: v1.source: missing file for RecordSource"]),
        (f"default: v1\nv1:{RECORD.replace('layout: native', '')}", [
            "3:3: v1: missing layout; only TorchScript, which vaezoo does not read, needs none"]),
        (f"default: v1\nv1:{RECORD.replace('native', 'natve')}", [
            "4:11: v1.layout: unknown layout 'natve'; did you mean 'native'?"]),
        (f"default: v1\nv1:{RECORD.replace(SHA256, 'abc')}", [
            "6:11: v1.sha256: expected 64 hexadecimal digits, got 'abc'"]),
        (f"default: v1\nv1:{RECORD[: RECORD.index('  sha256')]}", [f"3:3: v1: {UNVERIFIED}"]),
        (f"default: v1\nv1:{HUB.replace(COMMIT, 'main')}", [
            "3:51: v1.source.revision: expected a commit of 40 hexadecimal digits, got 'main'"]),
        (f"default: v1\nv1:{HUB.replace(f', revision: {COMMIT!r}', '')}", [f"3:3: v1: {UNVERIFIED}"]),
        (f"default: v1\nv1:{RECORD}  aliases: [a.b]\n", [
            "7:13: v1.aliases[0]: expected a name (letters, digits, \"_\" and \"-\", which are the same), got 'a.b'"]),
        (f"default: v1\nv1:{RECORD}  latent_stats: {{scale: 0}}\n", [
            "7:25: v1.latent_stats.scale: expected 1e-06 to 1,000,000.0, got 0.0"]),
        (f"default: v1\nv1:{HUB}  quoted: [{{data: d, source: s}}]\n", [
            "7:12: v1.quoted[0]: needs one or more of psnr, ssim, lpips and rfid"]),
        (f"default: v1\nv1:{RECORD}  pickle_only: true\n", [f"3:11: v1.source: {MISSING_HUB}"]),
        (f"default: v1\nv1:{RECORD}  torchscript_only: true\n", [f"3:11: v1.source: {MISSING_HUB}"]),
        (f"default: v1\nv1:{RECORD}  gated: true\n", [f"3:11: v1.source: {MISSING_HUB}"]),
        (f"default: v1\nv1:{HUB.replace('hub:', 'url: http://x, hub:')}  pickle_only: true\n", [
            "3:11: v1.source: hub and url exclude each other; keep the one that has the file"]),
        (f"default: v1\nv1:{RECORD.replace('{file', '{url: http://x, file')}", [
            "3:17: v1.source.url: only pickles may have a url, which is never downloaded; add pickle_only: true"]),
        *((f"default: v1\nv1:{RECORD.replace('a.safetensors', repr(file))}", [
            "3:18: v1.source.file: weights without a hub are a .safetensors file beside their record"])
          for file in ("../a.safetensors", "/a.safetensors", "..", "", "a.ckpt", "a\\b.safetensors")),
    ],
)  # fmt: skip
def test_faults_of_a_record_are_told_together_with_their_places(folder, text, lines):
    assert records_refused(folder, text) == lines


def test_weights_that_nobody_has_checked_are_marked_so(folder):
    unchecked = (
        "\n  source: {hub: org/name, file: a.safetensors}\n  layout: native\n  license: mit\n  verified: false\n"
    )
    add_records(folder, f"default: v1\nv1:{unchecked}")
    assert read_records("mine_f8_z4").by_tag["v1"].record.verified is False
