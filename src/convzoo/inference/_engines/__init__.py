"""What runs a network: torch itself, its compiler, onnxruntime, OpenVINO.

Each module here has one engine: `settings(job)` lists the ways in which it can run the job's
network, and each of them builds a function from images to scores. An engine's library is imported
when it is used.
"""
