"""Bilevel programs as layers: z -> (x*(z), y*(z)), continuous and combinatorial, with cotangents passed back."""
