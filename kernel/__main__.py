"""`python -m wendelin.kernel -f {connection_file}`: what the kernelspec starts."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from wendelin.kernel.kernel import WendelinKernel

if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=WendelinKernel)
