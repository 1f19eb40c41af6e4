"""Write folders of latents in the layouts of other trainers."""
