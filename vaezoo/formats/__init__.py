"""How other libraries spell a network: names of tensors and configs. Opens no file and knows no Hub."""
