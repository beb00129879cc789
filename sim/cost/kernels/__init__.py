"""The kernels of a transformer's iteration: one pure function of counts, sums and constants a file.

    F  peak FLOP/s of the data type          B  memory bytes/s            e  share of a peak that kernels reach
    M  rows (tokens) of the batch            n  sequences                 L  layers

Every function takes numbers or numpy arrays, and gives the seconds of one call on one GPU.
"""
