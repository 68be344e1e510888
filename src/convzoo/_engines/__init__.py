"""What runs a network: torch itself, its compiler, onnxruntime, OpenVINO.

`accelerate` chooses one. Each of the modules `_torch`, `_compile`, `_onnxruntime` and `_openvino`
has one engine: `settings(job)` lists the ways in which it can run the job's
network, and each of them builds a function from images to scores. An engine's library is imported
when it is used.
"""
