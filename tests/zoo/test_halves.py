"""Models of which only a half is loaded: `create(…, part=…)`."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import vaezoo

NAME = "vae_f8_z4_micro"


class Allocations(TorchDispatchMode):
    """Counts the bytes of all storages that operations return, except on the meta device."""

    def __init__(self):
        super().__init__()
        self.storages = {}  # kept, so that no address is used twice

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                storage = tensor.untyped_storage()
                self.storages[storage.data_ptr()] = storage
        return result

    @property
    def bytes(self):
        return sum(storage.nbytes() for storage in self.storages.values())


def weight_bytes(module):
    return sum(p.nbytes for p in module.parameters())


@pytest.fixture(scope="module")
def whole():
    return vaezoo.create(NAME, pretrained=True)


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_half_allocates_its_own_weights_only(part, pretrained, whole):
    sizes = {}
    for kept in (part, None, part):  # the first one fills caches
        with Allocations() as counted:
            vae = vaezoo.create(NAME, part=kept, pretrained=pretrained)
        sizes[kept] = weight_bytes(vae), counted.bytes
    assert sizes[part][0] == weight_bytes(getattr(whole, part))
    share = sizes[part][0] / sizes[None][0]
    assert sizes[part][1] / sizes[None][1] == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("optimize", [False, True])
def test_each_half_computes_what_the_whole_does_and_names_the_missing_one(whole, optimize):
    arguments = {"pretrained": True, "optimize": optimize, "dtype": torch.float32}
    encoder, decoder = (vaezoo.create(NAME, part=part, **arguments) for part in ("encoder", "decoder"))
    images = torch.rand(1, 3, 32, 48) * 2 - 1
    with torch.inference_mode():
        z = encoder.encode(images).mode()
        assert torch.allclose(z.float(), whole.encode(images).mode(), atol=0.05 if optimize else 0)
        z = whole.encode(images).mode()
        assert torch.allclose(decoder.decode(z), whole.decode(z), atol=0.05 if optimize else 0)
    assert encoder.normalize(z).equal(whole.normalize(z))
    for absent, call in (
        ("decoder", lambda: encoder.decode(z)),
        ("decoder", lambda: encoder(images)),
        ("decoder", lambda: encoder.decoder(z)),
        ("encoder", lambda: decoder.encode(images)),
        ("encoder", lambda: decoder(images)),
    ):
        with pytest.raises(vaezoo.InputError, match=f"created without its {absent}; create it without part="):
            call()


def test_a_half_is_not_saved_published_exported_or_loaded_into(tmp_path, whole):
    vae, path = vaezoo.create(NAME, part="encoder", pretrained=True), tmp_path / "weights.safetensors"
    vaezoo.export_checkpoint(whole, path)
    for call in (
        lambda: vaezoo.save(vae, tmp_path / "saved"),
        lambda: vaezoo.push_to_hub(vae, "alice/vae", license="mit", dry_run=True),
        lambda: vaezoo.export_checkpoint(vae, tmp_path / "other.safetensors"),
        lambda: vaezoo.load_checkpoint(vae, path),
    ):
        with pytest.raises(vaezoo.InputError, match="was created without its decoder; create it without part= to "):
            call()
    assert list(tmp_path.iterdir()) == [path]
    half = vaezoo.create(f"file:{path}", part="decoder")
    z = torch.zeros(1, 4, 2, 3)
    with torch.inference_mode():
        assert half.decode(z).equal(whole.decode(z))


def test_parts_that_there_are_not_are_refused():
    with pytest.raises(vaezoo.InputError, match=r"unknown part 'middle'.*encoder and decoder"):
        vaezoo.create(NAME, part="middle")
    with pytest.raises(vaezoo.InputError, match="widening latents changes both halves"):
        vaezoo.create(NAME, pretrained=True, part="encoder", overrides={"latent.channels": 8})


def test_a_random_encoder_has_the_numbers_of_the_whole_network():
    vaes = []
    for part in (None, "encoder"):
        torch.manual_seed(0)
        vaes.append(vaezoo.create(NAME, part=part))
    both = zip(vaes[0].encoder.parameters(), vaes[1].parameters(), strict=True)
    assert all(a.equal(b) for a, b in both)
