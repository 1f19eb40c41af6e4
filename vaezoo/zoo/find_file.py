"""From a weights file to its network: the one named, the one on record, or the only one that fits."""

from vaezoo.errors import InputError, UnknownNameError
from vaezoo.io.files import sha256_of
from vaezoo.nn.build import build
from vaezoo.specs.catalog import files
from vaezoo.specs.model import ModelSpec
from vaezoo.specs.names import ModelName, parse_name
from vaezoo.specs.source import WeightsSource
from vaezoo.weights.header import read_header
from vaezoo.weights.hub import Hub
from vaezoo.weights.records import NamedWeights, expand_alias, find_by_sha256, find_record, tags_by_statistics
from vaezoo.zoo.find import Found, FoundWeights, find
from vaezoo.zoo.recognize import choose, find_layout


def find_file(path: str, network: str | None, tag: str | None, layout: str, hub: Hub) -> Found:
    """Find the network of a weights file: the one named, that of the recorded weights `tag`, or the only one that fits.

    Raises:
        CheckpointError: If none or several networks fit and none is named.
        FileError: If there is no such file.
    """
    header = read_header(path)
    wanted = parse_name(network) if network else None
    if wanted and wanted.source == "zoo":
        wanted = expand_alias(wanted)  # may also name a tag
    tag_asked = tag or (wanted.tag if wanted else None)
    sha256 = None if tag_asked or len(header.files) != 1 else sha256_of(header.files[0])
    record = _record_of_tag(wanted, tag_asked) if tag_asked else _record_of_file(sha256, wanted)
    if record and wanted and (wanted.id, wanted.tag or record.tag) != (record.network, record.tag):
        raise InputError(f"network={network!r}, but tag={tag!r} is {record.name}; give one of them")
    if record:
        wanted = ModelName("zoo", record.network)
    if wanted is None:
        meta, layout = choose(path, header, layout)
    else:
        meta = build(find(wanted, False, hub).spec, "meta")
        layout = find_layout(meta, header) if layout == "auto" else layout
    stats = record.record.latent_stats if record else None
    weights = FoundWeights(path, layout, stats, header, remedy=None if stats else _remedy(meta.spec))
    source = WeightsSource(f"file:{path}", header.files, meta.spec.name, record and record.tag, known_sha256=sha256)
    return Found(meta.spec, source, weights, meta)


def _record_of_tag(wanted: ModelName | None, tag: str) -> NamedWeights:
    name = expand_alias(parse_name(tag if wanted is None or "." in tag else f"{wanted.id}.{tag}"))
    if name.tag is None:
        raise UnknownNameError(f"tag={tag!r}: name the network too, network.tag or network=")
    return find_record(name)


def _record_of_file(sha256: str | None, wanted: ModelName | None) -> NamedWeights | None:
    """The record of a file with this content, unless it belongs to another network than the one asked for."""
    record = find_by_sha256(sha256) if sha256 else None
    return record if record and (wanted is None or wanted.id == record.network) else None


def _remedy(spec: ModelSpec) -> str | None:
    """How to make the latent statistics of a file known if it could be one of several recorded weights."""
    tags = tags_by_statistics(spec.name) if spec.name in files("models") else ""
    return f"names and shapes cannot tell these weights apart: {tags}; say which with tag=" if tags else None
