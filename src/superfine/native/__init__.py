"""superfine's own kernels in C++ (cpp/), opened as a plain library: for the engine of CPUs, and for training."""
