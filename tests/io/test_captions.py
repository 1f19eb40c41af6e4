"""Captions of contact sheets."""

import torch

from vaezoo.io.captions import caption, captioned


def test_a_caption_is_dark_text_below_the_image():
    image = torch.full((1, 3, 20, 150), 0.25)
    drawn = captioned(image, "PSNR 31.42 dB")
    assert drawn.shape == (3, 40, 150)
    assert (drawn[:, :20] == 0.25).all()
    assert drawn[:, 20:].max() == torch.tensor(0.8)
    assert drawn[:, 20:].min() < -0.5
    assert not torch.equal(drawn, captioned(image, "PSNR 31.43 dB"))


def test_long_captions_are_broken_and_long_words_cut():
    one, two = caption("difference x4", 200), caption("difference x4 difference x4 difference x4", 200)
    assert (one.shape, two.shape) == ((3, 20, 200), (3, 36, 200))
    cut = caption("W" * 1000, 60)
    assert cut.shape == (3, 20, 60)
    assert torch.equal(cut, caption("W" * 2000, 60))
    for odd in ("", "W", "a\x1b[31m\nb", "é漢字"):
        assert caption(odd, 1).isfinite().all()
        assert caption(odd, 90).shape[2] == 90
