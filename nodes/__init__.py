"""The ComfyUI side: sockets to core types and back, nothing else."""
