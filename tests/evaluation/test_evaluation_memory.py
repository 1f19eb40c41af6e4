"""A lack of memory in evaluation: one error with the network or the photo, its size, and what needs less."""

import pytest
import torch
from support.training import write_photos
from torch import nn

import vaezoo
from vaezoo.data.photos import photos
from vaezoo.evaluation import tally
from vaezoo.evaluation.nets.frozen import Features
from vaezoo.evaluation.nets.lpips import LPIPS
from vaezoo.evaluation.nets.registry import Inception, Pooled
from vaezoo.evaluation.protocol import evaluate
from vaezoo.out_of_memory import OutOfMemoryError

IMAGES = torch.zeros(1, 3, 64, 64)


class Full(nn.Module):
    """A network that never has enough memory."""

    def forward(self, *_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    forward_intermediates = forward


def inception():
    net = Inception.__new__(Inception)  # without torch-fidelity and its weights
    nn.Module.__init__(net)
    net.network = Full()
    return net


def timm_net(kind, *options):
    net = kind("test_resnet", *options, pretrained=False)
    net.network = Full()
    return net


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (lambda: LPIPS("alex", Full()), r"lpips \(alex\)"),
        (lambda: timm_net(Features, [0]), "test_resnet"),
        (lambda: timm_net(Pooled), "test_resnet"),
        (inception, "inception"),
    ],
)
def test_a_lack_of_memory_in_a_network_names_it_and_its_images(net, name):
    net = net()
    text = rf"{name} of images of shape \(1, 3, 64, 64\) on cpu: out of memory .*; take fewer or smaller images"
    with pytest.raises(OutOfMemoryError, match=text):
        net(*[IMAGES] * (2 if isinstance(net, LPIPS) else 1))


def test_a_lack_of_memory_in_a_metric_names_the_photo(tmp_path, monkeypatch):
    monkeypatch.setattr(tally, "lab_error", Full().forward)
    vae, found = vaezoo.create("vae_f8_z4_micro"), photos(write_photos(tmp_path, 1))
    with pytest.raises(OutOfMemoryError, match=rf"{found[0].name} at 16 x 16 pixels: out of .*; evaluate at a smaller"):
        evaluate(vae, found, 16)
