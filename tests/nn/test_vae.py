"""The VAE as a whole: precisions, memory formats, compilation, gradients, checkpointing, and what it refuses."""

import math

import pytest
import torch
from support.representatives import first_of

import vaezoo
from vaezoo.benchmark.timing import meter
from vaezoo.errors import InputError
from vaezoo.inference.interpolate import lerp, slerp
from vaezoo.inference.reconstruct import reconstruct
from vaezoo.nn.build import build

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05, torch.float16: 0.01}  # of the largest magnitude


def micro(**overrides) -> vaezoo.VAE:
    return vaezoo.create("vae_f8_z4_micro", overrides=overrides or None)


def pictures(*size: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, *size) * 2 - 1


def assert_near(found: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    assert (found.float() - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()


@pytest.mark.parametrize("channels_last", first_of([True, False]))
@pytest.mark.parametrize("dtype", first_of(DTYPES, count=2))
@torch.no_grad()
def test_encode_and_decode_work_in_every_precision_and_memory_format(dtype, channels_last):
    vae, images, z = micro(**{"*.*.heads": 4}), pictures(40, 24), torch.randn(2, 4, 5, 3)
    moments, decoded = vae.encode(images).moments, vae.decode(z)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    other = vae.to(dtype, memory_format=layout)
    images, z = (x.to(dtype, memory_format=layout) for x in (images, z))
    posterior = other.encode(images)
    assert posterior.sample().dtype == other.decode(z).dtype == other.dtype == dtype
    assert_near(posterior.moments, moments, dtype)
    assert_near(other.decode(z), decoded, dtype)


@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other_and_sizes_need_not_be_square():
    vae, images = micro(), pictures(16, 40, batch=3)
    together = vae(images)
    for i in range(3):
        assert_near(vae(images[i : i + 1]).reconstruction, together.reconstruction[i : i + 1])
    assert together.latents.shape == (3, 4, 2, 5)


def test_a_pass_samples_in_training_and_takes_the_mode_in_evaluation_unless_told():
    vae, images = micro(), pictures(16, 16)
    for training, sample, sampled in [(True, None, 1), (False, None, 0), (True, False, 0), (False, True, 1)]:
        out = vae.train(training)(images, sample=sample)
        assert torch.equal(out.latents, out.posterior.mode()) is not bool(sampled)
        torch.testing.assert_close(out.reconstruction, vae.decode(out.latents))


@pytest.mark.slow  # by default test_compiled.py counts the graphs
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@torch.no_grad()
def test_encode_and_decode_compile_as_whole_graphs_and_change_nothing(backend):
    torch.compiler.reset()
    vae, images = micro(**{"*.*.heads": 2, "*.*.layers": 1}), pictures(24, 16)
    compiled_encode = torch.compile(vae.encode, fullgraph=True, backend=backend)
    compiled_decode = torch.compile(vae.decode, fullgraph=True, backend=backend)
    posterior = vae.encode(images)
    assert_near(compiled_encode(images).moments, posterior.moments)
    assert_near(compiled_decode(posterior.mode()), vae.decode(posterior.mode()))


@pytest.mark.slow
def test_a_whole_pass_compiles_with_gradients():
    torch.compiler.reset()
    vae, images = micro().train(), pictures(16, 16)
    vae(images, sample=False).reconstruction.square().sum().backward()
    expected = [p.grad.clone() for p in vae.parameters()]
    vae.zero_grad()
    compiled = torch.compile(vae, fullgraph=True, backend="aot_eager")
    compiled(images, sample=False).reconstruction.square().sum().backward()
    for parameter, gradient in zip(vae.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-3)


def test_gradients_are_right_to_the_last_digit():
    changes = {"*.*.groups": 2, "encoder.0.out": 2, "*.*.skip": "auto", "latent.channels": 1}
    widths = {"encoder.1.out": 2, "encoder.2.out": 2, "encoder.3.out": 4, "encoder.4.out": 4, "decoder.1.out": 4}
    widths |= {"decoder.2.out": 4, "decoder.3.out": 4, "decoder.4.out": 2, "decoder.5.out": 2}
    vae = micro(**changes, **widths).double()
    images = pictures(16, 8, batch=1).double().requires_grad_()
    z = torch.randn(1, 1, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: vae.encode(x).moments, images, fast_mode=True)
    assert torch.autograd.gradcheck(vae.decode, z, fast_mode=True)


def gradients_and_saved_bytes(vae: vaezoo.VAE, images: torch.Tensor) -> tuple[list[torch.Tensor], int]:
    """The gradients of a pass, and the bytes that autograd held when the backward pass began."""
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    vae.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = vae(images, sample=False).reconstruction.square().sum()
    held = sum(saved.values())
    loss.backward()
    return [p.grad.clone() for p in vae.parameters()], held


def test_gradient_checkpointing_gives_the_same_gradients_and_holds_less():
    vae, images = micro().train(), pictures(64, 64)
    expected, plain = gradients_and_saved_bytes(vae, images)
    vae.set_grad_checkpointing()
    found, held = gradients_and_saved_bytes(vae, images)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert held < plain / 4
    vae.set_grad_checkpointing(False)
    assert gradients_and_saved_bytes(vae, images)[1] == plain


def test_checkpointing_does_nothing_where_no_gradient_is_wanted():
    vae, images = micro(), pictures(16, 16)
    with torch.inference_mode():
        expected = vae(images).reconstruction
        vae.set_grad_checkpointing()
        assert torch.equal(vae(images).reconstruction, expected)


IMAGE = torch.zeros(1, 3, 16, 16)
NOT_IMAGES = [
    (IMAGE[0], r"\(3, 16, 16\)"),
    (IMAGE[:, :1], r"\(1, 1, 16, 16\)"),
    (IMAGE.mT.movedim(1, 3), r"\(1, 16, 16, 3\)"),
    (IMAGE.byte(), "torch.uint8; vaezoo.to_tensor converts"),
    (IMAGE[..., :0], r"positive multiples of 8, got \(1, 3, 16, 0\)"),
    (IMAGE[:0], r"positive multiples of 8, got \(0, 3, 16, 16\)"),
    (IMAGE[..., :15], r"positive multiples of 8, got \(1, 3, 16, 15\); vaezoo.pad_to_multiple"),
    ([[0.0]], "list; vaezoo.load_image"),
    (None, "NoneType"),
]


@pytest.mark.parametrize(("images", "got"), NOT_IMAGES)
def test_encode_says_what_images_it_takes_and_what_it_got(images, got):
    vae = micro()
    for call in (vae.encode, vae):
        with pytest.raises(InputError, match=rf"images of shape \(B, 3, H, W\).*{got}"):
            call(images)


@pytest.mark.parametrize("shape", [(4, 2, 2), (1, 3, 2, 2), (1, 8, 2, 2), (1, 4, 0, 2), (0, 4, 2, 2)])
def test_decode_says_what_latents_it_takes_and_what_it_got(shape):
    got = ", ".join(map(str, shape))
    with pytest.raises(InputError, match=rf"latents of shape \(B, 4, H, W\).*got \({got}\)"):
        micro().decode(torch.zeros(shape))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_images_of_another_precision_are_refused_but_under_autocast_taken(device):
    vae = build(vaezoo.get_spec("vae_f8_z4_micro"), device).eval()
    half = IMAGE.bfloat16().to(device)
    with pytest.raises(InputError, match=r"images are torch.bfloat16, the model is torch.float32.*vae.dtype"):
        vae.encode(half)
    with pytest.raises(InputError, match=r"latents are torch.float64"):
        vae.decode(torch.zeros(1, 4, 2, 2, dtype=torch.float64, device=device))
    if device == "cpu":
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            assert vae(half).reconstruction.isfinite().all()


@pytest.mark.parametrize("size", [(0, 8), (8, -8), (12, 8)])
def test_the_diffusion_shape_of_an_impossible_size_is_an_error(size):
    assert micro().diffusion_shape(256, 8) == (4, 32, 1)
    with pytest.raises(InputError, match=rf"{size[0]}x{size[1]} is not a positive multiple of 8"):
        micro().diffusion_shape(*size)


@torch.no_grad()
def test_reconstruct_takes_any_size_and_stays_in_range():
    vae = micro().bfloat16()
    images = pictures(19, 30)
    reconstruction = reconstruct(vae, images)
    assert reconstruction.shape == images.shape
    assert reconstruction.dtype == torch.float32
    assert reconstruction.abs().max() <= 1
    whole = images[..., :16, :24]
    assert torch.equal(reconstruct(vae, whole), vae(whole.bfloat16()).reconstruction.clamp(-1, 1).float())


def test_lerp_is_a_line_and_slerp_an_arc_between_the_same_ends():
    a, b = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 4.0]).view(1, 2, 1, 1)
    assert lerp(a, b, 0.25).flatten().tolist() == [1.5, 1.0]
    half = math.sqrt(0.5) * 3  # half-way: the angle is 45 degrees, the length that between 2 and 4
    torch.testing.assert_close(slerp(a, b, 0.5).flatten(), torch.tensor([half, half]))
    for path in (lerp, slerp):
        torch.testing.assert_close(path(a, b, 0.0), a)
        torch.testing.assert_close(path(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, 3 * a, 0.5), 2 * a)  # no angle: the line
    assert not slerp(torch.zeros_like(a), torch.zeros_like(a), 0.5).any()


def test_the_meter_reads_time_and_the_peak_of_memory():
    with meter(torch.device("cpu")) as reading:
        torch.zeros(64, 2**20).add_(1)  # 256 MiB
    with meter(torch.device("cpu")) as small:
        pass
    assert reading.seconds > 0
    assert reading.peak_mib > 256
    assert small.peak_mib <= reading.peak_mib
