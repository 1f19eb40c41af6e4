"""What hooks capture of a forward pass is not overwritten later, and hooks do not change the results."""

import pytest
import torch
from support.representatives import first_of
from support.small import small_vae
from torch.nn.modules.module import register_module_forward_hook

NAMES = ["vae_f8_z4", "ldm_f8_z4", "taesd_f8_z4", "taef2_f8_z32", "dcae_f32_z32", "qwenimage_f8_z16", "cosmos_f8_z16"]


def images_for(vae):
    return torch.rand(1, 3, 2 * vae.size_multiple, vae.size_multiple) * 2 - 1


def kept_by(captured):
    """Return a hook that keeps inputs and output, and what they are at that time."""

    def hook(module, arguments, output=None):
        for tensor in (*arguments, output):
            if isinstance(tensor, torch.Tensor):
                captured.append((module, tensor, tensor.detach().clone()))

    return hook


def changed(captured):
    return [type(module).__name__ for module, tensor, before in captured if not torch.equal(tensor, before)]


@pytest.mark.parametrize("grad", first_of([True, False]))
@pytest.mark.parametrize("name", NAMES)
def test_what_hooks_capture_stays(name, grad):
    vae, captured = small_vae(name), []
    images = images_for(vae)
    with torch.set_grad_enabled(grad):
        expected = vae(images, sample=False).reconstruction
        hooks = [m.register_forward_hook(kept_by(captured)) for m in vae.modules()]
        hooks += [m.register_forward_pre_hook(kept_by(captured)) for m in vae.modules()]
        assert torch.equal(vae(images, sample=False).reconstruction, expected)
        assert len(captured) > 50
        assert changed(captured) == []
        for hook in hooks:
            hook.remove()
        assert torch.equal(vae(images, sample=False).reconstruction, expected)


def test_what_a_hook_of_all_modules_captures_stays():
    vae, captured = small_vae("vae_f8_z4"), []
    hook = register_module_forward_hook(kept_by(captured))
    try:
        with torch.inference_mode():
            vae(images_for(vae), sample=False)
    finally:
        hook.remove()
    assert len(captured) > 50
    assert changed(captured) == []


@pytest.mark.parametrize("name", ["vae_f8_z4", "taef2_f8_z32"])
def test_full_backward_hooks_see_the_gradients_of_every_layer(name):
    vae, seen = small_vae(name), []
    layers = [m for m in vae.modules() if not list(m.children()) and list(m.parameters())]
    for layer in layers:
        layer.register_full_backward_hook(lambda module, _, gradients: seen.append((module, gradients)))
    vae(images_for(vae).requires_grad_(), sample=False).reconstruction.square().sum().backward()
    assert {module for module, _ in seen} == set(layers)
